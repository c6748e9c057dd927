//! How the rows of a dataset are laid out: which columns a replica stores, and where the vector goes.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow_schema::{DataType, Field, Schema as ArrowSchema, SchemaRef};
use longbow_index::{Element, Metric, Params, Quantization};
use longbow_query::fill;
use longbow_query::rank::ROW_VERSION_COLUMN;
use longbow_types::{Schema, VectorElement};

use crate::digest::Cells;

/// The layout of one dataset's rows.
///
/// Stored batches hold the dataset's columns in schema order without the vector, which lives in the index alone,
/// followed by `_row_version`.
#[derive(Debug)]
pub struct Layout {
    schema: Schema,
    version: u32,
    stored: SchemaRef,
    /// Position in the dataset's schema of each stored column but the last.
    sources: Vec<usize>,
    /// Position of the id among the stored columns.
    id: usize,
    /// Position of the column that tells when each row goes.
    expires: Option<usize>,
    /// Of each stored column but the last, the one value of rows that do not tell it.
    fills: Vec<ArrayRef>,
    /// Of the same columns, how their cells are hashed.
    cells: Vec<Cells>,
}

/// Version of the schema that a dataset is created with.
const VERSION_FIRST: u32 = 1;

impl Layout {
    /// The layout of the schema that a dataset is created with.
    pub fn new(schema: Schema) -> Self {
        Self::at(schema, VERSION_FIRST)
    }

    /// The layout of a version of the schema.
    pub fn at(schema: Schema, version: u32) -> Self {
        let vector = schema.vector().position;
        let sources: Vec<usize> = (0..schema.arrow().fields().len())
            .filter(|&at| at != vector)
            .collect();
        let id = sources
            .iter()
            .position(|&at| at == schema.id_position())
            .expect("a schema has an id column, which is not its vector");
        let expires = schema.expires_position();
        let expires = expires.and_then(|column| sources.iter().position(|&at| at == column));
        let mut fields: Vec<_> = sources
            .iter()
            .map(|&at| Arc::clone(&schema.arrow().fields()[at]))
            .collect();
        let fills = sources.iter().zip(&fields).map(|(&at, field)| {
            fill::one(schema.default_of(at), field.data_type())
                .expect("a schema's defaults are of the types of their columns")
        });
        let fills: Vec<ArrayRef> = fills.collect();
        let cells = fields.iter().zip(&fills);
        let cells = cells
            .map(|(field, fill)| Cells::new(field.name(), fill.as_ref()))
            .collect();
        fields.push(Arc::new(Field::new(ROW_VERSION_COLUMN, DataType::UInt64, false)));
        Self {
            stored: Arc::new(ArrowSchema::new(fields)),
            schema,
            version,
            sources,
            id,
            expires,
            fills,
            cells,
        }
    }

    /// The dataset's schema.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// The version of the schema.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// What rows that do not tell it hold in a stored column other than `_row_version`: an array of length 1.
    pub(crate) fn fill(&self, column: usize) -> &ArrayRef {
        &self.fills[column]
    }

    /// How the cells of a stored column other than `_row_version` are hashed.
    pub(crate) fn cells(&self, column: usize) -> Cells {
        self.cells[column]
    }

    /// The schema of stored batches.
    pub(crate) fn stored(&self) -> &SchemaRef {
        &self.stored
    }

    /// Position in the dataset's schema of each stored column but `_row_version`.
    pub(crate) fn sources(&self) -> &[usize] {
        &self.sources
    }

    /// Position of the id among the stored columns.
    pub(crate) fn id(&self) -> usize {
        self.id
    }

    /// Position among the stored columns of that which tells when each row goes, if one does.
    pub(crate) fn expires(&self) -> Option<usize> {
        self.expires
    }

    /// Position of `_row_version` among the stored columns.
    pub(crate) fn row_version(&self) -> usize {
        self.sources.len()
    }

    /// Bytes of one vector.
    pub(crate) fn vector_bytes(&self) -> usize {
        let vector = self.schema.vector();
        vector.dimension * vector.element.bytes()
    }

    /// Parameters of the vector index, but for the graph.
    pub(crate) fn index_params(&self) -> Params {
        let vector = self.schema.vector();
        let element = match vector.element {
            VectorElement::F16 => Element::F16,
            VectorElement::F32 => Element::F32,
            VectorElement::F64 => Element::F64,
        };
        let metric = match vector.metric {
            longbow_types::Metric::Cosine => Metric::Cosine,
            longbow_types::Metric::L2 => Metric::L2,
            longbow_types::Metric::Dot => Metric::Dot,
        };
        Params::new(element, metric, vector.dimension)
    }

    /// What the graph of the vector index is walked on.
    pub(crate) fn quantization(&self) -> Quantization {
        match self.schema.vector().quantization {
            longbow_types::Quantization::None => Quantization::None,
            longbow_types::Quantization::Sq8 => Quantization::Sq8,
            longbow_types::Quantization::Sq4 => Quantization::Sq4,
            longbow_types::Quantization::Bit1 => Quantization::Bit1,
        }
    }
}
