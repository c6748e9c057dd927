//! How the rows of a dataset are laid out: which columns a replica stores, and where vectors go.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow_schema::{DataType, Field, Schema as ArrowSchema, SchemaRef};
use longbow_index::{Element, Metric, Params, Quantization};
use longbow_query::fill;
use longbow_query::rank::ROW_VERSION_COLUMN;
use longbow_types::{Result, Schema, VectorColumn, VectorElement};

use crate::digest::Cells;

/// The layout of one dataset's rows.
///
/// Stored batches hold the dataset's columns in schema order without the vector that every row has, which lives in the
/// index alone, followed by `_row_version`. Of further vector columns they hold the slots that the values stand in.
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
    further: Vec<FurtherColumn>,
}

/// A vector column that rows need not have a value in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FurtherColumn {
    /// Its position among the stored columns.
    pub(crate) stored: usize,
    /// What it is, with its position among the dataset's columns.
    pub(crate) vector: VectorColumn,
}

/// Which vector column is searched: by default the one that every row has a value in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Searched(pub(crate) Option<usize>);

impl Searched {
    /// The vector column of a name; of none, the one that every row has a value in.
    ///
    /// # Errors
    /// `UNKNOWN_COLUMN` or `TYPE_MISMATCH` naming those that there are.
    pub fn new(layout: &Layout, name: &str) -> Result<Self> {
        let vector = layout.schema.vector_named(name)?;
        Ok(Self(
            layout.further.iter().position(|further| further.vector == vector),
        ))
    }
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
        let mut fields: Vec<_> = sources.iter().map(|&at| stored_field(&schema, at)).collect();
        let further = schema.further_vectors().iter().map(|&vector| FurtherColumn {
            stored: sources
                .iter()
                .position(|&at| at == vector.position)
                .expect("all columns but the one vector are stored"),
            vector,
        });
        let further = further.collect();
        let fills = sources.iter().zip(&fields).map(|(&at, field)| {
            fill::one(schema.default_of(at), field.data_type())
                .expect("a schema's defaults are of the types of their columns, and vectors have none")
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
            further,
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

    /// Bytes of one vector of the column that every row has a value in.
    pub(crate) fn vector_bytes(&self) -> usize {
        vector_bytes(&self.schema.vector())
    }

    /// Vector columns that rows need not have a value in, in the order of the columns.
    pub(crate) fn further(&self) -> &[FurtherColumn] {
        &self.further
    }

    /// Which of them a stored column is, if it is one.
    pub(crate) fn further_at(&self, stored: usize) -> Option<usize> {
        self.further.iter().position(|further| further.stored == stored)
    }

    /// The vector column that is searched.
    pub(crate) fn vector(&self, searched: Searched) -> VectorColumn {
        searched
            .0
            .map_or(self.schema.vector(), |at| self.further[at].vector)
    }
}

/// A column as it is stored: of vectors that rows need not have, the slots that they stand in.
fn stored_field(schema: &Schema, position: usize) -> Arc<Field> {
    let field = &schema.arrow().fields()[position];
    match schema.vector_at(position) {
        Some(_) => Arc::new(Field::new(field.name(), DataType::UInt32, true)),
        None => Arc::clone(field),
    }
}

/// Bytes of one vector.
pub(crate) fn vector_bytes(vector: &VectorColumn) -> usize {
    vector.dimension * vector.element.bytes()
}

/// Parameters of the index of a vector column, but for the graph.
pub(crate) fn params(vector: &VectorColumn) -> Params {
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

/// What its graph is walked on.
pub(crate) fn quantization(vector: &VectorColumn) -> Quantization {
    match vector.quantization {
        longbow_types::Quantization::None => Quantization::None,
        longbow_types::Quantization::Sq8 => Quantization::Sq8,
        longbow_types::Quantization::Sq4 => Quantization::Sq4,
        longbow_types::Quantization::Bit1 => Quantization::Bit1,
    }
}
