//! One replica of one partition, without a network: columns, vectors, tombstones and the views that readers see.
//!
//! A [`Replica`] has one writer, which applies entries of the log in order, and any number of readers, which take an
//! immutable [`View`] and never wait for the writer. Every row has a *key*, its number in the order of writing. Its
//! columns stand in one of a list of chunks, its vector in a *slot* of the index; vectors that rows need not have, in
//! [indexes of their own](further). A row that is replaced or deleted is
//! dead from then on; its columns go when its chunk is [compacted](compact), its slot is used again, and neither is seen
//! by anybody who reads.
//!
//! Invariants:
//! - a view shows exactly the rows of the entries up to its `applied_index`, whatever the writer does meanwhile;
//! - a row that any view shows keeps its key, its columns and its slot, wherever chunks move and whatever is used again;
//! - an entry that is refused, or whose application panics, changes nothing that a reader can see.
//!
//! Nothing here has a clock or starts a thread, and nothing does I/O but [`snapshot::FsDisk`], which is handed to those
//! who write and open [`snapshot`]s.

mod body;
mod columns;
pub mod compact;
mod digest;
mod expiry;
mod further;
mod ids;
mod ipc;
mod layout;
mod located;
mod memory;
mod numbers;
mod outcomes;
mod projection;
mod reader;
mod replica;
pub mod snapshot;
mod tenants;
mod versions;
mod view;

pub use longbow_index::{Clock, QueryVector, Stats, Times, Way};

pub use digest::Digest;
pub use ipc::{batch_from_ipc, batch_to_ipc};
pub use layout::{Layout, Searched};
pub use memory::{Appetite, Memory};
pub use outcomes::Outcome;
pub use projection::Projection;
pub use reader::{Mark, Reader};
pub use replica::{Applied, Options, Replica, WriteKind};
pub use view::{Found, Profile, Query, Scan, View};
