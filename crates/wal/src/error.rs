//! What can go wrong with the log, and whether state changed.

use std::io;

/// Result of a log operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the log refuses.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Stored bytes are not what was written. The keeper must not vote until it is repaired.
    #[error("corruption in {file} at byte {offset}: {what}")]
    Corruption {
        /// File name in the log's directory.
        file: String,
        /// First bad byte's record.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// No space, found before anything was synced. Nothing changed; the same flush may be tried again.
    #[error("no space for {operation}: {source}")]
    Full {
        /// What was tried.
        operation: &'static str,
        /// What the disk said.
        source: io::Error,
    },
    /// The disk failed, now or earlier. What of the last flush is on disk is unknown; the writer is dead.
    #[error("the log failed: {cause}")]
    Failed {
        /// What failed first.
        cause: String,
    },
    /// The disk failed while reading or opening. Nothing changed.
    #[error("{operation} {file}: {source}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// File name in the log's directory.
        file: String,
        /// What the disk said.
        source: io::Error,
    },
    /// The caller broke a rule; nothing changed.
    #[error("{0}")]
    Invalid(String),
    /// Entries asked for are not in the log.
    #[error("entries {low}..{high} are not in the log, which holds {first}..={last}")]
    OutOfRange {
        /// First index asked for.
        low: u64,
        /// Index after the last one asked for.
        high: u64,
        /// First index there is.
        first: u64,
        /// Last index there is.
        last: u64,
    },
}

impl Error {
    pub(crate) fn io(operation: &'static str, file: &str, source: io::Error) -> Self {
        Self::Io {
            operation,
            file: file.to_owned(),
            source,
        }
    }

    pub(crate) fn corruption(file: &str, offset: u64, what: impl Into<String>) -> Self {
        Self::Corruption {
            file: file.to_owned(),
            offset,
            what: what.into(),
        }
    }
}
