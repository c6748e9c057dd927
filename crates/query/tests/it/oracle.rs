//! The naive evaluator: one row, one value at a time, written from the documentation.

use std::cmp::Ordering;

use arrow::datatypes::{DataType, i256};
use half::f16;
use longbow_wire::v1::{CompareOp, Filter, Membership, Value, filter::Node, value::Kind};

use crate::table::Column;

/// Whether a filter is true of a row.
pub fn holds(filter: &Filter, columns: &[Column], row: &[Option<Kind>]) -> bool {
    let cell = |name: &str| {
        let at = columns.iter().position(|column| column.name == name).unwrap();
        (row[at].as_ref(), &columns[at].data_type)
    };
    let equal_to_any = |membership: &Membership| {
        let (have, data_type) = cell(&membership.column);
        let mut values = membership.values.iter().map(kind_of);
        values.any(|want| matches!(compare(have, want, data_type), Some((_, true))))
    };
    match filter.node.as_ref().unwrap() {
        Node::And(list) => list.filters.iter().all(|part| holds(part, columns, row)),
        Node::Or(list) => list.filters.iter().any(|part| holds(part, columns, row)),
        Node::Not(part) => !holds(part, columns, row),
        Node::IsNull(column) => cell(column).0.is_none(),
        Node::Compare(comparison) => {
            let (have, data_type) = cell(&comparison.column);
            let want = kind_of(comparison.value.as_ref().unwrap());
            let Some((ordering, equal)) = compare(have, want, data_type) else {
                return false;
            };
            match comparison.op() {
                CompareOp::Eq => equal,
                CompareOp::Ne => !equal,
                CompareOp::Lt => ordering == Some(Ordering::Less),
                CompareOp::Le => ordering == Some(Ordering::Less) || equal,
                CompareOp::Gt => ordering == Some(Ordering::Greater),
                CompareOp::Ge => ordering == Some(Ordering::Greater) || equal,
                CompareOp::Unspecified => panic!("not generated"),
            }
        }
        Node::In(membership) => equal_to_any(membership),
        Node::NotIn(membership) => cell(&membership.column).0.is_some() && !equal_to_any(membership),
        Node::Between(between) => {
            let (have, data_type) = cell(&between.column);
            let order = |bound: &Option<Value>| {
                compare(have, kind_of(bound.as_ref().unwrap()), data_type).and_then(|(ordering, _)| ordering)
            };
            matches!(order(&between.low), Some(Ordering::Greater | Ordering::Equal))
                && matches!(order(&between.high), Some(Ordering::Less | Ordering::Equal))
        }
        Node::Like(like) => {
            let Some(Kind::Utf8(text)) = cell(&like.column).0 else {
                return false;
            };
            let escape = like.escape.chars().next().unwrap_or('\\');
            let (pattern, text): (Vec<char>, Vec<char>) =
                (like.pattern.chars().collect(), text.chars().collect());
            looks_like(&pattern, escape, &text)
        }
        Node::Prefix(prefix) => match (cell(&prefix.column).0, kind_of(prefix.value.as_ref().unwrap())) {
            (Some(Kind::Utf8(have)), Kind::Utf8(want)) => have.starts_with(want.as_str()),
            (Some(Kind::Binary(have)), Kind::Binary(want)) => have.starts_with(want),
            _ => false,
        },
        Node::ContainsAny(items) => {
            let (have, data_type) = cell(&items.column);
            items
                .values
                .iter()
                .any(|want| holds_item(have, kind_of(want), data_type))
        }
        Node::ContainsAll(items) => {
            let (have, data_type) = cell(&items.column);
            have.is_some()
                && items
                    .values
                    .iter()
                    .all(|want| holds_item(have, kind_of(want), data_type))
        }
    }
}

fn kind_of(value: &Value) -> &Kind {
    value.kind.as_ref().unwrap()
}

fn holds_item(have: Option<&Kind>, want: &Kind, data_type: &DataType) -> bool {
    if let (Some(Kind::List(list)), DataType::List(item)) = (have, data_type) {
        let is_it = |have| matches!(compare(have, want, item.data_type()), Some((_, true)));
        return list.values.iter().map(non_null).any(is_it);
    }
    let (Some(Kind::Utf8List(list)), DataType::List(item)) = (have, data_type) else {
        return false;
    };
    let items = list.values.iter().map(|text| Kind::Utf8(text.clone()));
    items
        .into_iter()
        .any(|have| matches!(compare(Some(&have), want, item.data_type()), Some((_, true))))
}

fn looks_like(pattern: &[char], escape: char, text: &[char]) -> bool {
    match pattern {
        [] => text.is_empty(),
        [sign, c, rest @ ..] if *sign == escape => {
            text.first() == Some(c) && looks_like(rest, escape, &text[1..])
        }
        ['%', rest @ ..] => (0..=text.len()).any(|at| looks_like(rest, escape, &text[at..])),
        ['_', rest @ ..] => !text.is_empty() && looks_like(rest, escape, &text[1..]),
        [c, rest @ ..] => text.first() == Some(c) && looks_like(rest, escape, &text[1..]),
    }
}

/// Order and equality of a cell and a value; none if either is null.
fn compare(have: Option<&Kind>, want: &Kind, data_type: &DataType) -> Option<(Option<Ordering>, bool)> {
    let ordered = |ordering: Option<Ordering>| Some((ordering, ordering == Some(Ordering::Equal)));
    match (have?, want) {
        (_, Kind::Null(_)) => None,
        (Kind::List(a), Kind::List(b)) => {
            let DataType::List(item) = data_type else {
                panic!("{data_type} has no lists")
            };
            let mut pairs = a.values.iter().zip(&b.values);
            let same = pairs.all(|(a, b)| {
                matches!(
                    compare(non_null(a), kind_of(b), item.data_type()),
                    Some((_, true))
                )
            });
            Some((None, same && a.values.len() == b.values.len()))
        }
        (a, b) if matches!(data_type, DataType::Decimal128(..)) => {
            ordered(Some(hundredths(a).cmp(&hundredths(b))))
        }
        (a, b) if matches!(data_type, DataType::Decimal256(..)) => {
            ordered(Some(wide_hundredths(a).cmp(&wide_hundredths(b))))
        }
        (Kind::Bool(a), Kind::Bool(b)) => ordered(Some(a.cmp(b))),
        (Kind::F64(a), b) => ordered(width(*a, data_type).partial_cmp(&width(number(b), data_type))),
        (Kind::Utf8(a), Kind::Utf8(b)) => ordered(Some(a.as_bytes().cmp(b.as_bytes()))),
        (Kind::Binary(a), Kind::Binary(b)) => ordered(Some(a.cmp(b))),
        (Kind::Utf8List(a), Kind::Utf8List(b)) => Some((None, a.values == b.values)),
        (a, b) => ordered(Some(whole(a).cmp(&whole(b)))),
    }
}

/// An item of a list, unless it is a null.
pub fn non_null(value: &Value) -> Option<&Kind> {
    value.kind.as_ref().filter(|kind| !matches!(kind, Kind::Null(_)))
}

/// A decimal of two digits behind the point, few enough for a double.
pub fn hundredths(kind: &Kind) -> i64 {
    let value = match kind {
        Kind::Utf8(text) => text.parse().unwrap(),
        other => number(other),
    };
    (value * 100.0_f64).round() as i64
}

/// A decimal of two digits behind the point, of however many before it.
pub fn wide_hundredths(kind: &Kind) -> i256 {
    let text = match kind {
        Kind::Utf8(text) => text.clone(),
        Kind::F64(value) => value.to_string(),
        other => whole(other).to_string(),
    };
    let (whole, part) = text.split_once('.').unwrap_or((&text, ""));
    i256::from_string(&format!("{}{part:0<2}", whole.trim_start_matches('+'))).unwrap()
}

fn width(value: f64, data_type: &DataType) -> f64 {
    match data_type {
        DataType::Float16 => f16::from_f64(value).to_f64(),
        DataType::Float32 => f64::from(value as f32),
        _ => value,
    }
}

fn number(kind: &Kind) -> f64 {
    match kind {
        Kind::F64(v) => *v,
        other => whole(other) as f64,
    }
}

fn whole(kind: &Kind) -> i128 {
    match kind {
        Kind::I64(v) => i128::from(*v),
        Kind::U64(v) => i128::from(*v),
        other => panic!("{other:?} is not a whole number"),
    }
}
