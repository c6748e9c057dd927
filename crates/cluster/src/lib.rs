//! Catalogue, placement, membership, raft core and latch, as pure state machines.
//!
//! Nothing here has a clock, a socket, a disk or a random source: events go in, effects come out.

pub mod catalogue;
pub mod credit;
pub mod keepers;
pub mod latch;
pub mod log_time;
pub mod membership;
pub mod placement;
pub mod raft_core;
pub mod retention;
