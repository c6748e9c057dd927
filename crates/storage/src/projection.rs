//! Which columns does an answer hold?

use longbow_types::Result;

use crate::Layout;

/// All columns but vectors.
const ALL: &str = "*";

/// Columns of an answer, checked against a layout. The id is always there and is not repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Projection {
    /// Positions among the stored columns.
    pub(crate) columns: Vec<usize>,
    /// Whether the vector follows.
    pub(crate) vector: bool,
}

impl Projection {
    /// Resolves names, in their order; a name that comes twice counts once, and `*` stands for every column but vectors.
    /// The vector that every row has, asked for by name or by `include_vector`, comes last.
    ///
    /// # Errors
    /// `UNKNOWN_COLUMN` naming the column.
    pub fn new(layout: &Layout, names: &[String], include_vector: bool) -> Result<Self> {
        let schema = layout.schema();
        let mut projection = Self {
            columns: Vec::new(),
            vector: include_vector,
        };
        for name in names {
            if name == ALL {
                (0..layout.sources().len())
                    .filter(|&column| layout.further_at(column).is_none())
                    .for_each(|column| projection.add(layout, column));
                continue;
            }
            let (position, _) = schema.column(name)?;
            match layout.sources().iter().position(|&source| source == position) {
                Some(column) => projection.add(layout, column),
                None => projection.vector = true,
            }
        }
        Ok(projection)
    }

    fn add(&mut self, layout: &Layout, column: usize) {
        if column != layout.id() && !self.columns.contains(&column) {
            self.columns.push(column);
        }
    }
}
