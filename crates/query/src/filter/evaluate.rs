//! Evaluates a predicate against a batch: one bit per row, nulls counting as not true.

use std::collections::BTreeSet;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes as t;
use arrow_schema::{DataType, TimeUnit};
use longbow_types::schema::splits;
use longbow_types::{Error, ErrorCode, Result};

use super::bits::probed;
use super::key::{Key, Set, of_wide};
use super::lists;
use super::node::{Node, Property, Test, Values};
use super::pattern::Matcher;
use super::probe::{BytesProbe, FixedProbe, Items, Probe};

/// A node with all worked out that does not depend on rows.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Constant(bool),
    Values {
        column: String,
        probe: Probe,
        nulls: bool,
    },
    Look {
        column: String,
        look: Look,
        negated: bool,
    },
    And(Vec<Step>),
    Or(Vec<Step>),
}

/// How a property is looked for.
#[derive(Debug, Clone)]
pub(super) enum Look {
    Like(Matcher),
    /// At least one item is found.
    Any(Probe),
    All(Items),
    List(Vec<Vec<Key>>),
}

impl Step {
    pub(super) fn new(node: &Node) -> Self {
        match node {
            Node::Constant(truth) => Step::Constant(*truth),
            Node::Values(Values { column, set, nulls }) => Step::Values {
                column: column.clone(),
                probe: Probe::new(set),
                nulls: *nulls,
            },
            Node::Test(Test {
                column,
                property,
                negated,
            }) => Step::Look {
                column: column.clone(),
                look: Look::new(property),
                negated: *negated,
            },
            Node::And(parts) => Step::And(parts.iter().map(Step::new).collect()),
            Node::Or(parts) => Step::Or(parts.iter().map(Step::new).collect()),
        }
    }

    /// Adds the columns that are looked at.
    pub(super) fn columns<'a>(&'a self, columns: &mut BTreeSet<&'a str>) {
        match self {
            Step::Constant(_) => {}
            Step::Values { column, .. } | Step::Look { column, .. } => {
                columns.insert(column);
            }
            Step::And(parts) | Step::Or(parts) => parts.iter().for_each(|part| part.columns(columns)),
        }
    }

    /// One bit per row: whether the node is true of it.
    pub(super) fn evaluate(&self, batch: &RecordBatch) -> Result<BooleanBuffer> {
        let rows = batch.num_rows();
        match self {
            Step::Constant(truth) => Ok(constant(*truth, rows)),
            Step::And(parts) => {
                let mut all = BooleanBuffer::new_set(rows);
                for part in parts {
                    all = &all & &part.evaluate(batch)?;
                    if !all.has_true() {
                        break;
                    }
                }
                Ok(all)
            }
            Step::Or(parts) => {
                let mut any = BooleanBuffer::new_unset(rows);
                for part in parts {
                    any = &any | &part.evaluate(batch)?;
                    if !any.has_false() {
                        break;
                    }
                }
                Ok(any)
            }
            Step::Values { column, probe, nulls } => {
                let Some(Cells { array, nulls: valid }) = Cells::of(batch, column) else {
                    return Ok(constant(*nulls, rows));
                };
                let bits = probe_values(array, probe)?;
                Ok(match valid {
                    None => bits,
                    Some(valid) if *nulls => &bits | &!valid.inner(),
                    Some(valid) => &bits & valid.inner(),
                })
            }
            Step::Look {
                column,
                look,
                negated,
            } => {
                let Some(Cells { array, nulls }) = Cells::of(batch, column) else {
                    return Ok(constant(*negated, rows));
                };
                let bits = look.rows(array)?;
                let bits = match nulls {
                    None => bits,
                    Some(valid) => &bits & valid.inner(),
                };
                Ok(if *negated { !&bits } else { bits })
            }
        }
    }
}

/// A column of a batch, or a child of one, which is null where its parent is.
struct Cells<'a> {
    array: &'a ArrayRef,
    nulls: Option<NullBuffer>,
}

impl<'a> Cells<'a> {
    fn of(batch: &'a RecordBatch, name: &str) -> Option<Self> {
        if let Some(array) = batch.column_by_name(name) {
            let nulls = array.nulls().cloned();
            return Some(Self { array, nulls });
        }
        splits(name).find_map(|(parent, child)| {
            let parent = batch.column_by_name(parent)?.as_struct_opt()?;
            let array = parent.column_by_name(child)?;
            let nulls = NullBuffer::union(parent.nulls(), array.nulls());
            Some(Self { array, nulls })
        })
    }
}

impl Look {
    fn new(property: &Property) -> Self {
        match property {
            Property::Like(pattern) => Look::Like(pattern.matcher()),
            Property::Any(keys) => Look::Any(Probe::new(&set_of(keys))),
            Property::All(keys) if keys.len() == 1 => Look::Any(Probe::new(&set_of(keys))),
            Property::All(keys) => Look::All(Items::new(keys)),
            Property::List(lists) => Look::List(lists.clone()),
        }
    }

    /// The rows that have the property; bits of null rows mean nothing.
    fn rows(&self, array: &ArrayRef) -> Result<BooleanBuffer> {
        match self {
            Look::Like(matcher) => {
                let texts = array.as_string_opt::<i32>().ok_or_else(|| other_type(array))?;
                Ok(BooleanBuffer::collect_bool(texts.len(), |row| {
                    matcher.matches(texts.value(row))
                }))
            }
            Look::Any(probe) => lists::any(array, probe),
            Look::All(items) => lists::all(array, items),
            Look::List(members) => lists::equal(array, members),
        }
    }
}

/// Keys, all of one kind, as a set.
fn set_of(keys: &[Key]) -> Set {
    let item = match keys.first() {
        Some(Key::Bytes(_)) => DataType::Binary,
        _ => DataType::Null,
    };
    Set::of(keys.to_vec(), &item)
}

fn constant(truth: bool, rows: usize) -> BooleanBuffer {
    if truth {
        BooleanBuffer::new_set(rows)
    } else {
        BooleanBuffer::new_unset(rows)
    }
}

/// The rows whose values are in the probe's set; bits of null rows mean nothing.
pub(super) fn probe_values(array: &ArrayRef, probe: &Probe) -> Result<BooleanBuffer> {
    let (bits, outside) = match probe {
        Probe::Constant(truth) => return Ok(constant(*truth, array.len())),
        Probe::Fixed { probe, outside } => (fixed(array, probe)?, *outside),
        Probe::Bytes { probe, outside } => (bytes(array, probe)?, *outside),
    };
    Ok(if outside { !&bits } else { bits })
}

fn fixed(array: &ArrayRef, probe: &FixedProbe) -> Result<BooleanBuffer> {
    use DataType as T;
    macro_rules! primitive {
        ($type:ty) => {
            probed(array.as_primitive::<$type>().values(), probe)
        };
    }
    Ok(match array.data_type() {
        T::Boolean => {
            let values = array.as_boolean().values();
            match (probe.contains(0), probe.contains(1)) {
                (false, true) => values.clone(),
                (true, false) => !values,
                (both, _) => constant(both, values.len()),
            }
        }
        T::Int8 => primitive!(t::Int8Type),
        T::Int16 => primitive!(t::Int16Type),
        T::Int32 => primitive!(t::Int32Type),
        T::Int64 => primitive!(t::Int64Type),
        T::UInt8 => primitive!(t::UInt8Type),
        T::UInt16 => primitive!(t::UInt16Type),
        T::UInt32 => primitive!(t::UInt32Type),
        T::UInt64 => primitive!(t::UInt64Type),
        T::Decimal128(..) => primitive!(t::Decimal128Type),
        T::Float16 => primitive!(t::Float16Type),
        T::Float32 => primitive!(t::Float32Type),
        T::Float64 => primitive!(t::Float64Type),
        T::Date32 => primitive!(t::Date32Type),
        T::Date64 => primitive!(t::Date64Type),
        T::Time32(TimeUnit::Second) => primitive!(t::Time32SecondType),
        T::Time32(TimeUnit::Millisecond) => primitive!(t::Time32MillisecondType),
        T::Time64(TimeUnit::Microsecond) => primitive!(t::Time64MicrosecondType),
        T::Time64(TimeUnit::Nanosecond) => primitive!(t::Time64NanosecondType),
        T::Timestamp(TimeUnit::Second, _) => primitive!(t::TimestampSecondType),
        T::Timestamp(TimeUnit::Millisecond, _) => primitive!(t::TimestampMillisecondType),
        T::Timestamp(TimeUnit::Microsecond, _) => primitive!(t::TimestampMicrosecondType),
        T::Timestamp(TimeUnit::Nanosecond, _) => primitive!(t::TimestampNanosecondType),
        T::Duration(TimeUnit::Second) => primitive!(t::DurationSecondType),
        T::Duration(TimeUnit::Millisecond) => primitive!(t::DurationMillisecondType),
        T::Duration(TimeUnit::Microsecond) => primitive!(t::DurationMicrosecondType),
        T::Duration(TimeUnit::Nanosecond) => primitive!(t::DurationNanosecondType),
        _ => return Err(other_type(array)),
    })
}

fn bytes(array: &ArrayRef, probe: &BytesProbe) -> Result<BooleanBuffer> {
    Ok(match array.data_type() {
        DataType::Utf8 => {
            let values = array.as_string::<i32>();
            probe_bytes(probe, values.len(), |row| values.value(row).as_bytes())
        }
        DataType::Binary => {
            let values = array.as_binary::<i32>();
            probe_bytes(probe, values.len(), |row| values.value(row))
        }
        DataType::Decimal256(..) => {
            let values = array.as_primitive::<t::Decimal256Type>().values();
            probe_bytes(probe, values.len(), |row| of_wide(values[row]))
        }
        _ => return Err(other_type(array)),
    })
}

/// One loop for each kind of probe, so that none asks which it is at every row.
fn probe_bytes<V: AsRef<[u8]>>(probe: &BytesProbe, rows: usize, value: impl Fn(usize) -> V) -> BooleanBuffer {
    match probe {
        BytesProbe::One(one) => {
            BooleanBuffer::collect_bool(rows, |row| value(row).as_ref() == one.as_slice())
        }
        BytesProbe::Range(start, None) => {
            BooleanBuffer::collect_bool(rows, |row| value(row).as_ref() >= start.as_slice())
        }
        BytesProbe::Range(start, Some(end)) => BooleanBuffer::collect_bool(rows, |row| {
            let value = value(row);
            let value = value.as_ref();
            value >= start.as_slice() && value < end.as_slice()
        }),
        BytesProbe::Keys(keys) => BooleanBuffer::collect_bool(rows, |row| keys.contains(value(row).as_ref())),
        BytesProbe::Turns(turns) => BooleanBuffer::collect_bool(rows, |row| {
            let value = value(row);
            turns.partition_point(|turn| turn.as_slice() <= value.as_ref()) % 2 == 1
        }),
    }
}

pub(super) fn other_type(array: &ArrayRef) -> Error {
    let message = format!("a filter met a column of type {}", array.data_type());
    Error::new(ErrorCode::Internal, message)
}
