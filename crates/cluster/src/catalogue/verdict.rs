//! How the state machine says yes and no.

use std::borrow::Cow;

use longbow_types::{Error, ErrorCode};
use longbow_wire::internal::Verdict;

/// A refusal. An empty field means none is at fault.
pub fn verdict_of(code: ErrorCode, message: impl Into<String>, field: impl Into<String>) -> Verdict {
    Verdict {
        code: code.as_str().to_owned(),
        message: message.into(),
        field: field.into(),
        limit: String::new(),
    }
}

/// Whether the verdict is a yes.
pub fn is_accepted(verdict: &Verdict) -> bool {
    verdict.code.is_empty()
}

/// The error that tells a caller about a refusal; `None` if the entry was accepted.
pub fn error_of(verdict: &Verdict) -> Option<Error> {
    if is_accepted(verdict) {
        return None;
    }
    let code = ErrorCode::parse(&verdict.code).unwrap_or(ErrorCode::Internal);
    let mut error = Error::new(code, verdict.message.clone());
    if !verdict.field.is_empty() {
        error.field = Some(Cow::Owned(verdict.field.clone()));
    }
    if !verdict.limit.is_empty() {
        error.limit = Some(Cow::Owned(verdict.limit.clone()));
    }
    Some(error)
}

/// The refusal that tells about an error.
pub(super) fn refusal(error: &Error) -> Verdict {
    let text = |part: &Option<Cow<'static, str>>| part.as_deref().unwrap_or_default().to_owned();
    Verdict {
        limit: text(&error.limit),
        ..verdict_of(error.code, error.message.as_ref(), text(&error.field))
    }
}
