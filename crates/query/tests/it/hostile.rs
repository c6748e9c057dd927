//! Filters that nobody means: whatever comes in, the answer is a predicate or a typed refusal.

use longbow_query::filter::Predicate;
use longbow_types::ErrorCode;
use longbow_wire::v1::{self, Filter, filter::Node, value::Kind};
use proptest::prelude::*;
use prost::Message;

use crate::filters::{list, node, not};
use crate::spellings::like;
use crate::table::{batch, schema};

const COLUMNS: [&str; 8] = ["i8", "f16", "utf8", "binary", "list", "bool", "vector", "nope"];

/// A value of any kind, whatever the column.
fn value() -> impl Strategy<Value = Option<v1::Value>> {
    let kind = prop_oneof![
        Just(Kind::Null(0)),
        any::<bool>().prop_map(Kind::Bool),
        any::<i64>().prop_map(Kind::I64),
        any::<u64>().prop_map(Kind::U64),
        any::<f64>().prop_map(Kind::F64),
        ".{0,3}".prop_map(Kind::Utf8),
        any::<[u8; 2]>().prop_map(|bytes| Kind::Binary(bytes.to_vec().into())),
        proptest::collection::vec(".{0,2}", 0..3).prop_map(|values| Kind::Utf8List(v1::Utf8List { values })),
    ];
    proptest::option::of(proptest::option::of(kind).prop_map(|kind| v1::Value { kind }))
}

fn column() -> impl Strategy<Value = String> {
    proptest::sample::select(&COLUMNS[..]).prop_map(str::to_owned)
}

fn filter() -> impl Strategy<Value = Filter> {
    let membership = || {
        (column(), proptest::collection::vec(value(), 0..3)).prop_map(|(column, values)| v1::Membership {
            column,
            values: values.into_iter().flatten().collect(),
        })
    };
    let leaf =
        prop_oneof![
            Just(None),
            column().prop_map(|column| Some(Node::IsNull(column))),
            (column(), -1..9_i32, value())
                .prop_map(|(column, op, value)| Some(Node::Compare(v1::Comparison { column, op, value }))),
            membership().prop_map(|m| Some(Node::In(m))),
            membership().prop_map(|m| Some(Node::NotIn(m))),
            membership().prop_map(|m| Some(Node::ContainsAny(m))),
            membership().prop_map(|m| Some(Node::ContainsAll(m))),
            (column(), value(), value()).prop_map(|(column, low, high)| Some(Node::Between(v1::Between {
                column,
                low,
                high
            }))),
            (column(), "[a%_\\\\]{0,5}", "[!\\\\%]{0,2}").prop_map(|(column, pattern, escape)| {
                Some(Node::Like(v1::Pattern {
                    column,
                    pattern,
                    escape,
                }))
            }),
            (column(), value()).prop_map(|(column, value)| Some(Node::Prefix(v1::Prefix { column, value }))),
        ];
    leaf.prop_map(|node| Filter { node })
        .prop_recursive(4, 16, 3, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3).prop_map(|parts| node(Node::And(list(parts)))),
                proptest::collection::vec(inner.clone(), 0..3).prop_map(|parts| node(Node::Or(list(parts)))),
                inner.prop_map(not),
            ]
        })
}

fn compiles_or_is_refused(filter: &Filter) {
    match Predicate::compile(filter, &schema()) {
        Ok(predicate) => assert_eq!(predicate.evaluate(&batch(&[])).unwrap().len(), 0),
        Err(error) => {
            use ErrorCode as E;
            let known = [
                E::UnknownColumn,
                E::TypeMismatch,
                E::NullNotAllowed,
                E::MissingField,
                E::InvalidValue,
                E::TooLarge,
            ];
            assert!(known.contains(&error.code), "{error}");
            assert!(error.field.is_some(), "{error}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_tree_compiles_or_is_refused(filter in filter()) {
        compiles_or_is_refused(&filter);
    }

    #[test]
    fn any_bytes_compile_or_are_refused(filter in filter(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = filter.encode_to_vec();
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(filter) = Filter::decode(&bytes[..]) {
            compiles_or_is_refused(&filter);
        }
    }
}

#[test]
fn patterns_are_bounded() {
    assert!(Predicate::compile(&like("utf8", &"%_".repeat(512)), &schema()).is_ok());
    let error = Predicate::compile(&like("utf8", &"a".repeat(1_025)), &schema()).unwrap_err();
    assert_eq!(
        (error.code, error.limit.as_deref()),
        (ErrorCode::TooLarge, Some("1024"))
    );
}
