//! Is this column of vectors one that the dataset can search?
//!
//! A vector must have the dataset's dimension, hold no null, NaN or infinity, and be of a length whose square, and the
//! square of the distance between any two, is a number in 32 bits; under cosine it must not be zero. All of that is
//! checked on the elements as they will be kept: a value that overflows the element type, or vanishes in it, counts
//! as what it becomes. In a column that rows need not have a value in, a vector may be null as a whole.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanArray, FixedSizeListArray, Float16Array, Float32Array, Float64Array,
        GenericListArray, OffsetSizeTrait, PrimitiveArray, new_empty_array,
    },
    buffer::NullBuffer,
    compute::{cast, filter},
    datatypes::{ArrowPrimitiveType, Float16Type, Float32Type, Float64Type},
};
use arrow_schema::DataType;
use half::f16;
use longbow_types::{Error, ErrorCode, Metric, Result, Schema, VectorColumn, VectorElement};

use super::scalars::cast_exactly;

/// Largest squared length of a vector: four times it, the largest squared distance, is finite in 32 bits.
pub const SQUARED_LENGTH_MAX: f64 = (f32::MAX / 4.0) as f64;
/// Smallest squared length under cosine: below it the length is lost in rounding.
pub const SQUARED_LENGTH_MIN: f64 = 1e-30;

/// An element of a vector.
pub trait Element: Copy {
    /// It at 64 bits.
    fn wide(self) -> f64;
}

impl Element for f16 {
    fn wide(self) -> f64 {
        f64::from(self.to_f32())
    }
}

impl Element for f32 {
    fn wide(self) -> f64 {
        f64::from(self)
    }
}

impl Element for f64 {
    fn wide(self) -> f64 {
        self
    }
}

/// Turns a column of vectors into the dataset's own type, having checked every vector that is there.
///
/// `first_row` is the row of the call that the first vector belongs to; errors name `rows[i].<column>`.
///
/// # Errors
/// `DIMENSION_MISMATCH`, `NULL_NOT_ALLOWED`, `INVALID_VECTOR` or `TYPE_MISMATCH`.
pub fn adapt(
    source: &ArrayRef,
    schema: &Schema,
    vector: &VectorColumn,
    first_row: usize,
) -> Result<ArrayRef> {
    let name = schema.name_at(vector.position);
    let nulls = source.logical_nulls().filter(|nulls| nulls.null_count() > 0);
    let Some(nulls) = nulls else {
        let at = |row: usize| format!("rows[{}].{name}", first_row + row);
        let elements = checked(source, vector, name, &at)?;
        return wrap_as(elements, schema, vector, None);
    };
    if !schema.arrow().field(vector.position).is_nullable() {
        let row = nulls.iter().position(|valid| !valid).unwrap_or(0);
        let at = format!("rows[{}].{name}", first_row + row);
        return Err(Error::new(ErrorCode::NullNotAllowed, "the vector is null").field(at));
    }
    // What stands where a null is was never meant, so that it is not looked at, and nothing takes its place.
    let rows: Vec<usize> = nulls.valid_indices().collect();
    let told = filter(source, &BooleanArray::new(nulls.inner().clone(), None))
        .map_err(|error| Error::new(ErrorCode::TypeMismatch, error.to_string()).field(name.to_owned()))?;
    let at = |row: usize| format!("rows[{}].{name}", first_row + rows.get(row).copied().unwrap_or(0));
    let elements = if rows.is_empty() {
        new_empty_array(&vector.element.arrow())
    } else {
        checked(&told, vector, name, &at)?
    };
    wrap_as(spread(&elements, vector, &nulls), schema, vector, Some(nulls))
}

/// The elements of vectors none of which is null, in the column's type.
fn checked(
    source: &ArrayRef,
    vector: &VectorColumn,
    name: &str,
    at: &dyn Fn(usize) -> String,
) -> Result<ArrayRef> {
    let elements = elements(source, vector.dimension, at, name)?;
    if elements.null_count() > 0 {
        let row = first_null(elements.as_ref()).unwrap_or(0) / vector.dimension;
        return Err(Error::new(ErrorCode::NullNotAllowed, "the vector holds a null").field(at(row)));
    }
    let elements = to_element(&elements, vector.element).map_err(|error| error.field(name.to_owned()))?;
    check_all(&elements, vector, at)?;
    Ok(elements)
}

/// Elements of the rows that have them, with zeros between them for rows that have not.
fn spread(elements: &ArrayRef, vector: &VectorColumn, nulls: &NullBuffer) -> ArrayRef {
    fn of<T: ArrowPrimitiveType>(elements: &ArrayRef, dimension: usize, nulls: &NullBuffer) -> ArrayRef {
        let mut told = elements.as_primitive::<T>().values().chunks_exact(dimension);
        let mut all = Vec::with_capacity(nulls.len() * dimension);
        for valid in nulls {
            match told.by_ref().take(usize::from(valid)).next() {
                Some(values) => all.extend_from_slice(values),
                None => all.resize(all.len() + dimension, T::Native::default()),
            }
        }
        Arc::new(PrimitiveArray::<T>::new(all.into(), None))
    }
    match vector.element {
        VectorElement::F16 => of::<Float16Type>(elements, vector.dimension, nulls),
        VectorElement::F32 => of::<Float32Type>(elements, vector.dimension, nulls),
        VectorElement::F64 => of::<Float64Type>(elements, vector.dimension, nulls),
    }
}

/// Puts elements, row after row, into an array of the type of the vector that every row has.
///
/// # Errors
/// `INTERNAL` if they are not whole vectors of the element type.
pub fn wrap(elements: ArrayRef, schema: &Schema) -> Result<ArrayRef> {
    wrap_as(elements, schema, &schema.vector(), None)
}

/// The same of a vector column, some rows of which may be null.
///
/// # Errors
/// `INTERNAL` if they are not whole vectors of the element type.
pub fn wrap_as(
    elements: ArrayRef,
    schema: &Schema,
    vector: &VectorColumn,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef> {
    let DataType::FixedSizeList(item, size) = schema.arrow().field(vector.position).data_type() else {
        return Err(Error::new(
            ErrorCode::Internal,
            "the vector column is of no vector type",
        ));
    };
    let rows = elements.len() / vector.dimension;
    let list = FixedSizeListArray::try_new_with_length(item.clone(), *size, elements, nulls, rows);
    list.map(|list| Arc::new(list) as ArrayRef)
        .map_err(|error| Error::new(ErrorCode::Internal, error.to_string()))
}

/// Checks a query vector and gives it the sign-off that stored ones got.
///
/// # Errors
/// `DIMENSION_MISMATCH` or `INVALID_VECTOR`, naming `field`.
pub fn check_query<T: Element>(values: &[T], vector: &VectorColumn, field: &str) -> Result<()> {
    if values.len() != vector.dimension {
        return Err(dimension(values.len(), vector.dimension).field(field.to_owned()));
    }
    check_one(values, vector.metric).map_err(|error| error.field(field.to_owned()))
}

/// Checks the elements of one vector.
///
/// # Errors
/// `INVALID_VECTOR` without a field.
fn check_one<T: Element>(values: &[T], metric: Metric) -> Result<()> {
    let squared = squared_length(values);
    if squared <= SQUARED_LENGTH_MAX && (metric != Metric::Cosine || squared >= SQUARED_LENGTH_MIN) {
        return Ok(());
    }
    if let Some(position) = values.iter().position(|value| !value.wide().is_finite()) {
        let message = format!("element {position} is not a finite number");
        return Err(Error::new(ErrorCode::InvalidVector, message).limit("finite elements"));
    }
    if squared < SQUARED_LENGTH_MIN {
        let message = "a zero vector has no direction, which the cosine metric needs";
        return Err(Error::new(ErrorCode::InvalidVector, message)
            .limit(format_args!("squared length at least {SQUARED_LENGTH_MIN:e}")));
    }
    Err(Error::new(ErrorCode::InvalidVector, "the vector is too long")
        .limit(format_args!("squared length at most {SQUARED_LENGTH_MAX:e}")))
}

/// The squared length; not finite if an element is not. Eight sums run side by side, which compilers turn into SIMD.
fn squared_length<T: Element>(values: &[T]) -> f64 {
    let mut sums = [0.0f64; 8];
    let (chunks, rest) = values.as_chunks::<8>();
    for chunk in chunks {
        for (sum, value) in sums.iter_mut().zip(chunk) {
            let value = value.wide();
            *sum += value * value;
        }
    }
    let rest: f64 = rest.iter().map(|value| value.wide() * value.wide()).sum();
    let total = sums.iter().sum::<f64>() + rest;
    if total.is_nan() { f64::INFINITY } else { total }
}

fn check_all(elements: &ArrayRef, vector: &VectorColumn, at: &dyn Fn(usize) -> String) -> Result<()> {
    fn each<T: Element>(values: &[T], vector: &VectorColumn, at: &dyn Fn(usize) -> String) -> Result<()> {
        for (row, values) in values.chunks_exact(vector.dimension).enumerate() {
            check_one(values, vector.metric).map_err(|error| error.field(at(row)))?;
        }
        Ok(())
    }
    match vector.element {
        VectorElement::F16 => each(elements.as_primitive::<Float16Type>().values(), vector, at),
        VectorElement::F32 => each(elements.as_primitive::<Float32Type>().values(), vector, at),
        VectorElement::F64 => each(elements.as_primitive::<Float64Type>().values(), vector, at),
    }
}

/// Elements of all vectors, one after the other.
fn elements(
    source: &ArrayRef,
    expected: usize,
    at: &dyn Fn(usize) -> String,
    column: &str,
) -> Result<ArrayRef> {
    match source.data_type() {
        DataType::FixedSizeList(_, size) => {
            let size = usize::try_from(*size).unwrap_or(0);
            if size != expected {
                return Err(dimension(size, expected).field(at(0)));
            }
            let list = source.as_fixed_size_list();
            // The values of a sliced list start where the slice does.
            Ok(list.values().slice(list.value_offset_at(0), list.len() * size))
        }
        DataType::List(_) => list_elements(source.as_list::<i32>(), expected, at),
        DataType::LargeList(_) => list_elements(source.as_list::<i64>(), expected, at),
        other => {
            let message = format!("vectors cannot be read from a column of type {other}");
            Err(Error::new(ErrorCode::TypeMismatch, message)
                .field(column.to_owned())
                .limit("a list of numbers"))
        }
    }
}

fn list_elements<O: OffsetSizeTrait>(
    list: &GenericListArray<O>,
    expected: usize,
    at: &dyn Fn(usize) -> String,
) -> Result<ArrayRef> {
    for row in 0..list.len() {
        let length = list.value_length(row).as_usize();
        if length != expected {
            return Err(dimension(length, expected).field(at(row)));
        }
    }
    let start = list.value_offsets().first().map_or(0, |offset| offset.as_usize());
    Ok(list.values().slice(start, list.len() * expected))
}

/// Numbers as elements. Floats are rounded to the element's width; integers must be exact in it.
fn to_element(elements: &ArrayRef, element: VectorElement) -> Result<ArrayRef> {
    let target = element.arrow();
    if *elements.data_type() == target {
        return Ok(elements.clone());
    }
    if elements.data_type().is_floating() {
        return cast(elements, &target)
            .map_err(|error| Error::new(ErrorCode::TypeMismatch, error.to_string()));
    }
    if !elements.data_type().is_integer() {
        let message = format!("vectors of {} are not supported", elements.data_type());
        return Err(Error::new(ErrorCode::TypeMismatch, message).limit(element.as_str()));
    }
    cast_exactly(elements, &target).map_err(|position| {
        let message = format!("element {position} cannot be a {} exactly", element.as_str());
        Error::new(ErrorCode::TypeMismatch, message).limit(element.as_str())
    })
}

/// Row of the first null.
fn first_null(array: &dyn Array) -> Option<usize> {
    let nulls = array.logical_nulls()?;
    (nulls.null_count() > 0).then(|| nulls.iter().position(|valid| !valid))?
}

fn dimension(found: usize, expected: usize) -> Error {
    Error::new(
        ErrorCode::DimensionMismatch,
        format!("a vector of {found} elements"),
    )
    .limit(expected)
}

/// Elements in 32 bits, as the element type of a dataset would keep them.
pub fn from_f32(values: Vec<f32>, element: VectorElement) -> ArrayRef {
    match element {
        VectorElement::F16 => Arc::new(Float16Array::from_iter_values(
            values.into_iter().map(f16::from_f32),
        )),
        VectorElement::F32 => Arc::new(Float32Array::from(values)),
        VectorElement::F64 => Arc::new(Float64Array::from_iter_values(values.into_iter().map(f64::from))),
    }
}

/// One vector of a vector column of 64 bits; nothing of narrower ones.
pub fn to_f64(list: &FixedSizeListArray, row: usize) -> Option<Vec<f64>> {
    let values = list.value(row);
    let values = values.as_primitive_opt::<Float64Type>()?;
    Some(values.values().to_vec())
}

/// One vector of a vector column, in 32 bits.
pub fn to_f32(list: &FixedSizeListArray, row: usize) -> Option<Vec<f32>> {
    fn wide<T: ArrowPrimitiveType>(array: &PrimitiveArray<T>) -> Vec<f32>
    where
        T::Native: Element,
    {
        array.values().iter().map(|value| value.wide() as f32).collect()
    }
    let values = list.value(row);
    Some(match values.data_type() {
        DataType::Float16 => wide(values.as_primitive::<Float16Type>()),
        DataType::Float32 => wide(values.as_primitive::<Float32Type>()),
        DataType::Float64 => wide(values.as_primitive::<Float64Type>()),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{schema_of, vectors_of};
    use arrow::array::{Float64Builder, ListBuilder};
    use arrow_schema::Field;
    use longbow_types::{Quantization, schema::vector_type};

    fn column<T: Into<f64> + Copy>(rows: &[Vec<T>]) -> ArrayRef {
        vectors_of(
            &rows
                .iter()
                .map(|row| row.iter().map(|&x| x.into()).collect())
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn doubles_in_lists_become_the_element() {
        for element in [VectorElement::F16, VectorElement::F32, VectorElement::F64] {
            let schema = schema_of(element, 3, Metric::L2);
            let adapted = adapt(
                &column(&[vec![1.0, 2.0, 3.0], vec![4.0, 5.0, 6.0]]),
                &schema,
                &schema.vector(),
                0,
            )
            .unwrap();
            assert_eq!(adapted.data_type(), schema.arrow().field(1).data_type());
            assert_eq!(to_f32(adapted.as_fixed_size_list(), 1).unwrap(), [4.0, 5.0, 6.0]);
        }
    }

    #[test]
    fn slices_are_read_where_they_start() {
        let schema = schema_of(VectorElement::F32, 2, Metric::L2);
        let lists = column(&[vec![1.0, 1.0], vec![2.0, 2.0], vec![3.0, 3.0]]);
        let fixed = adapt(&lists, &schema, &schema.vector(), 0).unwrap();
        for source in [lists, fixed] {
            let adapted = adapt(&source.slice(1, 2), &schema, &schema.vector(), 0).unwrap();
            assert_eq!(adapted.len(), 2);
            assert_eq!(to_f32(adapted.as_fixed_size_list(), 0).unwrap(), [2.0, 2.0]);
        }
    }

    #[test]
    fn what_cannot_be_searched_is_refused_by_row() {
        use VectorElement::{F16, F32, F64};
        let fine = vec![1.0, 2.0];
        let cases = [
            (F32, Metric::L2, vec![1.0, 2.0, 3.0], ErrorCode::DimensionMismatch),
            (F32, Metric::L2, vec![1.0, f64::NAN], ErrorCode::InvalidVector),
            (
                F64,
                Metric::L2,
                vec![f64::INFINITY, 0.0],
                ErrorCode::InvalidVector,
            ),
            // Fits a double, not the element.
            (F16, Metric::L2, vec![70_000.0, 0.0], ErrorCode::InvalidVector),
            (F32, Metric::Dot, vec![1e39, 0.0], ErrorCode::InvalidVector),
            // Its square does not fit.
            (F32, Metric::L2, vec![1e19, 1e19], ErrorCode::InvalidVector),
            (F64, Metric::L2, vec![1e200, 0.0], ErrorCode::InvalidVector),
            (F32, Metric::Cosine, vec![0.0, -0.0], ErrorCode::InvalidVector),
            // Vanishes in the element.
            (F16, Metric::Cosine, vec![1e-9, 0.0], ErrorCode::InvalidVector),
        ];
        for (element, metric, bad, code) in cases {
            let schema = schema_of(element, 2, metric);
            let error = adapt(
                &column(&[fine.clone(), bad.clone()]),
                &schema,
                &schema.vector(),
                40,
            )
            .unwrap_err();
            assert_eq!(error.code, code, "{bad:?}: {error}");
            assert_eq!(error.field.as_deref(), Some("rows[41].vector"), "{bad:?}");
            assert!(error.limit.is_some(), "{bad:?}");
        }
        // Zero is a place like any other where the metric asks for no direction.
        let schema = schema_of(F32, 2, Metric::L2);
        adapt(&column(&[vec![0.0, 0.0]]), &schema, &schema.vector(), 0).unwrap();
    }

    #[test]
    fn the_fault_is_found_wherever_it_stands() {
        let schema = schema_of(VectorElement::F32, 19, Metric::L2);
        for position in 0..19 {
            let mut vector = vec![0.5; 19];
            vector[position] = f64::NEG_INFINITY;
            let error = adapt(&column(&[vector]), &schema, &schema.vector(), 0).unwrap_err();
            assert!(error.message.contains(&format!("element {position} ")), "{error}");
        }
    }

    fn with_images() -> Schema {
        let image = Field::new("image", vector_type(VectorElement::F16, 2), true);
        schema_of(VectorElement::F32, 2, Metric::L2)
            .with_column(image, None)
            .and_then(|schema| schema.with_vector("image", Metric::Cosine, Quantization::None))
            .unwrap()
    }

    #[test]
    fn a_vector_that_rows_need_not_have_may_be_null() {
        let schema = with_images();
        let image = schema.vector_named("image").unwrap();
        let mut lists = ListBuilder::new(Float64Builder::new());
        lists.append_value([Some(1.0), Some(2.0)]);
        lists.append_null();
        lists.append_value([Some(3.0), Some(4.0)]);
        lists.append_null();
        let source: ArrayRef = Arc::new(lists.finish());
        let adapted = adapt(&source, &schema, &image, 0).unwrap();
        let lists = adapted.as_fixed_size_list();
        let valid: Vec<bool> = (0..4).map(|row| lists.is_valid(row)).collect();
        assert_eq!(valid, [true, false, true, false]);
        assert_eq!(to_f32(lists, 2).unwrap(), [3.0, 4.0]);
        assert_eq!(lists.values().null_count(), 0);
        let nothing = adapt(&source.slice(1, 1), &schema, &image, 0).unwrap();
        assert_eq!((nothing.len(), nothing.null_count()), (1, 1));
        let error = adapt(&source, &schema, &schema.vector(), 10).unwrap_err();
        assert_eq!(error.code, ErrorCode::NullNotAllowed);
        assert_eq!(error.field.as_deref(), Some("rows[11].vector"));
    }

    #[test]
    fn faults_beside_nulls_are_named_by_their_rows() {
        let schema = with_images();
        let image = schema.vector_named("image").unwrap();
        let source = |last: &[Option<f64>]| -> ArrayRef {
            let mut lists = ListBuilder::new(Float64Builder::new());
            lists.append_null();
            lists.append_value([Some(1.0), Some(2.0)]);
            lists.append_null();
            lists.append_value(last.iter().copied());
            Arc::new(lists.finish())
        };
        for (bad, code) in [
            (&[Some(1.0)][..], ErrorCode::DimensionMismatch),
            (&[Some(f64::NAN), Some(1.0)], ErrorCode::InvalidVector),
            (&[Some(0.0), Some(0.0)], ErrorCode::InvalidVector),
            (&[Some(0.0), None], ErrorCode::NullNotAllowed),
        ] {
            let error = adapt(&source(bad), &schema, &image, 40).unwrap_err();
            assert_eq!(error.code, code, "{bad:?}: {error}");
            assert_eq!(error.field.as_deref(), Some("rows[43].image"), "{bad:?}");
        }
    }
}
