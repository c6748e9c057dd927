//! Answers of searches as existing clients read them.
//!
//! Contract: `id: uint64, score: float32` first, best row first; in datasets whose ids may be no such number, all ids also
//! as text in `id_str`; then the row's other columns; `vector` if asked for. A higher score is better; it is never NaN or infinite.

use std::{collections::HashSet, sync::Arc};

use arrow::{
    array::{ArrayRef, AsArray, Float32Array, RecordBatch, StringArray, UInt64Array, new_empty_array},
    datatypes::Float32Type,
};
use arrow_schema::{Field, Schema as ArrowSchema};
use longbow_query::rank::DISTANCE_COLUMN;
use longbow_types::{Error, ErrorCode, IdKind, Result, RowId};

use super::explain;
use crate::{ops::Found, rows::read};

const ID: &str = "id";
const SCORE: &str = "score";
const ID_TEXT: &str = "id_str";
/// Key in the schema's metadata: there, and `true`, where the newest state could not be proved.
const DEGRADED: &str = "longbow.degraded";
/// Key in the schema's metadata: there, and JSON, where the client asked how the search was carried out.
const EXPLANATION: &str = "longbow.explanation";

/// What a search found, as a batch.
///
/// # Errors
/// `MALFORMED_ARROW` if a shard's answer lacks what it should hold.
pub fn batch(found: &Found) -> Result<RecordBatch> {
    let ids = ids(found)?;
    let mut columns = vec![
        (
            Field::new(ID, arrow_schema::DataType::UInt64, true),
            numbers(&ids),
        ),
        (
            Field::new(SCORE, arrow_schema::DataType::Float32, false),
            Arc::new(Float32Array::from(scores(found)?)) as ArrayRef,
        ),
    ];
    // Whether it is there depends on the dataset alone, so that all answers of one dataset are of one schema.
    if found.open.schema.id_kind() != IdKind::U64 {
        let texts = StringArray::from_iter_values(ids.iter().map(RowId::to_string));
        columns.push((
            Field::new(ID_TEXT, arrow_schema::DataType::Utf8, false),
            Arc::new(texts),
        ));
    }
    let mut taken: HashSet<String> = columns.iter().map(|(field, _)| field.name().clone()).collect();
    let schema = found.open.schema.arrow();
    for name in found.projection.columns.iter().chain(&found.projection.vector) {
        let field = schema
            .field_with_name(name)
            .map_err(|error| Error::new(ErrorCode::Internal, error.to_string()))?;
        let column = match &found.batch {
            Some(batch) => batch.column_by_name(name).cloned().ok_or_else(|| lacking(name))?,
            None => new_empty_array(field.data_type()),
        };
        // A column of the dataset may be called `score`; two of one name would hide one another.
        let mut shown = name.clone();
        while !taken.insert(shown.clone()) {
            shown.push('_');
        }
        columns.push((field.clone().with_name(shown), column));
    }
    let (fields, columns): (Vec<Field>, Vec<ArrayRef>) = columns.into_iter().unzip();
    let mut schema = ArrowSchema::new(fields);
    if found.freshness.degraded {
        // Beside the header of the call, which speaks of the first of its answers.
        schema.metadata.insert(DEGRADED.to_owned(), "true".to_owned());
    }
    if let Some(explanation) = &found.explanation {
        let told = explain::json(explanation).to_string();
        schema.metadata.insert(EXPLANATION.to_owned(), told);
    }
    RecordBatch::try_new(Arc::new(schema), columns)
        .map_err(|error| Error::new(ErrorCode::MalformedArrow, error.to_string()))
}

/// The ids found, best first.
///
/// # Errors
/// As [`batch`].
pub fn ids(found: &Found) -> Result<Vec<RowId>> {
    let Some(batch) = &found.batch else {
        return Ok(Vec::new());
    };
    let ids = read::ids(batch, &found.open.schema)?;
    Ok((0..ids.len()).map(|row| ids.get(row)).collect())
}

/// The scores of the rows found.
///
/// # Errors
/// As [`batch`].
pub fn scores(found: &Found) -> Result<Vec<f32>> {
    let Some(batch) = &found.batch else {
        return Ok(Vec::new());
    };
    let distances = batch
        .column_by_name(DISTANCE_COLUMN)
        .ok_or_else(|| lacking(DISTANCE_COLUMN))?;
    let distances = distances
        .as_primitive_opt::<Float32Type>()
        .ok_or_else(|| lacking(DISTANCE_COLUMN))?;
    let metric = found.metric;
    let score = |distance: &f32| {
        let score = metric.score(*distance);
        if score.is_nan() {
            f32::MIN
        } else {
            score.clamp(f32::MIN, f32::MAX)
        }
    };
    Ok(distances.values().iter().map(score).collect())
}

fn numbers(ids: &[RowId]) -> ArrayRef {
    let number = |id: &RowId| match id {
        RowId::U64(id) => Some(*id),
        RowId::I64(id) => u64::try_from(*id).ok(),
        RowId::Utf8(id) => id.parse().ok(),
    };
    Arc::new(ids.iter().map(number).collect::<UInt64Array>())
}

fn lacking(name: &str) -> Error {
    let message = format!("a shard's answer has no usable column {name:?}");
    Error::new(ErrorCode::MalformedArrow, message).field(name.to_owned())
}
