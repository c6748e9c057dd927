//! Why a snapshot was not written or not opened. Every variant about a file names it.

use std::io;

use longbow_index::ImageError;
use longbow_types::ErrorCode;

/// Result of an operation on snapshots.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a snapshot was not written or not opened. What was published before is as it was.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk failed. Whether what was written lately is on it is unknown.
    #[error("{operation} {file}: {source}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// Name of the file.
        file: String,
        /// What the disk said.
        source: io::Error,
    },
    /// A file of a snapshot is not there.
    #[error("{file} is missing")]
    Missing {
        /// Name of the file.
        file: String,
    },
    /// Bytes are not what was written.
    #[error("{file} is damaged: {reason}")]
    Damaged {
        /// Name of the file.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// The vector index cannot be made of its image.
    #[error("{file}: {source}")]
    Image {
        /// Name of the file.
        file: String,
        /// What the index says.
        source: ImageError,
    },
    /// Written by another version of the format.
    #[error("{file} has version {found}; this build reads version {supported}")]
    Version {
        /// Name of the file.
        file: String,
        /// Version of the file.
        found: u32,
        /// Version that can be read.
        supported: u32,
    },
    /// The bytes are whole, but not of a dataset with this schema.
    #[error("{file} does not fit the schema: {reason}")]
    Mismatch {
        /// Name of the file.
        file: String,
        /// What does not fit.
        reason: String,
    },
    /// The caller could not tell the schema from the manifest.
    #[error("the schema of {file}: {source}")]
    Schema {
        /// Name of the manifest.
        file: String,
        /// What the caller says.
        source: longbow_types::Error,
    },
    /// The caller handed in more than a manifest holds; nothing was written.
    #[error("a catalogue section of {bytes} bytes; at most {limit} fit into a manifest")]
    TooLarge {
        /// Bytes handed in.
        bytes: usize,
        /// Most bytes.
        limit: usize,
    },
    /// The view holds more rows, dead ones included, than files number; nothing was written.
    #[error("{rows} rows, dead ones included; a snapshot numbers at most {limit}")]
    TooManyRows {
        /// Rows of the view.
        rows: usize,
        /// Most rows.
        limit: u32,
    },
    /// The caller's cancel function said to stop.
    #[error("the snapshot was given up")]
    Cancelled,
}

impl Error {
    pub(super) fn io(operation: &'static str, file: &str, source: io::Error) -> Self {
        let file = file.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound => Error::Missing { file },
            _ => Error::Io {
                operation,
                file,
                source,
            },
        }
    }

    pub(super) fn damaged(file: &str, reason: impl ToString) -> Self {
        Error::Damaged {
            file: file.to_owned(),
            reason: reason.to_string(),
        }
    }

    pub(super) fn mismatch(file: &str, reason: impl ToString) -> Self {
        Error::Mismatch {
            file: file.to_owned(),
            reason: reason.to_string(),
        }
    }

    /// Whether the bytes on disk are at fault: asking again gives the same answer.
    pub fn is_damage(&self) -> bool {
        match self {
            Error::Missing { .. } | Error::Damaged { .. } => true,
            Error::Image { source, .. } => {
                matches!(source, ImageError::NotAnImage | ImageError::Damaged { .. })
            }
            _ => false,
        }
    }

    /// The stable code of it.
    pub fn code(&self) -> ErrorCode {
        match self {
            Error::Cancelled => ErrorCode::Cancelled,
            Error::TooLarge { .. } | Error::TooManyRows { .. } => ErrorCode::TooLarge,
            Error::Io { .. } => ErrorCode::StorageFailed,
            Error::Mismatch { .. } => ErrorCode::SchemaMismatch,
            Error::Schema { source, .. } => source.code,
            Error::Missing { .. } | Error::Damaged { .. } | Error::Image { .. } | Error::Version { .. } => {
                ErrorCode::Corruption
            }
        }
    }
}
