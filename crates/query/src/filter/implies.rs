//! Is one leaf true wherever another is? What makes a part of a junction superfluous.

use super::node::{Node, Property, Test, Values};

impl Node {
    /// Whether the other is true of every row of which this is. May say no of what is so, but says the same of all that
    /// one column's values and one property can say.
    pub(super) fn implies(&self, other: &Node) -> bool {
        match (self, other) {
            (Node::Values(a), Node::Values(b)) => {
                a.column == b.column && (b.nulls || !a.nulls) && a.set.is_within(&b.set)
            }
            (Node::Test(a), Node::Test(b)) => a.implies(b),
            // A value with a property is a value; a null has the opposite of every property.
            (Node::Test(test), Node::Values(values)) => {
                !test.negated && test.column == values.column && values.set.is_all()
            }
            (Node::Values(Values { column, set, nulls }), Node::Test(test)) => {
                test.negated && test.column == *column && *nulls && set.is_none()
            }
            (a, b) => a == b,
        }
    }
}

impl Test {
    fn implies(&self, other: &Test) -> bool {
        self.column == other.column
            && match (self.negated, other.negated) {
                (false, false) => self.property.implies(&other.property),
                (true, true) => other.property.implies(&self.property),
                _ => false,
            }
    }
}

impl Property {
    fn implies(&self, other: &Property) -> bool {
        match (self, other) {
            (Property::Any(a), Property::Any(b)) => is_within(a, b),
            (Property::All(a), Property::All(b)) => is_within(b, a),
            (Property::All(a), Property::Any(b)) => {
                let (few, many) = if a.len() < b.len() { (a, b) } else { (b, a) };
                few.iter().any(|key| many.binary_search(key).is_ok())
            }
            (Property::List(a), Property::List(b)) => is_within(a, b),
            (a, b) => a == b,
        }
    }
}

/// Whether all of some values are among others, both ascending.
fn is_within<T: Ord>(some: &[T], others: &[T]) -> bool {
    some.len() <= others.len() && some.iter().all(|value| others.binary_search(value).is_ok())
}
