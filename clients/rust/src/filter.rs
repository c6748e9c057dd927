//! Predicates over columns, built in code.

use longbow_wire::v1::{self, CompareOp, filter::Node};

use crate::value::Value;

/// A predicate over the columns of a dataset.
///
/// ```
/// use longbow_client::{all, any, col};
///
/// let filter = col("pos").eq("noun").and(col("word_count").ge(2)).and(!col("lexname").eq("noun.animal"));
/// let same = all([col("pos").eq("noun"), col("word_count").ge(2), !col("lexname").eq("noun.animal")]);
/// assert_eq!(filter, same);
/// let other = any([col("pos").is_in(["adj", "adv"]), col("gloss").is_null()]);
/// # let _ = other;
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Filter(v1::Filter);

/// A column, to be compared with something.
#[derive(Debug, Clone)]
pub struct Column(String);

/// The column of a name.
pub fn col(name: impl Into<String>) -> Column {
    Column(name.into())
}

/// True where all parts are. Needs at least one part; the server refuses an empty list.
pub fn all(filters: impl IntoIterator<Item = Filter>) -> Filter {
    let filters = filters.into_iter().map(|filter| filter.0).collect();
    Filter::of(Node::And(v1::FilterList { filters }))
}

/// True where any part is. Needs at least one part; the server refuses an empty list.
pub fn any(filters: impl IntoIterator<Item = Filter>) -> Filter {
    let filters = filters.into_iter().map(|filter| filter.0).collect();
    Filter::of(Node::Or(v1::FilterList { filters }))
}

/// Comparisons. A comparison with a null is never true.
///
/// The names are those of the comparison operators, which return `bool` and so cannot be overloaded for this.
#[allow(clippy::should_implement_trait)]
impl Column {
    /// column = value
    pub fn eq(self, value: impl Into<Value>) -> Filter {
        self.compare(CompareOp::Eq, value)
    }

    /// column <> value
    pub fn ne(self, value: impl Into<Value>) -> Filter {
        self.compare(CompareOp::Ne, value)
    }

    /// column < value
    pub fn lt(self, value: impl Into<Value>) -> Filter {
        self.compare(CompareOp::Lt, value)
    }

    /// column <= value
    pub fn le(self, value: impl Into<Value>) -> Filter {
        self.compare(CompareOp::Le, value)
    }

    /// column > value
    pub fn gt(self, value: impl Into<Value>) -> Filter {
        self.compare(CompareOp::Gt, value)
    }

    /// column >= value
    pub fn ge(self, value: impl Into<Value>) -> Filter {
        self.compare(CompareOp::Ge, value)
    }

    /// column is one of the values
    pub fn is_in<V: Into<Value>>(self, values: impl IntoIterator<Item = V>) -> Filter {
        Filter::of(Node::In(self.membership(values)))
    }

    /// column is neither null nor one of the values
    pub fn not_in<V: Into<Value>>(self, values: impl IntoIterator<Item = V>) -> Filter {
        Filter::of(Node::NotIn(self.membership(values)))
    }

    /// low <= column <= high
    pub fn between(self, low: impl Into<Value>, high: impl Into<Value>) -> Filter {
        Filter::of(Node::Between(v1::Between {
            column: self.0,
            low: Some(low.into().into_proto()),
            high: Some(high.into().into_proto()),
        }))
    }

    /// The text looks like a pattern: `%` stands for any text, `_` for any one character, `\%` and `\_` for themselves.
    pub fn like(self, pattern: impl Into<String>) -> Filter {
        self.pattern(pattern, String::new())
    }

    /// As [`Column::like`], with another character than a backslash before signs that stand for themselves.
    pub fn like_escaped(self, pattern: impl Into<String>, escape: char) -> Filter {
        self.pattern(pattern, escape.into())
    }

    /// The text begins with a text, or the bytes with bytes.
    pub fn starts_with(self, prefix: impl Into<Value>) -> Filter {
        Filter::of(Node::Prefix(v1::Prefix {
            column: self.0,
            value: Some(prefix.into().into_proto()),
        }))
    }

    /// The list holds at least one of the values.
    pub fn contains_any<V: Into<Value>>(self, values: impl IntoIterator<Item = V>) -> Filter {
        Filter::of(Node::ContainsAny(self.membership(values)))
    }

    /// The list holds all of the values.
    pub fn contains_all<V: Into<Value>>(self, values: impl IntoIterator<Item = V>) -> Filter {
        Filter::of(Node::ContainsAll(self.membership(values)))
    }

    /// column is null
    pub fn is_null(self) -> Filter {
        Filter::of(Node::IsNull(self.0))
    }

    fn membership<V: Into<Value>>(self, values: impl IntoIterator<Item = V>) -> v1::Membership {
        v1::Membership {
            column: self.0,
            values: values
                .into_iter()
                .map(|value| value.into().into_proto())
                .collect(),
        }
    }

    fn pattern(self, pattern: impl Into<String>, escape: String) -> Filter {
        Filter::of(Node::Like(v1::Pattern {
            column: self.0,
            pattern: pattern.into(),
            escape,
        }))
    }

    fn compare(self, op: CompareOp, value: impl Into<Value>) -> Filter {
        Filter::of(Node::Compare(v1::Comparison {
            column: self.0,
            op: op as i32,
            value: Some(value.into().into_proto()),
        }))
    }
}

impl Filter {
    /// True where both are. Chains stay flat, so they do not count against the nesting limit.
    #[must_use]
    pub fn and(self, other: Filter) -> Filter {
        match self.0.node {
            Some(Node::And(mut list)) => {
                list.filters.push(other.0);
                Filter::of(Node::And(list))
            }
            node => all([Filter(v1::Filter { node }), other]),
        }
    }

    /// True where either is. Chains stay flat.
    #[must_use]
    pub fn or(self, other: Filter) -> Filter {
        match self.0.node {
            Some(Node::Or(mut list)) => {
                list.filters.push(other.0);
                Filter::of(Node::Or(list))
            }
            node => any([Filter(v1::Filter { node }), other]),
        }
    }

    fn of(node: Node) -> Self {
        Self(v1::Filter { node: Some(node) })
    }

    pub(crate) fn into_proto(self) -> v1::Filter {
        self.0
    }
}

impl std::ops::Not for Filter {
    type Output = Filter;

    fn not(self) -> Filter {
        Filter::of(Node::Not(Box::new(self.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_are_flat() {
        let chain = (0..40).fold(col("a").eq(0), |filter, n| filter.and(col("a").ne(n)));
        let Some(Node::And(list)) = chain.into_proto().node else {
            panic!("not a conjunction");
        };
        assert_eq!(list.filters.len(), 41);
    }

    #[test]
    fn different_connectives_nest() {
        let filter = col("a").eq(1).and(col("b").eq(2)).or(col("c").is_null());
        let Some(Node::Or(list)) = filter.into_proto().node else {
            panic!("not a disjunction");
        };
        assert!(matches!(list.filters[0].node, Some(Node::And(_))));
        assert!(matches!(&list.filters[1].node, Some(Node::IsNull(column)) if column == "c"));
    }

    #[test]
    fn comparisons_name_their_operator() {
        let Some(Node::Compare(compare)) = col("n").ge(3_u8).into_proto().node else {
            panic!("not a comparison");
        };
        assert_eq!(compare.op(), CompareOp::Ge);
        assert_eq!(compare.column, "n");
        assert_eq!(compare.value, Some(Value::U64(3).into_proto()));
    }
}
