//! One spelling for each predicate: filters that mean the same rows by the algebra below become equal nodes.
//!
//! - `not` stands only at leaves (De Morgan; exact, as there is no third truth value).
//! - All that is asked of one column's values is one set of values and a bit for nulls: comparisons, `in`, `not in`,
//!   `between`, prefixes and `is null` are such leaves, and `and`, `or` and `not` of them are such leaves again.
//! - `and` and `or` are flat, sorted, without duplicates, without parts that decide nothing, and constant where a part
//!   or a pair of opposites decides all; a part that another part implies is left out.

use super::key::{Key, Set};
use super::pattern::Pattern;

/// A predicate. The order of variants is the order in which the parts of a junction are evaluated: cheap ones first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Node {
    /// True of every row, or of none.
    Constant(bool),
    /// What is asked of the values of a column.
    Values(Values),
    /// What is asked of a column beyond the order of its values.
    Test(Test),
    /// Where all are true. Invariant: at least two parts.
    And(Vec<Node>),
    /// Where any is true. Invariant: at least two parts.
    Or(Vec<Node>),
}

/// True of rows whose value is in the set, and of nulls if said so.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Values {
    pub(super) column: String,
    pub(super) set: Set,
    pub(super) nulls: bool,
}

/// True of rows whose value has a property, which a null has not; or of all the others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Test {
    pub(super) column: String,
    pub(super) property: Property,
    pub(super) negated: bool,
}

/// What a value can be like.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Property {
    /// Text that is neither one text nor all texts with one prefix.
    Like(Pattern),
    /// A list with at least one of these items. Invariant: ascending, at least two (one is [`Property::All`]).
    Any(Vec<Key>),
    /// A list with each of these items. Invariant: ascending, not empty.
    All(Vec<Key>),
    /// A list that is one of these. Invariant: ascending, not empty.
    List(Vec<Vec<Key>>),
}

/// How parts are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Join {
    And,
    Or,
}

impl Node {
    /// A leaf about the values of a column, or a constant.
    pub(super) fn values(column: &str, set: Set, nulls: bool) -> Self {
        Node::Values(Values {
            column: column.to_owned(),
            set,
            nulls,
        })
        .settled()
    }

    pub(super) fn test(column: &str, property: Property) -> Self {
        Node::Test(Test {
            column: column.to_owned(),
            property,
            negated: false,
        })
    }

    pub(super) fn and(parts: Vec<Node>) -> Self {
        joined(Join::And, parts)
    }

    pub(super) fn or(parts: Vec<Node>) -> Self {
        joined(Join::Or, parts)
    }

    /// The rows of which the node is not true.
    pub(super) fn not(self) -> Self {
        match self {
            Node::Constant(truth) => Node::Constant(!truth),
            Node::Values(values) => Node::Values(Values {
                set: values.set.complement(),
                nulls: !values.nulls,
                ..values
            }),
            Node::Test(test) => Node::Test(Test {
                negated: !test.negated,
                ..test
            }),
            Node::And(parts) => Node::or(parts.into_iter().map(Node::not).collect()),
            Node::Or(parts) => Node::and(parts.into_iter().map(Node::not).collect()),
        }
    }

    /// The same, as a constant if it is one.
    fn settled(self) -> Self {
        match self {
            Node::Values(values) if values.set.is_none() && !values.nulls => Node::Constant(false),
            Node::Values(values) if values.set.is_all() && values.nulls => Node::Constant(true),
            other => other,
        }
    }
}

/// Parts joined, in the one spelling.
fn joined(join: Join, parts: Vec<Node>) -> Node {
    let (mut values, mut tests, mut others) = (Vec::new(), Vec::new(), Vec::new());
    let mut open = parts;
    while let Some(part) = open.pop() {
        match part {
            // The constant that decides all, and the one that decides nothing.
            Node::Constant(truth) if truth == (join == Join::Or) => return Node::Constant(truth),
            Node::Constant(_) => {}
            Node::Values(part) => values.push(part),
            Node::Test(part) => tests.push(part),
            Node::And(parts) if join == Join::And => open.extend(parts),
            Node::Or(parts) if join == Join::Or => open.extend(parts),
            other => others.push(other),
        }
    }
    let Some(tests) = super::properties::merged(join == Join::And, tests) else {
        return Node::Constant(join == Join::Or);
    };
    let mut parts = others;
    for values in by_column(join, values) {
        match without_implied(join, values, &tests).settled() {
            Node::Constant(truth) if truth == (join == Join::Or) => return Node::Constant(truth),
            Node::Constant(_) => {}
            other => parts.push(other),
        }
    }
    parts.extend(tests.into_iter().map(Node::Test));
    parts.sort_unstable();
    parts.dedup();
    absorb(join, &mut parts);
    match (parts.len(), parts.pop()) {
        (_, None) => Node::Constant(join == Join::And),
        (1, Some(part)) => part,
        (_, Some(last)) => {
            parts.push(last);
            match join {
                Join::And => Node::And(parts),
                Join::Or => Node::Or(parts),
            }
        }
    }
}

/// One leaf for each column.
fn by_column(join: Join, mut leaves: Vec<Values>) -> Vec<Values> {
    leaves.sort_by(|a, b| a.column.cmp(&b.column));
    let mut groups: Vec<(String, Vec<Set>, Vec<bool>)> = Vec::new();
    for Values { column, set, nulls } in leaves {
        match groups.last_mut() {
            Some((known, sets, all_nulls)) if *known == column => {
                sets.push(set);
                all_nulls.push(nulls);
            }
            _ => groups.push((column, vec![set], vec![nulls])),
        }
    }
    let merge = |(column, sets, nulls): (String, Vec<Set>, Vec<bool>)| {
        let mut nulls = nulls.into_iter();
        let (set, nulls) = match join {
            Join::And => (Set::intersection_of(sets), nulls.all(|nulls| nulls)),
            Join::Or => (Set::union_of(sets), nulls.any(|nulls| nulls)),
        };
        Values { column, set, nulls }
    };
    groups.into_iter().map(merge).collect()
}

/// What a leaf still says beside tests of the same column: a property already leaves nulls out, its opposite already
/// lets them in.
fn without_implied(join: Join, values: Values, tests: &[Test]) -> Node {
    let settles_nulls = |test: &Test| test.column == values.column && test.negated == (join == Join::Or);
    if !tests.iter().any(settles_nulls) {
        return Node::Values(values);
    }
    match join {
        Join::And if values.set.is_all() => Node::Constant(true),
        Join::Or if values.set.is_none() => Node::Constant(false),
        _ => Node::Values(Values {
            nulls: join == Join::Or,
            ..values
        }),
    }
}

/// Drops parts of the other join that a leaf beside them makes superfluous: `a and (a or b)` is `a`.
fn absorb(join: Join, parts: &mut Vec<Node>) {
    let superfluous = |part: &Node| match (join, part) {
        (Join::And, Node::Or(inner)) => inner
            .iter()
            .any(|inner| parts.iter().any(|part| part.implies(inner))),
        (Join::Or, Node::And(inner)) => inner
            .iter()
            .any(|inner| parts.iter().any(|part| inner.implies(part))),
        _ => false,
    };
    let keep: Vec<bool> = parts.iter().map(|part| !superfluous(part)).collect();
    let mut keep = keep.into_iter();
    parts.retain(|_| keep.next().unwrap_or(true));
}
