//! Filters that say the same compile to the same predicate, and filters that do not, do not.

use longbow_query::filter::Predicate;
use longbow_wire::v1::{self, CompareOp as Op, Filter, filter::Node, value::Kind};

use crate::filters::{compare, is_in, list, node, not};
use crate::table::schema;

fn compiled(filter: &Filter) -> Predicate {
    Predicate::compile(filter, &schema()).unwrap()
}

fn and(parts: &[&Filter]) -> Filter {
    node(Node::And(list(
        parts.iter().map(|part| (*part).clone()).collect(),
    )))
}

fn or(parts: &[&Filter]) -> Filter {
    node(Node::Or(list(parts.iter().map(|part| (*part).clone()).collect())))
}

fn null(column: &str) -> Filter {
    node(Node::IsNull(column.into()))
}

pub fn between(column: &str, low: Kind, high: Kind) -> Filter {
    node(Node::Between(v1::Between {
        column: column.into(),
        low: Some(v1::Value { kind: Some(low) }),
        high: Some(v1::Value { kind: Some(high) }),
    }))
}

pub fn like(column: &str, pattern: &str) -> Filter {
    node(Node::Like(v1::Pattern {
        column: column.into(),
        pattern: pattern.into(),
        escape: String::new(),
    }))
}

pub fn prefix(column: &str, value: Kind) -> Filter {
    node(Node::Prefix(v1::Prefix {
        column: column.into(),
        value: Some(v1::Value { kind: Some(value) }),
    }))
}

/// `in`, as another operator over the same values.
pub fn over(filter: Filter, operator: fn(v1::Membership) -> Node) -> Filter {
    match filter.node {
        Some(Node::In(membership)) => node(operator(membership)),
        other => Filter { node: other },
    }
}

fn texts(values: &[&str]) -> Vec<Kind> {
    values.iter().map(|text| Kind::Utf8((*text).into())).collect()
}

fn list_of(values: &[&str]) -> Kind {
    Kind::Utf8List(v1::Utf8List {
        values: values.iter().map(|text| (*text).to_owned()).collect(),
    })
}

#[test]
fn one_predicate_has_one_form() {
    let a = || compare("i8", Op::Eq, Kind::I64(5));
    let b = || compare("utf8", Op::Lt, Kind::Utf8("m".into()));
    let c = || like("utf8", "%x%");
    let n = |op: Op, value: i64| compare("i8", op, Kind::I64(value));
    let f = |op: Op, value: f64| compare("f32", op, Kind::F64(value));
    let has = |values: &[&str]| is_in("list", texts(values));
    let any = |values: &[&str]| over(has(values), Node::ContainsAny);
    let all = |values: &[&str]| over(has(values), Node::ContainsAll);
    let never = is_in("i8", vec![]);
    let always = not(never.clone());
    let same: Vec<(Filter, Filter)> = vec![
        // Order, nesting, duplicates, one part.
        (and(&[&a(), &b(), &c()]), and(&[&c(), &and(&[&b(), &a(), &b()])])),
        (or(&[&a(), &or(&[&c(), &b()])]), or(&[&b(), &a(), &c(), &a()])),
        (and(&[&a()]), or(&[&a()])),
        // Negation.
        (not(not(c())), c()),
        (not(and(&[&a(), &c()])), or(&[&not(c()), &not(a())])),
        // Constants, opposites, absorption.
        (and(&[&a(), &always]), a()),
        (or(&[&a(), &never]), a()),
        (and(&[&a(), &never]), never.clone()),
        (or(&[&c(), &always]), always.clone()),
        (and(&[&c(), &not(c())]), never.clone()),
        (or(&[&c(), &not(c())]), always.clone()),
        (or(&[&a(), &not(a())]), always.clone()),
        (and(&[&a(), &or(&[&a(), &c()])]), a()),
        (or(&[&c(), &and(&[&a(), &c()])]), c()),
        (n(Op::Eq, 5), and(&[&n(Op::Ge, 5), &n(Op::Lt, 6)])),
        // Comparisons with nulls.
        (compare("i8", Op::Ne, Kind::Null(0)), never.clone()),
        (is_in("i8", vec![Kind::Null(0), Kind::I64(5)]), a()),
        // Ranges, `in`, `between`.
        (is_in("i8", vec![Kind::I64(5)]), a()),
        (is_in("i8", vec![Kind::U64(5), Kind::I64(5)]), a()),
        (
            or(&[&n(Op::Eq, 1), &n(Op::Eq, 2)]),
            is_in("i8", vec![Kind::I64(2), Kind::I64(1)]),
        ),
        (
            between("i8", Kind::I64(1), Kind::I64(3)),
            and(&[&n(Op::Le, 3), &n(Op::Ge, 1)]),
        ),
        (
            between("i8", Kind::I64(1), Kind::I64(2)),
            is_in("i8", vec![Kind::I64(1), Kind::I64(2)]),
        ),
        (between("i8", Kind::I64(3), Kind::I64(1)), never.clone()),
        (between("i8", Kind::I64(-128), Kind::I64(127)), not(null("i8"))),
        (n(Op::Gt, 5), n(Op::Ge, 6)),
        (n(Op::Lt, -128), never.clone()),
        (
            over(is_in("i8", vec![Kind::I64(5), Kind::Null(0)]), Node::NotIn),
            and(&[&not(a()), &not(null("i8"))]),
        ),
        (n(Op::Ne, 5), over(is_in("i8", vec![Kind::I64(5)]), Node::NotIn)),
        (not(n(Op::Lt, 5)), or(&[&null("i8"), &n(Op::Ge, 5)])),
        (
            compare("bool", Op::Ne, Kind::Bool(true)),
            compare("bool", Op::Lt, Kind::Bool(true)),
        ),
        (
            compare("nanos", Op::Lt, Kind::Utf8("1970-01-01T00:00:01+00:00".into())),
            compare("nanos", Op::Lt, Kind::I64(1_000_000_000)),
        ),
        (
            compare("date32", Op::Eq, Kind::Utf8("1970-01-02".into())),
            between("date32", Kind::I64(1), Kind::I64(1)),
        ),
        // Floats: NaN is neither below nor above, and differs.
        (f(Op::Eq, -0.0), f(Op::Eq, 0.0)),
        (f(Op::Ne, f64::NAN), not(null("f32"))),
        (f(Op::Gt, f64::NAN), never.clone()),
        (f(Op::Ge, 0.1), or(&[&f(Op::Gt, 0.1), &f(Op::Eq, 0.1)])),
        // Text.
        (
            like("utf8", "ab"),
            compare("utf8", Op::Eq, Kind::Utf8("ab".into())),
        ),
        (like("utf8", "ab%%"), prefix("utf8", Kind::Utf8("ab".into()))),
        (
            prefix("utf8", Kind::Utf8("ab".into())),
            and(&[
                &compare("utf8", Op::Ge, Kind::Utf8("ab".into())),
                &compare("utf8", Op::Lt, Kind::Utf8("ac".into())),
            ]),
        ),
        (like("utf8", "%"), not(null("utf8"))),
        (like("utf8", "%_%"), like("utf8", "_%")),
        (and(&[&c(), &not(null("utf8"))]), c()),
        (or(&[&not(c()), &null("utf8")]), not(c())),
        (prefix("binary", Kind::Binary("".into())), not(null("binary"))),
        // Lists.
        (any(&["a"]), all(&["a", "a"])),
        (any(&["a", "b"]), or(&[&any(&["b"]), &any(&["a"])])),
        (all(&["a", "b"]), and(&[&all(&["b"]), &any(&["a"])])),
        (
            not(any(&["a", "b"])),
            and(&[&not(all(&["a"])), &not(any(&["b"]))]),
        ),
        (any(&[]), never.clone()),
        (all(&[]), not(null("list"))),
        (
            is_in("list", vec![list_of(&["a"]), list_of(&["b"])]),
            or(&[
                &compare("list", Op::Eq, list_of(&["b"])),
                &compare("list", Op::Eq, list_of(&["a"])),
            ]),
        ),
        (
            compare("list", Op::Ne, list_of(&["a"])),
            over(is_in("list", vec![list_of(&["a"])]), Node::NotIn),
        ),
        (
            and(&[
                &compare("list", Op::Eq, list_of(&["a"])),
                &compare("list", Op::Eq, list_of(&["b"])),
            ]),
            never.clone(),
        ),
    ];
    for (one, other) in same {
        assert_eq!(compiled(&one), compiled(&other), "{one:?}\n{other:?}");
        assert_eq!(compiled(&not(one)), compiled(&not(other)));
    }
    let different = [
        (not(a()), n(Op::Ne, 5)),
        (f(Op::Ge, 0.0), not(f(Op::Lt, 0.0))),
        (any(&["a", "b"]), all(&["a", "b"])),
        (like("utf8", "a_"), like("utf8", "a%")),
    ];
    for (one, other) in different {
        assert_ne!(compiled(&one), compiled(&other), "{one:?}\n{other:?}");
    }
    assert_eq!(compiled(&never).constant(), Some(false));
    assert_eq!(compiled(&always).constant(), Some(true));
    assert_eq!(compiled(&a()).constant(), None);
}
