//! Which columns hold vectors, and how far are two of them apart?
//!
//! One vector column is never null: every row has its slot in the index of that one. Further ones are nullable, may be
//! added later, and are each searched by an index of its own that knows only the rows which have a value there.

use std::{fmt, sync::Arc};

use arrow_schema::{DataType, Field};

use super::Schema;
use crate::{
    Error, ErrorCode, Quantization,
    limits::{DIMENSION_MAX, VECTOR_COLUMNS_MAX},
};

/// Distance between two vectors; smaller is nearer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Metric {
    /// 1 - cosine similarity.
    Cosine,
    /// Squared Euclidean distance.
    L2,
    /// Negative inner product.
    Dot,
}

impl Metric {
    /// Stable text of the metric.
    pub const fn as_str(self) -> &'static str {
        match self {
            Metric::Cosine => "cosine",
            Metric::L2 => "l2",
            Metric::Dot => "dot",
        }
    }

    /// The score shown to users, higher is better: `1/(1+√distance)` for L2, the similarity otherwise.
    pub fn score(self, distance: f32) -> f32 {
        match self {
            Metric::Cosine => 1.0 - distance,
            Metric::L2 => 1.0 / (1.0 + distance.max(0.0).sqrt()),
            Metric::Dot => -distance,
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Element type in which vectors are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VectorElement {
    /// 16-bit float.
    F16,
    /// 32-bit float.
    F32,
    /// 64-bit float.
    F64,
}

impl VectorElement {
    /// Stable text of the type.
    pub const fn as_str(self) -> &'static str {
        match self {
            VectorElement::F16 => "float16",
            VectorElement::F32 => "float32",
            VectorElement::F64 => "float64",
        }
    }

    /// Bytes of one element.
    pub const fn bytes(self) -> usize {
        match self {
            VectorElement::F16 => 2,
            VectorElement::F32 => 4,
            VectorElement::F64 => 8,
        }
    }

    /// The Arrow type of one element.
    pub const fn arrow(self) -> DataType {
        match self {
            VectorElement::F16 => DataType::Float16,
            VectorElement::F32 => DataType::Float32,
            VectorElement::F64 => DataType::Float64,
        }
    }

    pub(super) fn from_arrow(data_type: &DataType) -> Option<Self> {
        match data_type {
            DataType::Float16 => Some(VectorElement::F16),
            DataType::Float32 => Some(VectorElement::F32),
            DataType::Float64 => Some(VectorElement::F64),
            _ => None,
        }
    }
}

/// A vector column of a dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VectorColumn {
    /// Position among the columns.
    pub position: usize,
    /// Element type.
    pub element: VectorElement,
    /// Number of elements.
    pub dimension: usize,
    /// Distance.
    pub metric: Metric,
    /// What the search graph is walked on.
    pub quantization: Quantization,
}

/// The Arrow type of a vector column.
pub fn vector_type(element: VectorElement, dimension: usize) -> DataType {
    let item = Arc::new(Field::new("item", element.arrow(), false));
    DataType::FixedSizeList(
        item,
        i32::try_from(dimension).expect("dimensions are checked to be small"),
    )
}

/// The vector columns among some columns, the one that is never null first, then the others in their order.
pub(super) fn pick(columns: &[Field], metric: Metric) -> Result<Vec<VectorColumn>, Error> {
    let mut picked = Vec::new();
    for (position, field) in columns.iter().enumerate() {
        if let DataType::FixedSizeList(item, dimension) = field.data_type() {
            picked.push(one(position, field, item, *dimension, metric)?);
        }
    }
    if picked.len() > VECTOR_COLUMNS_MAX {
        let message = format!("{} vector columns", picked.len());
        let last = columns[picked[VECTOR_COLUMNS_MAX].position].name();
        return Err(Error::new(ErrorCode::InvalidSchema, message)
            .field(last.clone())
            .limit(VECTOR_COLUMNS_MAX));
    }
    let Some(first) = picked.first() else {
        let message = "there is no vector column";
        return Err(Error::new(ErrorCode::InvalidSchema, message).field("columns"));
    };
    let wrong = |vector: &VectorColumn, message: &'static str| {
        let name = columns[vector.position].name().clone();
        Err(Error::new(ErrorCode::InvalidSchema, message).field(name))
    };
    let mut required = (0..picked.len()).filter(|&at| !columns[picked[at].position].is_nullable());
    match (required.next(), required.next()) {
        (None, _) => wrong(first, "the id and the vector cannot be nullable"),
        (_, Some(second)) => wrong(
            &picked[second],
            "a dataset has exactly one vector column that is never null: further ones are nullable",
        ),
        (Some(primary), None) => {
            picked[..=primary].rotate_right(1);
            Ok(picked)
        }
    }
}

fn one(
    position: usize,
    field: &Field,
    item: &Field,
    dimension: i32,
    metric: Metric,
) -> Result<VectorColumn, Error> {
    let refuse = |message: String| Error::new(ErrorCode::InvalidSchema, message).field(field.name().clone());
    let Some(element) = VectorElement::from_arrow(item.data_type()) else {
        return Err(refuse(format!(
            "vectors of {} are not supported",
            item.data_type()
        )));
    };
    let dimension = usize::try_from(dimension).unwrap_or(0);
    if !(1..=DIMENSION_MAX).contains(&dimension) {
        let error = refuse(format!("a vector of {dimension} elements"));
        return Err(error.limit(format_args!("1 to {DIMENSION_MAX}")));
    }
    Ok(VectorColumn {
        position,
        element,
        dimension,
        metric,
        quantization: Quantization::default(),
    })
}

impl Schema {
    /// The same schema with another choice of codes than the default for the vector column that is never null.
    #[must_use]
    pub fn with_quantization(mut self, quantization: Quantization) -> Self {
        self.vectors[0].quantization = quantization;
        self
    }

    /// The same schema, in which a vector column is searched so.
    ///
    /// # Errors
    /// `UNKNOWN_COLUMN`; `TYPE_MISMATCH` for a column that holds no vectors.
    pub fn with_vector(
        mut self,
        column: &str,
        metric: Metric,
        quantization: Quantization,
    ) -> Result<Self, Error> {
        let position = self.vector_named(column)?.position;
        let vector = self.vectors.iter_mut().find(|vector| vector.position == position);
        let vector = vector.expect("the column was found among these");
        (vector.metric, vector.quantization) = (metric, quantization);
        Ok(self)
    }

    /// The vector column that is never null.
    pub fn vector(&self) -> VectorColumn {
        self.vectors[0]
    }

    /// All vector columns: the one that is never null, then further ones in the order of the columns.
    pub fn vectors(&self) -> &[VectorColumn] {
        &self.vectors
    }

    /// Vector columns that rows need not have a value in.
    pub fn further_vectors(&self) -> &[VectorColumn] {
        &self.vectors[1..]
    }

    /// The vector column at a position, if one is there.
    pub fn vector_at(&self, position: usize) -> Option<VectorColumn> {
        self.vectors
            .iter()
            .find(|vector| vector.position == position)
            .copied()
    }

    /// The vector column of a name; of none, the one that is never null.
    ///
    /// # Errors
    /// `UNKNOWN_COLUMN`; `TYPE_MISMATCH` for a column that holds no vectors. Both tell those that do.
    pub fn vector_named(&self, name: &str) -> Result<VectorColumn, Error> {
        if name.is_empty() {
            return Ok(self.vector());
        }
        let known = || {
            let names = self.vectors.iter().map(|vector| self.name_at(vector.position));
            format!("one of {}", names.collect::<Vec<_>>().join(", "))
        };
        let (position, field) = self.column(name).map_err(|error| error.limit(known()))?;
        self.vector_at(position).ok_or_else(|| {
            let message = format!("the column {name:?} of {} holds no vectors", field.data_type());
            Error::new(ErrorCode::TypeMismatch, message)
                .field(name.to_owned())
                .limit(known())
        })
    }

    /// Name of the vector column that is never null.
    pub fn vector_name(&self) -> &str {
        self.name_at(self.vector().position)
    }

    /// Name of the column at a position that there is.
    pub fn name_at(&self, position: usize) -> &str {
        self.arrow.field(position).name()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(further: &[(&str, bool)]) -> Result<Schema, Error> {
        let vector = |name: &str, nullable| Field::new(name, vector_type(VectorElement::F32, 3), nullable);
        let mut fields = vec![Field::new("id", DataType::UInt64, false)];
        fields.extend(further.iter().map(|(name, nullable)| vector(name, *nullable)));
        Schema::new(fields, "id", Metric::L2)
    }

    #[test]
    fn the_one_that_is_never_null_comes_first() {
        let schema = with(&[("a", true), ("b", true), ("c", false), ("d", true)]).unwrap();
        let names: Vec<&str> = schema
            .vectors()
            .iter()
            .map(|v| schema.name_at(v.position))
            .collect();
        assert_eq!(names, ["c", "a", "b", "d"]);
        assert_eq!(schema.vector_name(), "c");
        assert_eq!(schema.further_vectors().len(), 3);
        assert_eq!(schema.vector_at(1), Some(schema.vectors()[1]));
        assert_eq!(schema.vector_at(0), None);
        assert_eq!(schema.vector_named("").unwrap(), schema.vector());
        assert_eq!(schema.vector_named("d").unwrap().position, 4);
    }

    #[test]
    fn each_is_searched_in_its_own_way() {
        let schema = with(&[("v", false), ("w", true)]).unwrap();
        let schema = schema.with_vector("w", Metric::Dot, Quantization::Bit1).unwrap();
        let ways: Vec<_> = schema
            .vectors()
            .iter()
            .map(|v| (v.metric, v.quantization))
            .collect();
        let expected = [
            (Metric::L2, Quantization::default()),
            (Metric::Dot, Quantization::Bit1),
        ];
        assert_eq!(ways, expected);
        for (name, code) in [("id", ErrorCode::TypeMismatch), ("x", ErrorCode::UnknownColumn)] {
            let error = schema.clone().with_vector(name, Metric::Dot, Quantization::Bit1);
            let error = error.unwrap_err();
            assert_eq!((error.code, error.field.as_deref()), (code, Some(name)));
            assert_eq!(error.limit.as_deref(), Some("one of v, w"));
        }
    }

    #[test]
    fn there_is_one_that_every_row_has_and_not_too_many_others() {
        let named = |further: &[(&str, bool)]| with(further).unwrap_err().field.unwrap().into_owned();
        assert_eq!(named(&[]), "columns");
        assert_eq!(named(&[("v", true), ("w", true)]), "v");
        assert_eq!(named(&[("v", false), ("w", true), ("x", false)]), "x");
        let names: Vec<String> = (0..=VECTOR_COLUMNS_MAX).map(|at| format!("v{at}")).collect();
        let mut many: Vec<(&str, bool)> = names.iter().map(|name| (name.as_str(), true)).collect();
        many[3].1 = false;
        let error = with(&many).unwrap_err();
        assert_eq!(error.field.as_deref(), many.last().map(|(name, _)| *name));
        assert_eq!(error.limit.as_deref(), Some("8"));
        many.pop();
        assert_eq!(with(&many).unwrap().vectors().len(), VECTOR_COLUMNS_MAX);
    }

    #[test]
    fn no_vector_column_has_a_default() {
        let schema = with(&[("v", false), ("w", true)]).unwrap();
        for name in ["v", "w"] {
            let error = schema.clone().with_default(name, crate::DefaultValue::Int(1));
            assert_eq!(error.unwrap_err().field.as_deref(), Some(name));
        }
    }
}
