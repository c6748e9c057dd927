//! Which rows satisfy a predicate?
//!
//! A [`Predicate`] is a filter that has been checked against a schema: its columns exist, its values are of their
//! columns' types, its size is bounded. Evaluating it against a batch gives one bit per row.
//!
//! # Nulls
//!
//! There is no third truth value. A comparison with a null, on either side, is *not true*; `in`, `not in`, `between`,
//! `like`, prefixes and `contains` likewise. `not` is true exactly where its part is not true, so `not (x = 5)` holds
//! for a row whose `x` is null, while `x <> 5` does not, nor does `x not in (5)`. `is_null` is the one way to ask for
//! nulls. A null or a NaN among the values of `in`, `not in` and `contains any` equals nothing, as if it were not
//! there; no list contains all of some values if one of them equals nothing.
//!
//! # Numbers
//!
//! Integers compare exactly, whatever their width. Floats compare as IEEE 754 says: `-0.0 = 0.0`, and NaN is neither
//! equal to, less than nor greater than anything (so `x <> v` holds for it). A constant compared with a float column
//! is first rounded to the column's width, so `f32_column = 0.1` finds the row written as `0.1`.
//! A finite constant that this would make an infinity is refused, as an integer outside the column's range is.
//! Text and bytes compare byte by byte, `false` is less than `true`. Dates, times, timestamps and
//! durations compare as whole numbers of their column's unit; zones are labels and do not matter. A text compared with
//! one of the first three is read as RFC 3339 spells it, in UTC unless it names an offset, and refused where the
//! column's unit cannot tell it exactly.
//!
//! # Patterns
//!
//! In a pattern `%` stands for any text and `_` for any one character (a Unicode scalar value); a `\` before one of
//! them, or before itself, takes its meaning away, and so does another escape if one is named. Letters are not folded.
//!
//! # One spelling
//!
//! Filters that say the same of the same columns by simple algebra (order and nesting of `and` and `or`, doubled `not`,
//! `between` or two comparisons, `in` of one value or `=`, `like 'a%'` or a prefix) compile to equal predicates, and so
//! give equal plans. The values asked of one column are one set, whatever was written: see `node`.

mod bits;
mod compile;
mod constant;
mod evaluate;
mod implies;
mod instant;
mod key;
mod lists;
mod node;
mod pattern;
mod probe;
mod properties;
mod ranges;

use std::collections::BTreeSet;

use arrow::array::RecordBatch;
use arrow::buffer::BooleanBuffer;
use longbow_types::{Result, Schema};
use longbow_wire::v1;

/// A filter checked against a schema. Cheap to clone is not promised; share it by reference.
///
/// Predicates are equal if they were spelt alike or differ by simple algebra only; equal ones are true of the same rows.
#[derive(Debug, Clone)]
pub struct Predicate {
    node: node::Node,
    step: evaluate::Step,
}

impl PartialEq for Predicate {
    fn eq(&self, other: &Self) -> bool {
        self.node == other.node
    }
}

impl Eq for Predicate {}

impl Predicate {
    /// Checks a filter against a schema.
    ///
    /// # Errors
    /// `UNKNOWN_COLUMN` naming the column; `TYPE_MISMATCH` where a value cannot be of the column's type, the column is
    /// of a type that the operator is not for, or is the vector; `NULL_NOT_ALLOWED` for a null compared with a column
    /// that has none; `MISSING_FIELD` for a node without content; `INVALID_VALUE` for a pattern that ends with its
    /// escape; `TOO_LARGE` beyond 32 levels, 1,024 nodes, 10,000 members, 100,000 values in all, or 1,024 bytes of a
    /// pattern.
    pub fn compile(filter: &v1::Filter, schema: &Schema) -> Result<Self> {
        let node = compile::compile(filter, schema)?;
        let step = evaluate::Step::new(&node);
        Ok(Self { node, step })
    }

    /// Whether the predicate is true of every row, or of none, whatever the rows.
    pub fn constant(&self) -> Option<bool> {
        match self.node {
            node::Node::Constant(truth) => Some(truth),
            _ => None,
        }
    }

    /// The columns that evaluation looks at, each once.
    pub fn columns(&self) -> BTreeSet<&str> {
        let mut columns = BTreeSet::new();
        self.step.columns(&mut columns);
        columns
    }

    /// One bit per row of the batch: whether the predicate is true of it.
    ///
    /// Columns are found by name, so the batch may hold them in any order; one that is not there reads as null. One of
    /// integers may be of another width than in the schema that the predicate was compiled against: they compare alike.
    ///
    /// # Errors
    /// `INTERNAL` if a column is of another type than in the schema the predicate was compiled against.
    pub fn evaluate(&self, batch: &RecordBatch) -> Result<BooleanBuffer> {
        self.step.evaluate(batch)
    }
}
