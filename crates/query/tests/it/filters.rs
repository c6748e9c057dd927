//! The rules about nulls and numbers, spelt out.

use longbow_query::filter::Predicate;
use longbow_wire::v1::{self, CompareOp, Filter, filter::Node, value::Kind};

use crate::spellings::{between, like, over, prefix};
use crate::table::{Row, batch, columns, schema};

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

fn evaluate(filter: &Filter, rows: &[Row]) -> Vec<bool> {
    let predicate = Predicate::compile(filter, &schema()).unwrap();
    predicate.evaluate(&batch(rows)).unwrap().iter().collect()
}

/// A row whose columns are all null but the id.
fn null_row() -> Row {
    columns()
        .iter()
        .map(|column| (column.name == "id").then_some(Kind::U64(1)))
        .collect()
}

/// A row that is null but for its id and one cell.
fn row_with(name: &str, cell: Kind) -> Row {
    let at = columns().iter().position(|column| column.name == name).unwrap();
    let mut row = null_row();
    row[at] = Some(cell);
    row
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
    for filter in [
        over(is_in("i32", vec![Kind::I64(5)]), Node::NotIn),
        between("i32", Kind::I64(0), Kind::I64(9)),
        like("utf8", "%a%"),
        prefix("utf8", Kind::Utf8("".into())),
        over(is_in("list", vec![]), Node::ContainsAll),
    ] {
        assert_eq!(evaluate(&filter, &row), [false], "{filter:?}");
        assert_eq!(evaluate(&not(filter), &row), [true]);
    }
}

#[test]
fn patterns_look_at_characters() {
    let rows = ["", "é", "e\u{301}", "100%", "a_b"].map(|text| row_with("utf8", Kind::Utf8(text.into())));
    let run = |pattern: &str| evaluate(&like("utf8", pattern), &rows);
    assert_eq!(
        run("_"),
        [false, true, false, false, false],
        "an accent of its own is a character"
    );
    assert_eq!(run("%\\%"), [false, false, false, true, false]);
    assert_eq!(run("_\\__"), [false, false, false, false, true]);
    assert_eq!(run(""), [true, false, false, false, false]);
}

#[test]
fn lists_contain_items() {
    let list_of = |values: &[&str]| {
        let values = values.iter().map(|text| (*text).to_owned()).collect();
        row_with("list", Kind::Utf8List(v1::Utf8List { values }))
    };
    let rows = [
        list_of(&[]),
        list_of(&["a"]),
        list_of(&["b", "a", "a"]),
        list_of(&["c", "c"]),
    ];
    let texts = |values: &[&str]| is_in("list", values.iter().map(|t| Kind::Utf8((*t).into())).collect());
    let any = |values: &[&str]| evaluate(&over(texts(values), Node::ContainsAny), &rows);
    let all = |values: &[&str]| evaluate(&over(texts(values), Node::ContainsAll), &rows);
    assert_eq!(any(&["a", "x"]), [false, true, true, false]);
    assert_eq!(all(&["a", "b"]), [false, false, true, false]);
    assert_eq!(all(&["c"]), [false, false, false, true]);
    assert_eq!(any(&[]), [false; 4]);
    assert_eq!(all(&[]), [true; 4]);
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
    let row = |value: f64| row_with("f32", Kind::F64(value));
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
fn a_child_is_null_where_its_parent_is_whatever_stands_there() {
    use arrow::array::{ArrayRef, Int32Array, RecordBatch, StructArray};
    use arrow::datatypes::{DataType, Field};
    let field = Field::new("number", DataType::Int32, true);
    // 5 stands in each row; the parent of the second is null.
    let numbers: ArrayRef = std::sync::Arc::new(Int32Array::from(vec![Some(5), Some(5), None]));
    let structs = StructArray::new(
        vec![field].into(),
        vec![numbers],
        Some(vec![true, false, true].into()),
    );
    let structs: ArrayRef = std::sync::Arc::new(structs);
    let batch = RecordBatch::try_from_iter([("s", structs)]).unwrap();
    let run = |filter: Filter| -> Vec<bool> {
        let predicate = Predicate::compile(&filter, &schema()).unwrap();
        predicate.evaluate(&batch).unwrap().iter().collect()
    };
    assert_eq!(
        run(compare("s.number", CompareOp::Eq, Kind::I64(5))),
        [true, false, false]
    );
    assert_eq!(run(node(Node::IsNull("s.number".into()))), [false, true, true]);
    assert_eq!(run(node(Node::IsNull("s".into()))), [false, true, false]);
    assert_eq!(run(is_in("s.texts", vec![])), [false; 3]);
    // One that the batch does not have is null, as a column is.
    assert_eq!(run(node(Node::IsNull("s.text".into()))), [true; 3]);
    for bad in ["s.colour", "number", "s.number.more"] {
        let error = Predicate::compile(&node(Node::IsNull(bad.into())), &schema()).unwrap_err();
        assert_eq!(error.field.as_deref(), Some(bad));
    }
    let whole = Predicate::compile(&compare("s", CompareOp::Eq, Kind::I64(5)), &schema()).unwrap_err();
    assert_eq!(whole.field.as_deref(), Some("s"));
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
