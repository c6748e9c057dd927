//! Types of columns as people type and read them: `int32`, `list<int32>`, `timestamp[ms,Europe/Berlin]`,
//! `struct<name:utf8,year:int32!>`.

use std::sync::Arc;

use arrow_schema::{DataType, Field, TimeUnit};
use longbow_types::{
    decimal,
    schema::{list_item, utf8_item},
};

const UNITS: [(TimeUnit, &str); 4] = [
    (TimeUnit::Second, "s"),
    (TimeUnit::Millisecond, "ms"),
    (TimeUnit::Microsecond, "us"),
    (TimeUnit::Nanosecond, "ns"),
];

/// The type that a text names.
pub fn data_type(text: &str) -> Option<DataType> {
    use DataType as T;
    Some(match text {
        "bool" => T::Boolean,
        "int8" => T::Int8,
        "int16" => T::Int16,
        "int32" => T::Int32,
        "int64" => T::Int64,
        "uint8" => T::UInt8,
        "uint16" => T::UInt16,
        "uint32" => T::UInt32,
        "uint64" => T::UInt64,
        "float16" => T::Float16,
        "float32" => T::Float32,
        "float64" => T::Float64,
        "utf8" => T::Utf8,
        "binary" => T::Binary,
        "date" | "date32" => T::Date32,
        "date64" => T::Date64,
        "timestamp" => T::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC"))),
        "list" => T::List(utf8_item()),
        other => {
            let inside = |kind: &str| other.strip_prefix(kind)?.strip_prefix('<')?.strip_suffix('>');
            match (inside("list"), inside("struct")) {
                (Some(item), _) => match data_type(item)? {
                    T::List(_) | T::Struct(_) => return None,
                    item => T::List(list_item(item)),
                },
                (_, Some(children)) => T::Struct(parts(children).map(child).collect::<Option<_>>()?),
                _ => return bracketed(other),
            }
        }
    })
}

/// What stands between commas that no bracket encloses.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_i32;
    text.split(move |c: char| {
        depth += i32::from(matches!(c, '[' | '<')) - i32::from(matches!(c, ']' | '>'));
        c == ',' && depth == 0
    })
}

/// The child that `NAME:TYPE`, or `NAME:TYPE!` where it is never null, spells.
fn child(text: &str) -> Option<Field> {
    let (name, kind) = text.trim().split_once(':')?;
    let (kind, nullable) = match kind.strip_suffix('!') {
        Some(kind) => (kind, false),
        None => (kind, true),
    };
    match data_type(kind)? {
        DataType::Struct(_) => None,
        data_type => Some(Field::new(name, data_type, nullable)),
    }
}

/// `timestamp[UNIT]`, `timestamp[UNIT,ZONE]`, `time[UNIT]`, `duration[UNIT]` or `decimal[DIGITS,SCALE]`.
fn bracketed(text: &str) -> Option<DataType> {
    use DataType as T;
    let (kind, inside) = text.strip_suffix(']')?.split_once('[')?;
    if kind == "decimal" {
        let (precision, scale) = inside.split_once(',')?;
        let (precision, scale) = (precision.trim().parse().ok()?, scale.trim().parse().ok()?);
        return decimal::data_type(precision, scale);
    }
    let (unit, zone) = match inside.split_once(',') {
        Some((unit, zone)) => (unit, Some(zone)),
        None => (inside, None),
    };
    let (unit, _) = UNITS.into_iter().find(|(_, name)| *name == unit)?;
    match (kind, unit, zone) {
        ("timestamp", unit, zone) => Some(T::Timestamp(unit, zone.map(Arc::from))),
        ("duration", unit, None) => Some(T::Duration(unit)),
        ("time", TimeUnit::Second | TimeUnit::Millisecond, None) => Some(T::Time32(unit)),
        ("time", _, None) => Some(T::Time64(unit)),
        _ => None,
    }
}

/// What a type is called.
pub fn name(data_type: &DataType) -> String {
    use DataType as T;
    match data_type {
        T::Boolean => "bool".to_owned(),
        T::Timestamp(TimeUnit::Microsecond, Some(zone)) if zone.as_ref() == "UTC" => {
            "timestamp_micros".to_owned()
        }
        T::Timestamp(unit, None) => format!("timestamp[{}]", unit_name(*unit)),
        T::Timestamp(unit, Some(zone)) => format!("timestamp[{},{zone}]", unit_name(*unit)),
        T::Time32(unit) | T::Time64(unit) => format!("time[{}]", unit_name(*unit)),
        T::Duration(unit) => format!("duration[{}]", unit_name(*unit)),
        T::Decimal128(precision, scale) | T::Decimal256(precision, scale) => {
            format!("decimal[{precision},{scale}]")
        }
        T::List(item) => format!("list<{}>", name(item.data_type())),
        T::Struct(children) => {
            let spelt = children.iter().map(|child| {
                let never = if child.is_nullable() { "" } else { "!" };
                format!("{}:{}{never}", child.name(), name(child.data_type()))
            });
            format!("struct<{}>", spelt.collect::<Vec<_>>().join(","))
        }
        other => other.to_string().to_lowercase(),
    }
}

fn unit_name(unit: TimeUnit) -> &'static str {
    let known = UNITS.iter().find(|(known, _)| *known == unit);
    known.map_or("", |(_, name)| name)
}
