//! Segment files: append, read, recover.
//!
//! The log of one keeper: entries and raft's small states of every group in one stream of checksummed records, cut
//! into preallocated segments. The format's grammar is in this crate's README.
//!
//! Invariants:
//! - What a flush returned `Ok` for is found again by [`Log::open`], whatever crashed since.
//! - A record that was never flushed may be missing, but is never found changed.
//! - A failed sync is never tried again: the writer is dead from then on.
//! - A bad record below a durable offset is [`Error::Corruption`]; only after the last one it is a torn tail, and cut.
//! - A segment found on start is appended to only if the log was closed in it: else what stands behind its end could
//!   be taken for new.
//! - What a file held in a former life never reads as a record of its present one.

mod batch;
pub mod cut;
mod disk;
mod error;
mod format;
mod found;
mod fs;
mod index;
pub mod inspect;
#[cfg(test)]
mod model;
mod open;
mod reader;
mod scan;
mod segment;
pub mod sim;
mod spares;
#[cfg(test)]
mod tests;
mod writer;

pub use batch::Batch;
pub use disk::{Disk, DiskFile};
pub use error::{Error, Result};
pub use format::{EntryKind, RECORD_BYTES_MAX};
pub use fs::FsDisk;
pub use open::{Log, Options, Recovered, RecoveredGroup, TornTail};
pub use reader::{Entry, Reader};
pub use spares::Spares;
pub use writer::{Flushed, Writer};

/// What raft must remember beside its log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HardState {
    /// Current term.
    pub term: u64,
    /// Who got this node's vote in that term; 0 for nobody.
    pub vote: u64,
    /// An index known to be committed. May lag behind.
    pub commit: u64,
}
