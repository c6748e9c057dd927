//! Which rows satisfy a predicate?
//!
//! A [`Predicate`] is a filter that has been checked against a schema: its columns exist, its values are of their
//! columns' types, its size is bounded. Evaluating it against a batch gives one bit per row.
//!
//! # Nulls
//!
//! There is no third truth value. A comparison with a null, on either side, is *not true*; `in` likewise. `not` is
//! true exactly where its part is not true, so `not (x = 5)` holds for a row whose `x` is null, while `x <> 5` does
//! not. `is_null` is the one way to ask for nulls.
//!
//! # Numbers
//!
//! Integers compare exactly, whatever their width. Floats compare as IEEE 754 says: `-0.0 = 0.0`, and NaN is neither
//! equal to, less than nor greater than anything (so `x <> v` holds for it). A constant compared with a float column
//! is first rounded to the column's width, so `f32_column = 0.1` finds the row written as `0.1`.
//! A finite constant that this would make an infinity is refused, as an integer outside the column's range is.
//! Text and bytes compare byte by byte, `false` is less than `true`, timestamps are compared as microseconds.

mod compile;
mod constant;
mod evaluate;

use arrow::array::{ArrayRef, RecordBatch, Scalar};
use arrow::buffer::BooleanBuffer;
use longbow_types::{Result, Schema};
use longbow_wire::v1;

pub(crate) use constant::Members;

/// A filter checked against a schema. Cheap to clone is not promised; share it by reference.
#[derive(Debug, Clone)]
pub struct Predicate {
    root: Node,
}

impl Predicate {
    /// Checks a filter against a schema.
    ///
    /// # Errors
    /// `UNKNOWN_COLUMN` naming the column; `TYPE_MISMATCH` where a value cannot be of the column's type, or the column
    /// is the vector; `NULL_NOT_ALLOWED` for a null compared with a column that has none; `MISSING_FIELD` for a node
    /// without content; `TOO_LARGE` beyond 32 levels, 1,024 nodes, 10,000 members, or 100,000 values in all.
    pub fn compile(filter: &v1::Filter, schema: &Schema) -> Result<Self> {
        compile::compile(filter, schema).map(|root| Self { root })
    }

    /// One bit per row of the batch: whether the predicate is true of it.
    ///
    /// Columns are found by name, so the batch may hold them in any order; one that is not there reads as null.
    ///
    /// # Errors
    /// `INTERNAL` if a column is of another type than in the schema the predicate was compiled against.
    pub fn evaluate(&self, batch: &RecordBatch) -> Result<BooleanBuffer> {
        self.root.evaluate(batch)
    }
}

/// A node of a predicate. Invariant: constants are of their column's type.
#[derive(Debug, Clone)]
enum Node {
    /// Never true, e.g. a comparison with a null.
    Never,
    And(Vec<Node>),
    Or(Vec<Node>),
    Not(Box<Node>),
    IsNull(String),
    Compare {
        column: String,
        op: Op,
        against: Against,
    },
    In {
        column: String,
        members: Members,
    },
}

/// What a column is compared with.
#[derive(Debug, Clone)]
enum Against {
    /// One value of the column's type, for arrow's kernels.
    Scalar(Scalar<ArrayRef>),
    /// One value for a float column, already rounded to its width.
    Float(f64),
    /// One value for a list column.
    List(Vec<String>),
}

/// How a column is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}
