//! One replica of one partition, without a network: columns, vectors, tombstones and the views that readers see.
//!
//! A [`Replica`] has one writer, which applies entries of the log in order, and any number of readers, which take an
//! immutable [`View`] and never wait for the writer. Every row lives in a *slot*: slots are numbered from 0 in the
//! order of the log and never move; a row that is replaced or deleted leaves its slot behind as a tombstone.
//!
//! Invariants:
//! - a view shows exactly the rows of the entries up to its `applied_index`, whatever the writer does meanwhile;
//! - slot s of the vector index and row s of the columns are the same row;
//! - an entry that is refused, or whose application panics, changes nothing that a reader can see.
//!
//! Nothing here has a clock or starts a thread, and nothing does I/O but [`snapshot::FsDisk`], which is handed to those
//! who write and open [`snapshot`]s.

mod body;
mod columns;
mod ids;
mod ipc;
mod layout;
mod projection;
mod replica;
pub mod snapshot;
mod versions;
mod view;

pub use longbow_index::QueryVector;

pub use ipc::{batch_from_ipc, batch_to_ipc};
pub use layout::Layout;
pub use projection::Projection;
pub use replica::{Applied, Options, Reader, Replica, WriteKind};
pub use view::{Found, Query, Scan, View};
