//! Which columns does a read return, and how are its rows spelt out?

use std::collections::{BTreeMap, HashMap};

use arrow::{
    array::{AsArray, RecordBatch},
    datatypes::{Float32Type, UInt64Type},
};
use longbow_query::{
    ids::Ids,
    rank::{DISTANCE_COLUMN, ROW_VERSION_COLUMN},
};
use longbow_types::{Error, ErrorCode, Metric, Result, Schema, limits::COLUMNS_MAX};
use longbow_wire::v1;

use super::ids::id_to_proto;
use crate::ingest::vectors;

/// Stands for all columns but the id and the vector.
const EVERYTHING: &str = "*";

/// The columns that a read returns besides the id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Projection {
    /// Names, in the order asked for, without id and vector.
    pub columns: Vec<String>,
    /// Name of the vector column, if it is returned too.
    pub vector: Option<String>,
}

impl Projection {
    /// Checks the columns asked for. `["*"]` stands for all but vectors; the id is always there.
    ///
    /// # Errors
    /// `UNKNOWN_COLUMN`; `TOO_LARGE` for more names than a schema can have.
    pub fn new(schema: &Schema, columns: &[String], include_vector: bool) -> Result<Self> {
        if columns.len() > COLUMNS_MAX {
            let message = format!("{} columns are asked for", columns.len());
            return Err(Error::new(ErrorCode::TooLarge, message)
                .field("columns")
                .limit(COLUMNS_MAX));
        }
        let fields = schema.arrow().fields();
        let positions: HashMap<&str, usize> = fields
            .iter()
            .enumerate()
            .map(|(position, field)| (field.name().as_str(), position))
            .collect();
        let (id, vector_at) = (schema.id_position(), schema.vector().position);
        let mut vector = include_vector;
        let mut taken = vec![false; fields.len()];
        let mut names: Vec<String> = Vec::new();
        let mut add = |position: usize| {
            if position != id && position != vector_at && !std::mem::replace(&mut taken[position], true) {
                names.push(fields[position].name().clone());
            }
        };
        let mut everything = false;
        for column in columns {
            if column == EVERYTHING {
                if !std::mem::replace(&mut everything, true) {
                    let others = (0..fields.len()).filter(|&at| schema.vector_at(at).is_none());
                    others.for_each(&mut add);
                }
                continue;
            }
            let position = match positions.get(column.as_str()) {
                Some(&position) => position,
                None => schema.column(column)?.0,
            };
            vector |= position == vector_at;
            add(position);
        }
        Ok(Self {
            columns: names,
            vector: vector.then(|| schema.vector_name().to_owned()),
        })
    }

    /// The columns of one row.
    ///
    /// # Errors
    /// `MALFORMED_ARROW` if the batch lacks one.
    pub fn columns(&self, batch: &RecordBatch, row: usize) -> Result<BTreeMap<String, v1::Value>> {
        self.columns
            .iter()
            .map(|name| {
                let column = batch.column_by_name(name).ok_or_else(|| lacking(name))?;
                Ok((name.clone(), super::values::value(column.as_ref(), row)?))
            })
            .collect()
    }

    /// The vector of one row in 32 bits, and in 64 if it has as many, if it is returned.
    ///
    /// # Errors
    /// `MALFORMED_ARROW` if the batch lacks it.
    pub fn vector(
        &self,
        batch: &RecordBatch,
        row: usize,
    ) -> Result<(Option<v1::Vector>, Option<v1::Vector64>)> {
        let Some(name) = &self.vector else {
            return Ok((None, None));
        };
        let list = batch
            .column_by_name(name)
            .and_then(|column| column.as_fixed_size_list_opt())
            .ok_or_else(|| lacking(name))?;
        let values = vectors::to_f32(list, row).ok_or_else(|| lacking(name))?;
        let wide = vectors::to_f64(list, row).map(|values| v1::Vector64 { values });
        Ok((Some(v1::Vector { values }), wide))
    }
}

/// A ranked batch spelt out, of distances of a metric.
///
/// # Errors
/// `MALFORMED_ARROW` if a column is missing or of another type.
pub fn hits(
    batch: &RecordBatch,
    schema: &Schema,
    metric: Metric,
    projection: &Projection,
) -> Result<Vec<v1::Hit>> {
    let ids = ids(batch, schema)?;
    let versions = versions(batch)?;
    let distances = batch
        .column_by_name(DISTANCE_COLUMN)
        .and_then(|column| column.as_primitive_opt::<Float32Type>())
        .ok_or_else(|| lacking(DISTANCE_COLUMN))?
        .values();
    (0..batch.num_rows())
        .map(|row| {
            let (vector, vector64) = projection.vector(batch, row)?;
            Ok(v1::Hit {
                id: Some(id_to_proto(&ids.get(row))),
                distance: distances[row],
                score: metric.score(distances[row]),
                columns: projection.columns(batch, row)?,
                vector,
                vector64,
                row_version: versions[row],
            })
        })
        .collect()
}

/// A fetched batch spelt out, row by row.
///
/// # Errors
/// As [`hits`].
pub fn found_rows(
    batch: &RecordBatch,
    schema: &Schema,
    projection: &Projection,
) -> Result<Vec<v1::FoundRow>> {
    let ids = ids(batch, schema)?;
    let versions = versions(batch)?;
    (0..batch.num_rows())
        .map(|row| {
            let (vector, vector64) = projection.vector(batch, row)?;
            Ok(v1::FoundRow {
                id: Some(id_to_proto(&ids.get(row))),
                columns: projection.columns(batch, row)?,
                vector,
                vector64,
                row_version: versions[row],
            })
        })
        .collect()
}

/// The ids of a batch that a shard answered with.
///
/// # Errors
/// `MALFORMED_ARROW`.
pub fn ids<'a>(batch: &'a RecordBatch, schema: &Schema) -> Result<Ids<'a>> {
    let column = batch
        .column_by_name(schema.id_name())
        .ok_or_else(|| lacking(schema.id_name()))?;
    Ids::new(column.as_ref())
        .ok()
        .filter(|ids| ids.kind() == schema.id_kind())
        .ok_or_else(|| lacking(schema.id_name()))
}

fn versions(batch: &RecordBatch) -> Result<&[u64]> {
    batch
        .column_by_name(ROW_VERSION_COLUMN)
        .and_then(|column| column.as_primitive_opt::<UInt64Type>())
        .map(|column| column.values().as_ref())
        .ok_or_else(|| lacking(ROW_VERSION_COLUMN))
}

fn lacking(name: &str) -> Error {
    let message = format!("a shard's answer has no usable column {name:?}");
    Error::new(ErrorCode::MalformedArrow, message).field(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{schema_of, schema_of_all_kinds};
    use arrow::array::{ArrayRef, Float64Array};
    use longbow_types::VectorElement;
    use std::sync::Arc;

    #[test]
    fn columns_are_checked_and_spelt_out() {
        let schema = schema_of(VectorElement::F32, 2, Metric::L2);
        let of = |columns: &[&str], vector: bool| {
            let columns: Vec<String> = columns.iter().map(|&c| c.to_owned()).collect();
            Projection::new(&schema, &columns, vector)
        };
        assert_eq!(
            of(&[], false).unwrap(),
            Projection {
                columns: vec![],
                vector: None
            }
        );
        let all = of(&["*", "text", "id"], true).unwrap();
        assert_eq!(all.columns, ["text"]);
        assert_eq!(all.vector.as_deref(), Some("vector"));
        assert!(of(&["vector"], false).unwrap().vector.is_some());
        let image = arrow_schema::Field::new(
            "image",
            longbow_types::schema::vector_type(VectorElement::F16, 2),
            true,
        );
        let with_images = schema.with_column(image, None).unwrap();
        let named = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
            Projection::new(&with_images, &names, false).unwrap().columns
        };
        assert_eq!(named(&["*"]), ["text"], "all but vectors");
        assert_eq!(named(&["*", "image"]), ["text", "image"]);
        assert_eq!(of(&["color"], false).unwrap_err().code, ErrorCode::UnknownColumn);
        let kinds = Projection::new(&schema_of_all_kinds(), &["*".to_owned()], false).unwrap();
        assert_eq!(kinds.columns.len(), 28);
        let many = vec![EVERYTHING; COLUMNS_MAX];
        assert_eq!(of(&many, false).unwrap().columns, ["text"]);
        let error = of(&[many.as_slice(), &["text"]].concat(), false).unwrap_err();
        assert_eq!(
            (error.code, error.field.as_deref(), error.limit.as_deref()),
            (ErrorCode::TooLarge, Some("columns"), Some("1024"))
        );
    }

    #[test]
    fn vectors_of_64_bits_are_spelt_out_whole() {
        let precise = [1_700_000_038_912.5, 0.1];
        let of = |element| {
            let schema = schema_of(element, 2, Metric::L2);
            let elements: ArrayRef = match element {
                VectorElement::F64 => Arc::new(Float64Array::from(precise.to_vec())),
                _ => vectors::from_f32(precise.map(|x| x as f32).to_vec(), element),
            };
            let column = vectors::wrap(elements, &schema).unwrap();
            let batch = RecordBatch::try_from_iter([("vector", column)]).unwrap();
            Projection::new(&schema, &[], true)
                .unwrap()
                .vector(&batch, 0)
                .unwrap()
        };
        let (rounded, whole) = of(VectorElement::F64);
        assert_eq!(rounded.unwrap().values, precise.map(|x| x as f32));
        assert_eq!(whole.unwrap().values, precise);
        let (kept, none) = of(VectorElement::F32);
        assert_eq!(kept.unwrap().values, precise.map(|x| x as f32));
        assert_eq!(none, None);
    }
}
