//! [`longbow_types::Error`] and gRPC statuses.
//!
//! The details follow Google's error model, so stock clients can read them: `ErrorInfo` with domain `longbow`,
//! the stable code as reason, `field` and `limit` as metadata; `RetryInfo` where trying again may help.

use std::{collections::HashMap, time::Duration};

use longbow_types::{Error, ErrorCode, error::ErrorKind};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// Domain of Longbow's error codes.
pub const DOMAIN: &str = "longbow";

/// Most bytes of a message, a field and a limit each: together they must fit the 8 KiB of headers that every client
/// takes, message twice and percent-encoded at worst. What callers sent may be echoed in them.
const TEXT_BYTES_MAX: usize = 400;

/// The start of a text, at most [`TEXT_BYTES_MAX`] bytes of it.
fn clipped(text: &str) -> String {
    if text.len() <= TEXT_BYTES_MAX {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(TEXT_BYTES_MAX - 3)])
}

/// The status that tells a caller about an error. Long texts are clipped.
pub fn to_status(error: &Error) -> Status {
    let mut metadata = HashMap::new();
    if let Some(field) = &error.field {
        metadata.insert("field".to_owned(), clipped(field));
    }
    if let Some(limit) = &error.limit {
        metadata.insert("limit".to_owned(), clipped(limit));
    }
    let mut details = ErrorDetails::with_error_info(error.code.as_str(), DOMAIN, metadata);
    if let Some(delay) = error.retry_after {
        details.set_retry_info(Some(delay));
    }
    let shown = Error {
        message: clipped(&error.message).into(),
        field: error.field.as_deref().map(|field| clipped(field).into()),
        limit: error.limit.as_deref().map(|limit| clipped(limit).into()),
        ..error.clone()
    };
    Status::with_error_details(code_of(error.code.kind()), shown.to_string(), details)
}

/// The error that a status tells about. Statuses that Longbow did not make become the nearest code.
pub fn from_status(status: &Status) -> Error {
    let details = status.get_error_details();
    let retry_after: Option<Duration> = details.retry_info().and_then(|info| info.retry_delay);
    let info = details.error_info().filter(|info| info.domain == DOMAIN);
    let code = info
        .and_then(|info| ErrorCode::parse(&info.reason))
        .unwrap_or_else(|| nearest(status.code()));
    let entry = |key: &str| {
        info.and_then(|info| info.metadata.get(key))
            .map(|text| text.clone().into())
    };
    let (field, limit) = (entry("field"), entry("limit"));
    Error {
        code,
        message: plain_message(status.message(), code).into(),
        field,
        limit,
        retry_after,
    }
}

/// Undoes the decoration that `Error`'s `Display` puts round the message.
fn plain_message(message: &str, code: ErrorCode) -> String {
    let message = message
        .strip_prefix(code.as_str())
        .and_then(|m| m.strip_prefix(": "))
        .unwrap_or(message);
    let end = [" (field: ", " (limit: "]
        .iter()
        .filter_map(|mark| message.rfind(mark))
        .min();
    message[..end.unwrap_or(message.len())].to_owned()
}

fn code_of(kind: ErrorKind) -> Code {
    match kind {
        ErrorKind::InvalidArgument => Code::InvalidArgument,
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::AlreadyExists => Code::AlreadyExists,
        ErrorKind::PermissionDenied => Code::PermissionDenied,
        ErrorKind::Unauthenticated => Code::Unauthenticated,
        ErrorKind::ResourceExhausted => Code::ResourceExhausted,
        ErrorKind::FailedPrecondition => Code::FailedPrecondition,
        ErrorKind::Aborted => Code::Aborted,
        ErrorKind::Unavailable => Code::Unavailable,
        ErrorKind::DeadlineExceeded => Code::DeadlineExceeded,
        ErrorKind::Cancelled => Code::Cancelled,
        ErrorKind::Unimplemented => Code::Unimplemented,
        ErrorKind::DataLoss => Code::DataLoss,
        ErrorKind::Internal => Code::Internal,
    }
}

fn nearest(code: Code) -> ErrorCode {
    match code {
        Code::InvalidArgument => ErrorCode::InvalidValue,
        Code::OutOfRange | Code::ResourceExhausted => ErrorCode::TooLarge,
        Code::Unauthenticated => ErrorCode::Unauthenticated,
        Code::PermissionDenied => ErrorCode::RoleNotAllowed,
        Code::DeadlineExceeded => ErrorCode::DeadlineExceeded,
        Code::Cancelled => ErrorCode::Cancelled,
        Code::Unavailable => ErrorCode::NoReplica,
        Code::Unimplemented => ErrorCode::Unsupported,
        Code::DataLoss => ErrorCode::Corruption,
        _ => ErrorCode::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_callers_sent_cannot_outgrow_the_headers() {
        let long = "ä".repeat(100_000);
        let error = Error::new(ErrorCode::UnknownColumn, long.clone())
            .field(long.clone())
            .limit(&long);
        let status = to_status(&error);
        assert!(status.message().len() + status.details().len() < 4_096);
        let back = from_status(&status);
        assert_eq!(back.code, ErrorCode::UnknownColumn);
        assert!(long.starts_with(back.field.unwrap().trim_end_matches('…')));
    }

    #[test]
    fn everything_survives_the_trip() {
        let plain = Error::new(ErrorCode::LatchTripped, "writes are refused");
        let full = Error::new(ErrorCode::DimensionMismatch, "a vector of 3 elements")
            .field("rows[0].vector")
            .limit(384)
            .retry_after(Duration::from_millis(250));
        for error in [plain, full] {
            assert_eq!(from_status(&to_status(&error)), error);
        }
    }
}
