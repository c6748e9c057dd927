//! The naive evaluator: one row, one value at a time, written from the documentation.

use std::cmp::Ordering;

use arrow::datatypes::DataType;
use half::f16;
use longbow_wire::v1::{CompareOp, Filter, filter::Node, value::Kind};

use crate::table::columns;

/// Whether a filter is true of a row.
pub fn holds(filter: &Filter, row: &[Option<Kind>]) -> bool {
    match filter.node.as_ref().unwrap() {
        Node::And(list) => list.filters.iter().all(|part| holds(part, row)),
        Node::Or(list) => list.filters.iter().any(|part| holds(part, row)),
        Node::Not(part) => !holds(part, row),
        Node::IsNull(column) => cell(row, column).0.is_none(),
        Node::Compare(comparison) => {
            let (have, data_type) = cell(row, &comparison.column);
            let want = comparison.value.as_ref().unwrap().kind.as_ref().unwrap();
            let Some((ordering, equal)) = compare(have, want, &data_type) else {
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
        Node::In(membership) => {
            let (have, data_type) = cell(row, &membership.column);
            membership.values.iter().any(|want| {
                matches!(
                    compare(have, want.kind.as_ref().unwrap(), &data_type),
                    Some((_, true))
                )
            })
        }
    }
}

fn cell<'a>(row: &'a [Option<Kind>], column: &str) -> (Option<&'a Kind>, DataType) {
    let at = columns().iter().position(|(name, _)| *name == column).unwrap();
    (row[at].as_ref(), columns()[at].1.clone())
}

/// Order and equality of a cell and a value; none if either is null.
fn compare(have: Option<&Kind>, want: &Kind, data_type: &DataType) -> Option<(Option<Ordering>, bool)> {
    let ordered = |ordering: Option<Ordering>| Some((ordering, ordering == Some(Ordering::Equal)));
    match (have?, want) {
        (_, Kind::Null(_)) => None,
        (Kind::Bool(a), Kind::Bool(b)) => ordered(Some(a.cmp(b))),
        (Kind::F64(a), b) => ordered(width(*a, data_type).partial_cmp(&width(number(b), data_type))),
        (Kind::Utf8(a), Kind::Utf8(b)) => ordered(Some(a.as_bytes().cmp(b.as_bytes()))),
        (Kind::Binary(a), Kind::Binary(b)) => ordered(Some(a.cmp(b))),
        (Kind::Utf8List(a), Kind::Utf8List(b)) => Some((None, a.values == b.values)),
        (a, b) => ordered(Some(whole(a).cmp(&whole(b)))),
    }
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
