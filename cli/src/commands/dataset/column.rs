//! A column as typed: `NAME:TYPE`, then `!` if it is never null, then `=DEFAULT`.

use arrow_schema::{DataType, Field};
use base64::{Engine, engine::general_purpose::STANDARD};
use longbow_client::{DefaultValue, Error, ErrorCode};

use crate::column_text;

/// A column as typed.
#[derive(Debug, PartialEq)]
pub(super) struct Typed {
    /// Name, type, and whether it is nullable.
    pub(super) field: Field,
    /// What rows hold that do not tell it.
    pub(super) default: Option<DefaultValue>,
}

/// Reads a column.
///
/// # Errors
/// `INVALID_SCHEMA` for what is none, naming the option `column`.
pub(super) fn parse(text: &str) -> Result<Typed, Error> {
    // Names and defaults may have any sign: a column ends at the first one that leaves a whole column before it.
    for (at, _) in text.match_indices('=') {
        if let Ok(field) = field(&text[..at]) {
            let default = Some(default(&text[at + 1..], &field)?);
            return Ok(Typed { field, default });
        }
    }
    field(text).map(|field| Typed { field, default: None })
}

fn wrong(why: String) -> Error {
    Error::new(ErrorCode::InvalidSchema, why)
        .field("column")
        .limit("NAME:TYPE, NAME:TYPE! or NAME:TYPE=DEFAULT, see `longbow dataset create --help`")
}

/// Reads `NAME:TYPE` or `NAME:TYPE!`.
pub(super) fn field(text: &str) -> Result<Field, Error> {
    // The zone of a type may have a colon too, and the children of a struct have some.
    let brackets = text.find(":struct<").map(|at| at + 1).or_else(|| text.rfind('['));
    let types_start = brackets.unwrap_or(text.len());
    let colon = text[..types_start].rfind(':');
    let colon = colon.ok_or_else(|| wrong(format!("{text:?} has no type")))?;
    let (name, kind) = (&text[..colon], &text[colon + 1..]);
    let (kind, nullable) = match kind.strip_suffix('!') {
        Some(kind) => (kind, false),
        None => (kind, true),
    };
    let data_type = column_text::data_type(kind);
    let data_type = data_type.ok_or_else(|| wrong(format!("there is no column type {kind:?}")))?;
    Ok(Field::new(name, data_type, nullable))
}

/// Reads the default of a column: numbers of its unit, `true` or `false`, text as it stands, bytes as base64.
fn default(text: &str, field: &Field) -> Result<DefaultValue, Error> {
    let data_type = field.data_type();
    let read = match data_type {
        DataType::Utf8 => Some(DefaultValue::Text(text.to_owned())),
        DataType::Binary => STANDARD.decode(text).ok().map(DefaultValue::Bytes),
        DataType::Boolean => text.parse().ok().map(DefaultValue::Bool),
        floats if floats.is_floating() => text.parse().ok().map(DefaultValue::Float),
        DataType::List(_) | DataType::Struct(_) => None,
        _ => text.parse().ok().map(DefaultValue::Int),
    };
    let kind = column_text::name(data_type);
    let read = read.ok_or_else(|| {
        wrong(format!(
            "{text:?} cannot be the default of a column of type {kind}"
        ))
    });
    read?.fit(field.name(), data_type)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_read_with_their_defaults() {
        let of = |text: &str| {
            let typed = parse(text).unwrap();
            let field = typed.field;
            let kind = column_text::name(field.data_type());
            (field.name().clone(), kind, field.is_nullable(), typed.default)
        };
        let expected =
            |name: &str, kind: &str, nullable, default| (name.to_owned(), kind.to_owned(), nullable, default);
        use DefaultValue as D;
        assert_eq!(of("pos:utf8"), expected("pos", "utf8", true, None));
        assert_eq!(of("n:int32!=-7"), expected("n", "int32", false, Some(D::Int(-7))));
        assert_eq!(
            of("a:b=c:utf8=x:y=z"),
            expected("a:b=c", "utf8", true, Some(D::Text("x:y=z".into())))
        );
        assert_eq!(
            of("t:utf8="),
            expected("t", "utf8", true, Some(D::Text(String::new())))
        );
        assert_eq!(
            of("x:float32=0.5"),
            expected("x", "float32", true, Some(D::Float(0.5)))
        );
        assert_eq!(
            of("b:binary=AQI="),
            expected("b", "binary", true, Some(D::Bytes(vec![1, 2])))
        );
        assert_eq!(
            of("at:timestamp[s,+01:00]=5"),
            expected("at", "timestamp[s,+01:00]", true, Some(D::Int(5)))
        );
        assert_eq!(
            of("is:bool!=true"),
            expected("is", "bool", false, Some(D::Bool(true)))
        );
    }

    #[test]
    fn what_is_none_is_refused() {
        for bad in [
            "x",
            "x=1",
            "n:int8=128",
            "n:int8=a",
            "n:int8=",
            "x:float16=1e9",
            "x:float64=NaN",
            "tags:list=a",
            "s:struct<a:int8>=1",
            "s:struct<>",
            "s:struct<a>",
            "s:struct<a:int8,a:int8",
            "s:struct<a:struct<b:int8>>",
            "s:list<struct<b:int8>>",
            "b:binary=?",
            "is:bool=yes",
        ] {
            let error = parse(bad).unwrap_err();
            assert_eq!(error.code, ErrorCode::InvalidSchema, "{bad}");
        }
    }
}
