//! Identities of datasets and rows.

use std::fmt;

use crate::{Error, ErrorCode, limits::ID_BYTES_MAX};

/// Identity of a dataset: the log index of the entry that created it. Never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DatasetId(pub u64);

impl fmt::Display for DatasetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Kind of the ids of a dataset, fixed by its schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IdKind {
    /// Unsigned 64-bit.
    U64,
    /// Signed 64-bit.
    I64,
    /// UTF-8 text.
    Utf8,
}

impl IdKind {
    /// Stable text of the kind.
    pub const fn as_str(self) -> &'static str {
        match self {
            IdKind::U64 => "uint64",
            IdKind::I64 => "int64",
            IdKind::Utf8 => "utf8",
        }
    }
}

impl fmt::Display for IdKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Identity of one row in its dataset.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RowId {
    /// Unsigned 64-bit.
    U64(u64),
    /// Signed 64-bit.
    I64(i64),
    /// UTF-8 text.
    Utf8(Box<str>),
}

impl RowId {
    /// Kind of this id.
    pub fn kind(&self) -> IdKind {
        match self {
            RowId::U64(_) => IdKind::U64,
            RowId::I64(_) => IdKind::I64,
            RowId::Utf8(_) => IdKind::Utf8,
        }
    }

    /// Checks that the id may stand in a dataset whose ids are of `kind`.
    pub fn check(&self, kind: IdKind, field: &str) -> Result<(), Error> {
        if self.kind() != kind {
            let message = format!("the dataset's ids are {kind}, not {}", self.kind());
            return Err(Error::new(ErrorCode::TypeMismatch, message)
                .field(field.to_owned())
                .limit(kind));
        }
        if let RowId::Utf8(text) = self {
            check_utf8(text, field)?;
        }
        Ok(())
    }
}

/// Checks the length of a UTF-8 id.
pub fn check_utf8(text: &str, field: &str) -> Result<(), Error> {
    if text.is_empty() || text.len() > ID_BYTES_MAX {
        return Err(
            Error::new(ErrorCode::InvalidValue, format!("an id of {} bytes", text.len()))
                .field(field.to_owned())
                .limit(format_args!("1 to {ID_BYTES_MAX} bytes")),
        );
    }
    Ok(())
}

impl fmt::Display for RowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RowId::U64(id) => id.fmt(f),
            RowId::I64(id) => id.fmt(f),
            RowId::Utf8(id) => id.fmt(f),
        }
    }
}
