//! The sample that is built into this binary: 5,000 WordNet synsets with their embeddings.

use anyhow::Context;
use arrow::{
    array::{Array, AsArray},
    datatypes::{Float16Type, UInt64Type},
    record_batch::RecordBatch,
};
use bytes::Bytes;
use longbow_client::{Quantization, Schema, Value};

use crate::import::{fit, parquet};

/// The file; its licence is `data/wordnet/LICENSE`.
static SAMPLE: &[u8] = include_bytes!("../../../data/wordnet/sample.parquet");

/// Rows in one message.
const BATCH_ROWS: usize = 500;

/// The id of the synset *dog*.
pub const DOG: u64 = 10_734;

/// The sample, decoded.
pub struct Sample {
    /// Schema of the dataset that holds it.
    pub schema: Schema,
    /// The rows, with the columns of the schema.
    pub batches: Vec<RecordBatch>,
    /// Ids, in order.
    pub ids: Vec<u64>,
    /// Synset of each row.
    pub synsets: Vec<Value>,
    /// Vectors, one after the other.
    pub vectors: Vec<f32>,
    /// Elements of one vector.
    pub dimension: usize,
}

impl Sample {
    /// Decodes the sample.
    pub fn load() -> anyhow::Result<Self> {
        let source = parquet::read(Bytes::from_static(SAMPLE), &[], BATCH_ROWS, "vector")
            .context("the sample in this binary")?;
        let wishes = fit::Wishes {
            id_column: "id",
            vector_column: "vector",
            metric: None,
            element: None,
            quantization: Quantization::default(),
        };
        let schema = fit::schema(&source.schema, source.list_length, &wishes)?;
        let mut sample = Self {
            dimension: schema.vector().dimension,
            schema,
            batches: Vec::new(),
            ids: Vec::new(),
            synsets: Vec::new(),
            vectors: Vec::new(),
        };
        for batch in source.batches {
            sample.add(fit::batch(&batch?, &sample.schema)?)?;
        }
        Ok(sample)
    }

    fn add(&mut self, batch: RecordBatch) -> anyhow::Result<()> {
        let column = |name| batch.column_by_name(name).context("the sample lacks a column");
        self.ids
            .extend_from_slice(column("id")?.as_primitive::<UInt64Type>().values());
        let synsets = column("synset")?.as_string::<i32>();
        self.synsets
            .extend((0..synsets.len()).map(|row| Value::from(synsets.value(row))));
        let vectors = column("vector")?.as_fixed_size_list().values();
        self.vectors.extend(
            vectors
                .as_primitive::<Float16Type>()
                .values()
                .iter()
                .map(|x| x.to_f32()),
        );
        self.batches.push(batch);
        Ok(())
    }

    /// The vector of a row by position.
    pub fn vector(&self, row: usize) -> &[f32] {
        &self.vectors[row * self.dimension..(row + 1) * self.dimension]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_is_what_its_readme_says() {
        assert!(SAMPLE.len() <= 6 << 20);
        let sample = Sample::load().unwrap();
        assert_eq!((sample.ids.len(), sample.dimension), (5_000, 384));
        let dog = sample.ids.iter().position(|id| *id == DOG).unwrap();
        assert_eq!(sample.synsets[dog], Value::from("02084071-n"));
        let length: f32 = sample.vector(dog).iter().map(|x| x * x).sum();
        assert!((length - 1.0).abs() < 1e-2, "{length}");
        let names: Vec<_> = sample
            .schema
            .arrow()
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .collect();
        let want = [
            "id",
            "synset",
            "lemmas",
            "gloss",
            "pos",
            "lexname",
            "word_count",
            "vector",
        ];
        assert_eq!(names, want);
        assert!(sample.ids.is_sorted_by(|a, b| a < b));
    }
}
