//! Random filters over random tables against the naive evaluator, and the rules about nulls spelt out.

use longbow_query::filter::Predicate;
use longbow_wire::v1::{self, CompareOp, Filter, filter::Node, value::Kind};
use proptest::prelude::*;

use crate::oracle::holds;
use crate::table::{batch, columns, rows, schema, value};

pub fn compare(column: &str, op: CompareOp, kind: Kind) -> Filter {
    node(Node::Compare(v1::Comparison {
        column: column.into(),
        op: op as i32,
        value: Some(v1::Value { kind: Some(kind) }),
    }))
}

pub fn node(node: Node) -> Filter {
    Filter { node: Some(node) }
}

pub fn list(filters: Vec<Filter>) -> v1::FilterList {
    v1::FilterList { filters }
}

pub fn not(filter: Filter) -> Filter {
    node(Node::Not(Box::new(filter)))
}

pub fn is_in(column: &str, kinds: Vec<Kind>) -> Filter {
    let values = kinds
        .into_iter()
        .map(|kind| v1::Value { kind: Some(kind) })
        .collect();
    node(Node::In(v1::Membership {
        column: column.into(),
        values,
    }))
}

/// A value, at times a null where the column has them, at times a whole number spelt with the other sign.
fn constant(at: usize) -> BoxedStrategy<Kind> {
    let (name, data_type) = columns()[at].clone();
    let plain = value(&data_type).prop_map(|kind| match kind {
        Kind::I64(v @ 0..) => Kind::U64(v.unsigned_abs()),
        Kind::U64(v @ 0..5) => Kind::I64(v.cast_signed()),
        Kind::F64(2.0) => Kind::I64(2),
        other => other,
    });
    let any = prop_oneof![value(&data_type), plain];
    if name == "id" {
        any.boxed()
    } else {
        prop_oneof![9 => any, 1 => Just(Kind::Null(0))].boxed()
    }
}

fn leaf() -> impl Strategy<Value = Filter> {
    (0..columns().len()).prop_flat_map(|at| {
        let (name, data_type) = columns()[at].clone();
        let ops = if name == "list" { 1..=2 } else { 1..=6 };
        let _ = data_type;
        prop_oneof![
            4 => (ops, constant(at)).prop_map(move |(op, kind)| {
                compare(name, CompareOp::try_from(op).unwrap(), kind)
            }),
            2 => proptest::collection::vec(constant(at), 0..5).prop_map(move |kinds| is_in(name, kinds)),
            1 => Just(node(Node::IsNull(name.into()))),
        ]
    })
}

fn filter() -> impl Strategy<Value = Filter> {
    leaf().prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 1..4).prop_map(|parts| node(Node::And(list(parts)))),
            proptest::collection::vec(inner.clone(), 1..4).prop_map(|parts| node(Node::Or(list(parts)))),
            inner.prop_map(not),
        ]
    })
}

fn evaluate(filter: &Filter, rows: &[Vec<Option<Kind>>]) -> Vec<bool> {
    let predicate = Predicate::compile(filter, &schema()).unwrap();
    predicate.evaluate(&batch(rows)).unwrap().iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    // 64 tables × 32 filters each.
    #[test]
    fn agrees_with_the_naive_evaluator(
        rows in rows(0..140),
        filters in proptest::collection::vec(filter(), 32),
    ) {
        for filter in &filters {
            let want: Vec<bool> = rows.iter().map(|row| holds(filter, row)).collect();
            prop_assert_eq!(evaluate(filter, &rows), want, "{:?}", filter);
        }
    }

    #[test]
    fn slices_of_a_batch_evaluate_like_the_rows_they_hold(
        rows in rows(1..100),
        filter in filter(),
        cut in any::<prop::sample::Index>(),
    ) {
        let predicate = Predicate::compile(&filter, &schema()).unwrap();
        let whole: Vec<bool> = predicate.evaluate(&batch(&rows)).unwrap().iter().collect();
        let cut = cut.index(rows.len());
        let tail = batch(&rows).slice(cut, rows.len() - cut);
        let bits: Vec<bool> = predicate.evaluate(&tail).unwrap().iter().collect();
        prop_assert_eq!(&bits[..], &whole[cut..]);
    }
}

/// A row whose columns are all null but the id.
fn null_row() -> Vec<Option<Kind>> {
    columns()
        .iter()
        .map(|(name, _)| (*name == "id").then_some(Kind::U64(1)))
        .collect()
}

#[test]
fn not_is_true_where_its_part_is_not_true() {
    let row = [null_row()];
    let equals = compare("i32", CompareOp::Eq, Kind::I64(5));
    let differs = compare("i32", CompareOp::Ne, Kind::I64(5));
    assert_eq!(evaluate(&equals, &row), [false]);
    assert_eq!(
        evaluate(&differs, &row),
        [false],
        "a comparison with a null is not true"
    );
    assert_eq!(
        evaluate(&not(equals), &row),
        [true],
        "but `not` of what is not true is"
    );
    assert_eq!(evaluate(&not(differs), &row), [true]);
    assert_eq!(evaluate(&not(is_in("i32", vec![Kind::I64(5)])), &row), [true]);
}

#[test]
fn nulls_as_constants_match_nothing() {
    let row = [null_row()];
    for op in [CompareOp::Eq, CompareOp::Ne, CompareOp::Le] {
        assert_eq!(evaluate(&compare("utf8", op, Kind::Null(0)), &row), [false]);
    }
    assert_eq!(evaluate(&is_in("utf8", vec![Kind::Null(0)]), &row), [false]);
    assert_eq!(evaluate(&node(Node::IsNull("utf8".into())), &row), [true]);
}

#[test]
fn floats_compare_as_ieee_says() {
    let at = columns().iter().position(|(name, _)| *name == "f32").unwrap();
    let row = |value: f64| {
        let mut row = null_row();
        row[at] = Some(Kind::F64(value));
        row
    };
    let rows = [row(-0.0), row(f64::NAN), row(0.1)];
    assert_eq!(
        evaluate(&compare("f32", CompareOp::Eq, Kind::F64(0.0)), &rows),
        [true, false, false]
    );
    assert_eq!(
        evaluate(&is_in("f32", vec![Kind::F64(0.0)]), &rows),
        [true, false, false]
    );
    assert_eq!(
        evaluate(&compare("f32", CompareOp::Eq, Kind::F64(f64::NAN)), &rows),
        [false; 3]
    );
    assert_eq!(
        evaluate(&compare("f32", CompareOp::Ne, Kind::F64(1.0)), &rows),
        [true; 3]
    );
    assert_eq!(
        evaluate(&compare("f32", CompareOp::Eq, Kind::F64(0.1)), &rows),
        [false, false, true]
    );
}

#[test]
fn a_column_that_is_not_in_the_batch_reads_as_null() {
    let batch = batch(&[null_row()]);
    let keep: Vec<usize> = (0..batch.num_columns())
        .filter(|&at| batch.schema().field(at).name() != "i32")
        .collect();
    let batch = batch.project(&keep).unwrap();
    let run = |filter: Filter| {
        let predicate = Predicate::compile(&filter, &schema()).unwrap();
        predicate.evaluate(&batch).unwrap().value(0)
    };
    assert!(!run(compare("i32", CompareOp::Ne, Kind::I64(1))));
    assert!(!run(is_in("i32", vec![Kind::I64(1)])));
    assert!(run(node(Node::IsNull("i32".into()))));
}
