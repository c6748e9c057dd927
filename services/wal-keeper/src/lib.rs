//! The wal-keeper role: orders every write and makes it durable on a quorum of disks.
//!
//! How an append travels: [`rpc`] checks it and puts it into the bounded [`mailbox`] → the one thread of [`engine`]
//! proposes it to raft → [`transport`] sends it to the other keepers while [`disk`] makes it durable here, together with
//! everything else that waits → raft commits it → the engine applies it to the catalogue, answers, and hands it to
//! [`committed`], where shards read.
//!
//! Rules: nothing is acknowledged before it is durable on a quorum and judged. A failed fdatasync ends the role
//! ([`latch`]); it is never tried again. The checkpoint in [`checkpoint`] may lag behind, never run ahead.

mod checkpoint;
mod committed;
mod config;
pub mod cut;
mod disk;
mod engine;
mod forming;
mod group;
mod latch;
mod launch;
mod mailbox;
mod recover;
mod roster;
mod rpc;
mod running;
mod spare;
mod state;
mod status;
mod transport;
mod watchdog;

pub use config::{Config, SETTINGS};
pub use running::{Running, start};

/// The one log group there is. Nothing else may assume that there is one.
const GROUP: u32 = 0;
