//! What is not a filter is refused, and the refusal names what was at fault.

use longbow_query::filter::Predicate;
use longbow_types::ErrorCode;
use longbow_wire::v1::{CompareOp, Filter, Utf8List, filter::Node, value::Kind};

use crate::filters::{compare, is_in, list, node, not};
use crate::spellings::{between, like, over, prefix};
use crate::table::schema;

fn refusal(filter: &Filter) -> longbow_types::Error {
    Predicate::compile(filter, &schema()).expect_err("refused")
}

#[test]
fn names_the_column_and_the_reason() {
    use ErrorCode as E;
    let eq = |column: &str, kind: Kind| compare(column, CompareOp::Eq, kind);
    let cases = [
        (eq("nope", Kind::I64(1)), E::UnknownColumn, "nope"),
        (node(Node::IsNull("nope".into())), E::UnknownColumn, "nope"),
        (is_in("nope", vec![]), E::UnknownColumn, "nope"),
        (eq("vector", Kind::F64(1.0)), E::TypeMismatch, "vector"),
        (node(Node::IsNull("vector".into())), E::TypeMismatch, "vector"),
        (eq("i8", Kind::I64(128)), E::TypeMismatch, "i8"),
        (eq("i8", Kind::F64(1.0)), E::TypeMismatch, "i8"),
        (eq("u64", Kind::I64(-1)), E::TypeMismatch, "u64"),
        (eq("i64", Kind::U64(u64::MAX)), E::TypeMismatch, "i64"),
        (eq("f64", Kind::U64(u64::MAX)), E::TypeMismatch, "f64"),
        (eq("f32", Kind::Utf8("1".into())), E::TypeMismatch, "f32"),
        // Finite, but not at the column's width.
        (eq("f32", Kind::F64(1e39)), E::TypeMismatch, "f32"),
        (
            compare("f16", CompareOp::Lt, Kind::I64(-70_000)),
            E::TypeMismatch,
            "f16",
        ),
        (is_in("f16", vec![Kind::F64(1e5)]), E::TypeMismatch, "f16"),
        (eq("utf8", Kind::Binary("a".into())), E::TypeMismatch, "utf8"),
        (eq("bool", Kind::I64(1)), E::TypeMismatch, "bool"),
        (eq("time", Kind::Utf8("2024".into())), E::TypeMismatch, "time"),
        (eq("date32", Kind::Utf8("soon".into())), E::TypeMismatch, "date32"),
        (
            eq("seconds", Kind::Utf8("1970-01-01T00:00:00.5Z".into())),
            E::TypeMismatch,
            "seconds",
        ),
        // Beyond what 64 bits of nanoseconds tell.
        (
            eq("nanos", Kind::Utf8("2400-01-01".into())),
            E::TypeMismatch,
            "nanos",
        ),
        (eq("date32", Kind::I64(1 << 31)), E::TypeMismatch, "date32"),
        (
            eq("duration", Kind::Utf8("00:00:01".into())),
            E::TypeMismatch,
            "duration",
        ),
        (eq("list", Kind::Utf8("a".into())), E::TypeMismatch, "list"),
        (
            is_in("u8", vec![Kind::U64(1), Kind::U64(256)]),
            E::TypeMismatch,
            "u8",
        ),
        (
            compare("list", CompareOp::Lt, Kind::Utf8List(Default::default())),
            E::TypeMismatch,
            "list",
        ),
        (eq("id", Kind::Null(0)), E::NullNotAllowed, "id"),
        (
            between("list", Kind::Null(0), Kind::Null(0)),
            E::TypeMismatch,
            "list",
        ),
        (between("i8", Kind::I64(0), Kind::I64(128)), E::TypeMismatch, "i8"),
        (
            between("nope", Kind::I64(0), Kind::I64(1)),
            E::UnknownColumn,
            "nope",
        ),
        (like("binary", "a%"), E::TypeMismatch, "binary"),
        (like("i8", "a%"), E::TypeMismatch, "i8"),
        (like("utf8", "a\\"), E::InvalidValue, "utf8"),
        (prefix("i8", Kind::I64(1)), E::TypeMismatch, "i8"),
        (prefix("utf8", Kind::Binary("a".into())), E::TypeMismatch, "utf8"),
        (
            over(is_in("utf8", vec![]), Node::ContainsAny),
            E::TypeMismatch,
            "utf8",
        ),
        (
            over(is_in("list", vec![Kind::I64(1)]), Node::ContainsAll),
            E::TypeMismatch,
            "list",
        ),
        (
            over(is_in("i8", vec![Kind::I64(200)]), Node::NotIn),
            E::TypeMismatch,
            "i8",
        ),
        (
            compare("i8", CompareOp::Unspecified, Kind::I64(1)),
            E::MissingField,
            "op",
        ),
        (Filter { node: None }, E::MissingField, "filter"),
        (node(Node::And(list(vec![]))), E::MissingField, "filter"),
        (node(Node::Or(list(vec![]))), E::MissingField, "filter"),
    ];
    for (filter, code, field) in cases {
        let error = refusal(&filter);
        assert_eq!(
            (error.code, error.field.as_deref()),
            (code, Some(field)),
            "{filter:?}: {error}"
        );
    }
}

#[test]
fn empty_values_are_refused() {
    let mut filter = compare("i8", CompareOp::Eq, Kind::I64(1));
    if let Some(Node::Compare(comparison)) = &mut filter.node {
        comparison.value.as_mut().unwrap().kind = None;
    }
    assert_eq!(refusal(&filter).code, ErrorCode::MissingField);
    if let Some(Node::Compare(comparison)) = &mut filter.node {
        comparison.value = None;
    }
    assert_eq!(refusal(&filter).code, ErrorCode::MissingField);
}

#[test]
fn sizes_are_limited_exactly() {
    let leaf = || compare("i8", CompareOp::Eq, Kind::I64(1));
    let nested = |depth: usize| (1..depth).fold(leaf(), |filter, _| not(filter));
    assert!(Predicate::compile(&nested(32), &schema()).is_ok());
    assert_eq!(refusal(&nested(33)).limit.as_deref(), Some("32"));

    let wide = |nodes: usize| node(Node::Or(list(vec![leaf(); nodes - 1])));
    assert!(Predicate::compile(&wide(1_024), &schema()).is_ok());
    assert_eq!(refusal(&wide(1_025)).limit.as_deref(), Some("1024"));

    let members = |count: usize| is_in("i8", vec![Kind::I64(1); count]);
    assert!(Predicate::compile(&members(10_000), &schema()).is_ok());
    let error = refusal(&members(10_001));
    assert_eq!(
        (error.code, error.limit.as_deref()),
        (ErrorCode::TooLarge, Some("10000"))
    );

    let many = |memberships: usize| node(Node::Or(list(vec![members(10_000); memberships])));
    assert!(Predicate::compile(&many(10), &schema()).is_ok());
    let mut over = vec![members(10_000); 10];
    over.push(leaf());
    let error = refusal(&node(Node::And(list(over))));
    assert_eq!(
        (error.code, error.limit.as_deref()),
        (ErrorCode::TooLarge, Some("100000"))
    );
    let texts = Kind::Utf8List(Utf8List {
        values: vec![String::new(); 100_001],
    });
    assert_eq!(
        refusal(&compare("list", CompareOp::Eq, texts)).limit.as_deref(),
        Some("100000")
    );
}

#[test]
fn infinities_are_constants_like_any_other() {
    for column in ["f16", "f32", "f64"] {
        let filter = compare(column, CompareOp::Eq, Kind::F64(f64::INFINITY));
        assert!(Predicate::compile(&filter, &schema()).is_ok());
    }
}

#[test]
fn of_a_further_vector_only_whether_it_is_there_may_be_asked() {
    use longbow_types::{Metric, Schema, VectorElement, schema::vector_type};
    let field =
        |name: &str, nullable| arrow_schema::Field::new(name, vector_type(VectorElement::F32, 2), nullable);
    let id = arrow_schema::Field::new("id", arrow_schema::DataType::UInt64, false);
    let schema = Schema::new(vec![id, field("v", false), field("w", true)], "id", Metric::L2).unwrap();
    let null = || node(Node::IsNull("w".into()));
    Predicate::compile(&null(), &schema).unwrap();
    Predicate::compile(&not(null()), &schema).unwrap();
    for filter in [
        compare("w", CompareOp::Eq, Kind::F64(1.0)),
        compare("w", CompareOp::Eq, Kind::Null(0)),
        is_in("w", vec![]),
        node(Node::Not(Box::new(node(Node::IsNull("v".into()))))),
    ] {
        let error = Predicate::compile(&filter, &schema).unwrap_err();
        assert_eq!(error.code, ErrorCode::TypeMismatch, "{filter:?}");
    }
}
