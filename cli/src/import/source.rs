//! What a file holds: its columns, the number of its rows, and the rows in batches.

use std::{io, path::Path};

use anyhow::bail;
use arrow::record_batch::RecordBatch;
use arrow_schema::SchemaRef;
use longbow_client::{Error, ErrorCode};

use super::{ImportArgs, npy, parquet};
use crate::error;

/// Files that can be imported.
const READABLE: &str = "a .parquet file, or a .npy matrix of f2, f4 or f8";

/// Batches of rows, read as they are asked for.
pub type Batches = Box<dyn Iterator<Item = anyhow::Result<RecordBatch>> + Send>;

/// An opened file.
pub struct Source {
    /// Its columns.
    pub schema: SchemaRef,
    /// Length of the first list in the vector column, for files whose type does not fix it.
    pub list_length: Option<usize>,
    /// Number of rows that will come.
    pub rows: u64,
    /// The rows.
    pub batches: Batches,
}

/// Opens the file by its ending.
pub fn open(args: &ImportArgs) -> anyhow::Result<Source> {
    let ending = args.file.extension().and_then(|ending| ending.to_str());
    let mut source = match ending {
        Some("parquet") => parquet::open(&args.file, args)?,
        Some("npy") => npy::open(&args.file, args)?,
        _ => bail!("the file's name ends in neither .parquet nor .npy"),
    };
    if args.limit > 0 && args.limit < source.rows {
        source.rows = args.limit;
        source.batches = Box::new(limited(source.batches, args.limit));
    }
    Ok(source)
}

/// The first `limit` rows.
fn limited(batches: Batches, limit: u64) -> impl Iterator<Item = anyhow::Result<RecordBatch>> + Send {
    let mut left = usize::try_from(limit).unwrap_or(usize::MAX);
    batches.map_while(move |batch| {
        if left == 0 {
            return None;
        }
        Some(batch.map(|batch| {
            let taken = batch.num_rows().min(left);
            left -= taken;
            batch.slice(0, taken)
        }))
    })
}

/// An error about the file with a code: one that has none yet says what is wrong with the file.
pub fn at_fault(error: anyhow::Error) -> anyhow::Error {
    if error::find(&error).is_some() {
        return error;
    }
    let wrong = |message: String| Error::new(ErrorCode::InvalidValue, message).field("file");
    // One that cannot be opened may well be of the right kind.
    match error.downcast_ref::<io::Error>().map(io::Error::kind) {
        Some(io::ErrorKind::NotFound) => wrong("there is no such file".to_owned())
            .limit("the path of a file on this machine")
            .into(),
        Some(_) => wrong(format!("{error:#}")).into(),
        None => wrong(format!("{error:#}")).limit(READABLE).into(),
    }
}

/// Opens a file for reading.
pub fn file(path: &Path) -> anyhow::Result<std::fs::File> {
    Ok(std::fs::File::open(path)?)
}
