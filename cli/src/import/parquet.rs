//! Parquet files.

use std::path::Path;

use arrow::{
    array::{Array, FixedSizeListArray, LargeListArray, ListArray},
    record_batch::RecordBatch,
};
use longbow_client::{Error, ErrorCode};
use parquet::{
    arrow::{ProjectionMask, arrow_reader::ParquetRecordBatchReaderBuilder},
    file::reader::ChunkReader,
};

use super::{
    ImportArgs,
    source::{Source, file},
};

/// Opens a file.
pub fn open(path: &Path, args: &ImportArgs) -> anyhow::Result<Source> {
    read(
        file(path)?,
        &args.columns,
        args.batch_rows as usize,
        &args.vector_column,
    )
}

/// Reads some columns (none named: all) of Parquet bytes in batches of `batch_rows`.
pub fn read<R: ChunkReader + 'static>(
    bytes: R,
    columns: &[String],
    batch_rows: usize,
    vector_column: &str,
) -> anyhow::Result<Source> {
    let mut builder = ParquetRecordBatchReaderBuilder::try_new(bytes)?.with_batch_size(batch_rows);
    if !columns.is_empty() {
        let mut roots = Vec::new();
        for name in columns {
            roots.push(root(&builder, name)?);
        }
        let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
        builder = builder.with_projection(mask);
    }
    let rows = u64::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or(0);
    let metadata = builder.schema().metadata().clone();
    let mut reader = builder.build()?;
    let first = reader.next().transpose()?;
    let schema = match &first {
        Some(batch) => batch.schema_ref().as_ref().clone(),
        None => {
            use arrow::record_batch::RecordBatchReader;
            reader.schema().as_ref().clone()
        }
    };
    let list_length = first.as_ref().and_then(|batch| list_length(batch, vector_column));
    let batches = first
        .into_iter()
        .map(Ok)
        .chain(reader.map(|batch| batch.map_err(anyhow::Error::from)));
    Ok(Source {
        schema: schema.with_metadata(metadata).into(),
        list_length,
        rows,
        batches: Box::new(batches),
    })
}

fn root<R: ChunkReader + 'static>(
    builder: &ParquetRecordBatchReaderBuilder<R>,
    name: &str,
) -> Result<usize, Error> {
    builder.schema().index_of(name).map_err(|_| {
        let known: Vec<&str> = builder
            .schema()
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .collect();
        Error::new(
            ErrorCode::UnknownColumn,
            format!("the file has no column {name:?}"),
        )
        .field(name.to_owned())
        .limit(format_args!("one of {}", known.join(", ")))
    })
}

fn list_length(batch: &RecordBatch, column: &str) -> Option<usize> {
    let array = batch.column_by_name(column)?;
    let any = array.as_any();
    let first = (0..array.len()).find(|&row| array.is_valid(row))?;
    if let Some(lists) = any.downcast_ref::<FixedSizeListArray>() {
        return usize::try_from(lists.value_length()).ok();
    }
    if let Some(lists) = any.downcast_ref::<ListArray>() {
        return usize::try_from(lists.value_length(first)).ok();
    }
    let lists = any.downcast_ref::<LargeListArray>()?;
    usize::try_from(lists.value_length(first)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::{
        array::{ArrayRef, Float64Array, StringArray, UInt64Array},
        datatypes::Float32Type,
    };
    use bytes::Bytes;
    use std::sync::Arc;

    fn written() -> Bytes {
        let vectors = ListArray::from_iter_primitive::<Float32Type, _, _>(
            (0..5).map(|row| (row != 0).then(|| vec![Some(row as f32), Some(1.0)])),
        );
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("id", Arc::new(UInt64Array::from_iter_values(0..5))),
            ("vector", Arc::new(vectors)),
            ("note", Arc::new(StringArray::from(vec!["x"; 5]))),
            ("weight", Arc::new(Float64Array::from(vec![0.5; 5]))),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut out = Vec::new();
        let mut writer = parquet::arrow::ArrowWriter::try_new(&mut out, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        out.into()
    }

    #[test]
    fn batches_columns_and_list_length() {
        let columns = ["vector".to_owned(), "id".to_owned()];
        let source = read(written(), &columns, 2, "vector").unwrap();
        assert_eq!((source.rows, source.list_length), (5, Some(2)));
        let names: Vec<_> = source
            .schema
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .collect();
        assert_eq!(names, ["id", "vector"]);
        let sizes: Vec<_> = source.batches.map(|batch| batch.unwrap().num_rows()).collect();
        assert_eq!(sizes, [2, 2, 1]);
    }

    #[test]
    fn unknown_columns_and_other_files_are_refused() {
        let error = read(written(), &["nope".to_owned()], 2, "vector").err().unwrap();
        assert!(format!("{error:#}").contains("nope"), "{error:#}");
        assert!(read(Bytes::from_static(b"PAR1 no"), &[], 2, "vector").is_err());
    }
}
