//! Ids as existing clients write them: a number or text, whatever the dataset's kind.

use longbow_types::{Error, ErrorCode, IdKind, Result, RowId};
use serde_json::Value;

/// The id of a JSON value in a dataset whose ids are of `kind`. Numbers may be spelt as text and the reverse.
///
/// # Errors
/// `TYPE_MISMATCH` or `INVALID_VALUE`, naming `field`.
pub fn from_json(value: &Value, kind: IdKind, field: &str) -> Result<RowId> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        other => {
            return Err(Error::new(ErrorCode::TypeMismatch, format!("{other} is no id"))
                .field(field.to_owned())
                .limit(kind));
        }
    };
    let id = match kind {
        IdKind::U64 => text.parse().ok().map(RowId::U64),
        IdKind::I64 => text.parse().ok().map(RowId::I64),
        IdKind::Utf8 => Some(RowId::Utf8(text.as_str().into())),
    };
    let id = id.ok_or_else(|| {
        Error::new(ErrorCode::TypeMismatch, format!("{text:?} is no {kind} id"))
            .field(field.to_owned())
            .limit(kind)
    })?;
    id.check(kind, field)?;
    Ok(id)
}

/// An id as JSON.
pub fn to_json(id: &RowId) -> Value {
    match id {
        RowId::U64(id) => (*id).into(),
        RowId::I64(id) => (*id).into(),
        RowId::Utf8(id) => id.as_ref().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_and_text_stand_for_each_other() {
        let of = |value: Value, kind| from_json(&value, kind, "id");
        assert_eq!(of(json!(7), IdKind::U64).unwrap(), RowId::U64(7));
        assert_eq!(of(json!("7"), IdKind::U64).unwrap(), RowId::U64(7));
        assert_eq!(of(json!(u64::MAX), IdKind::U64).unwrap(), RowId::U64(u64::MAX));
        assert_eq!(of(json!(-7), IdKind::I64).unwrap(), RowId::I64(-7));
        assert_eq!(of(json!(7), IdKind::Utf8).unwrap(), RowId::Utf8("7".into()));
        for (bad, kind) in [
            (json!(-1), IdKind::U64),
            (json!(1.5), IdKind::I64),
            (json!("a"), IdKind::I64),
            (json!(null), IdKind::Utf8),
            (json!(""), IdKind::Utf8),
        ] {
            assert_eq!(of(bad, kind).unwrap_err().field.as_deref(), Some("id"));
        }
    }
}
