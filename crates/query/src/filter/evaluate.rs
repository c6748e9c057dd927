//! Evaluates a predicate against a batch: one bit per row, nulls counting as not true.

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, RecordBatch, StringArray};
use arrow::buffer::BooleanBuffer;
use arrow::compute::kernels::cmp;
use arrow::datatypes as t;
use arrow_schema::{ArrowError, DataType};
use half::f16;
use longbow_types::{Error, ErrorCode, Result};

use super::{Against, Members, Node, Op, constant::float_key};

impl Node {
    /// One bit per row: whether the node is true of it.
    pub(super) fn evaluate(&self, batch: &RecordBatch) -> Result<BooleanBuffer> {
        let rows = batch.num_rows();
        match self {
            Node::Never => Ok(BooleanBuffer::new_unset(rows)),
            Node::And(parts) => {
                let mut all = BooleanBuffer::new_set(rows);
                for part in parts {
                    all = &all & &part.evaluate(batch)?;
                    if !all.has_true() {
                        break;
                    }
                }
                Ok(all)
            }
            Node::Or(parts) => {
                let mut any = BooleanBuffer::new_unset(rows);
                for part in parts {
                    any = &any | &part.evaluate(batch)?;
                    if !any.has_false() {
                        break;
                    }
                }
                Ok(any)
            }
            Node::Not(part) => Ok(!&part.evaluate(batch)?),
            Node::IsNull(column) => Ok(match batch.column_by_name(column) {
                None => BooleanBuffer::new_set(rows),
                Some(array) => match array.nulls() {
                    None => BooleanBuffer::new_unset(rows),
                    Some(nulls) => !nulls.inner(),
                },
            }),
            Node::Compare { column, op, against } => match batch.column_by_name(column) {
                None => Ok(BooleanBuffer::new_unset(rows)),
                Some(array) => Ok(without_nulls(compare(array, *op, against)?, array)),
            },
            Node::In { column, members } => match batch.column_by_name(column) {
                None => Ok(BooleanBuffer::new_unset(rows)),
                Some(array) => Ok(without_nulls(contains(array, members)?, array)),
            },
        }
    }
}

/// Clears the bits of null rows.
fn without_nulls(bits: BooleanBuffer, array: &ArrayRef) -> BooleanBuffer {
    match array.nulls() {
        Some(nulls) => &bits & nulls.inner(),
        None => bits,
    }
}

/// Compares every row; bits of null rows mean nothing.
fn compare(array: &ArrayRef, op: Op, against: &Against) -> Result<BooleanBuffer> {
    match against {
        Against::Scalar(scalar) => {
            let array: &dyn Array = array.as_ref();
            let bits = match op {
                Op::Eq => cmp::eq(&array, scalar),
                Op::Ne => cmp::neq(&array, scalar),
                Op::Lt => cmp::lt(&array, scalar),
                Op::Le => cmp::lt_eq(&array, scalar),
                Op::Gt => cmp::gt(&array, scalar),
                Op::Ge => cmp::gt_eq(&array, scalar),
            };
            bits.map(BooleanArray::into_parts)
                .map(|(bits, _)| bits)
                .map_err(internal)
        }
        // Arrow's kernels order floats totally (-0.0 < 0.0, NaN = NaN); filters promise IEEE comparison.
        Against::Float(value) => match array.data_type() {
            DataType::Float16 => Ok(floats::<t::Float16Type>(array, op, f16::from_f64(*value))),
            DataType::Float32 => Ok(floats::<t::Float32Type>(array, op, *value as f32)),
            DataType::Float64 => Ok(floats::<t::Float64Type>(array, op, *value)),
            _ => Err(other_type(array)),
        },
        Against::List(value) => {
            let wanted = op == Op::Eq;
            lists(array, |row| {
                (row.len() == value.len() && same_items(row, value)) == wanted
            })
        }
    }
}

fn floats<T: ArrowPrimitiveType>(array: &ArrayRef, op: Op, value: T::Native) -> BooleanBuffer
where
    T::Native: PartialOrd,
{
    let values: &[T::Native] = array.as_primitive::<T>().values();
    // One closure per operator, so that each loop is branch-free.
    match op {
        Op::Eq => BooleanBuffer::collect_bool(values.len(), |i| values[i] == value),
        Op::Ne => BooleanBuffer::collect_bool(values.len(), |i| values[i] != value),
        Op::Lt => BooleanBuffer::collect_bool(values.len(), |i| values[i] < value),
        Op::Le => BooleanBuffer::collect_bool(values.len(), |i| values[i] <= value),
        Op::Gt => BooleanBuffer::collect_bool(values.len(), |i| values[i] > value),
        Op::Ge => BooleanBuffer::collect_bool(values.len(), |i| values[i] >= value),
    }
}

/// Looks every row up; bits of null rows mean nothing.
fn contains(array: &ArrayRef, members: &Members) -> Result<BooleanBuffer> {
    use DataType as T;
    macro_rules! primitive {
        ($type:ty, |$v:ident| $test:expr) => {{
            let values = array.as_primitive::<$type>().values();
            BooleanBuffer::collect_bool(values.len(), |i| {
                let $v = values[i];
                $test
            })
        }};
    }
    let bits = match (members, array.data_type()) {
        (Members::None, _) => BooleanBuffer::new_unset(array.len()),
        (Members::Bool { yes, no }, T::Boolean) => {
            let values = array.as_boolean().values();
            BooleanBuffer::collect_bool(values.len(), |i| if values.value(i) { *yes } else { *no })
        }
        (Members::Int(set), T::Int8) => primitive!(t::Int8Type, |v| set.contains(&i64::from(v))),
        (Members::Int(set), T::Int16) => primitive!(t::Int16Type, |v| set.contains(&i64::from(v))),
        (Members::Int(set), T::Int32) => primitive!(t::Int32Type, |v| set.contains(&i64::from(v))),
        (Members::Int(set), T::Int64) => primitive!(t::Int64Type, |v| set.contains(&v)),
        (Members::Int(set), T::Timestamp(..)) => {
            primitive!(t::TimestampMicrosecondType, |v| set.contains(&v))
        }
        (Members::UInt(set), T::UInt8) => primitive!(t::UInt8Type, |v| set.contains(&u64::from(v))),
        (Members::UInt(set), T::UInt16) => primitive!(t::UInt16Type, |v| set.contains(&u64::from(v))),
        (Members::UInt(set), T::UInt32) => primitive!(t::UInt32Type, |v| set.contains(&u64::from(v))),
        (Members::UInt(set), T::UInt64) => primitive!(t::UInt64Type, |v| set.contains(&v)),
        (Members::Float(set), T::Float16) => {
            primitive!(t::Float16Type, |v| set.contains(&float_key(v.to_f64())))
        }
        (Members::Float(set), T::Float32) => {
            primitive!(t::Float32Type, |v| set.contains(&float_key(f64::from(v))))
        }
        (Members::Float(set), T::Float64) => primitive!(t::Float64Type, |v| set.contains(&float_key(v))),
        (Members::Utf8(set), T::Utf8) => {
            let values = array.as_string::<i32>();
            BooleanBuffer::collect_bool(values.len(), |i| set.contains(values.value(i)))
        }
        (Members::Binary(set), T::Binary) => {
            let values = array.as_binary::<i32>();
            BooleanBuffer::collect_bool(values.len(), |i| set.contains::<[u8]>(values.value(i)))
        }
        (Members::List(set), T::List(_)) => {
            return lists(array, |row| {
                row.null_count() == 0
                    && set.contains(&row.iter().flatten().map(str::to_owned).collect::<Vec<_>>())
            });
        }
        _ => return Err(other_type(array)),
    };
    Ok(bits)
}

/// Tests every row of a list column.
fn lists(array: &ArrayRef, test: impl Fn(&StringArray) -> bool) -> Result<BooleanBuffer> {
    let lists = array.as_list_opt::<i32>().ok_or_else(|| other_type(array))?;
    if lists.value_type() != DataType::Utf8 {
        return Err(other_type(array));
    }
    Ok(BooleanBuffer::collect_bool(lists.len(), |i| {
        lists.is_valid(i) && test(lists.value(i).as_string::<i32>())
    }))
}

fn same_items(row: &StringArray, value: &[String]) -> bool {
    row.iter()
        .zip(value)
        .all(|(have, want)| have == Some(want.as_str()))
}

fn other_type(array: &ArrayRef) -> Error {
    let message = format!("a filter met a column of type {}", array.data_type());
    Error::new(ErrorCode::Internal, message)
}

fn internal(error: ArrowError) -> Error {
    Error::new(ErrorCode::Internal, error.to_string())
}
