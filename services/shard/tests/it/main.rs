//! A whole shard in this process, over real sockets and gossip, fed by a keeper whose log lives in memory.
//!
//! The keeper here has the wire, the catalogue and the order of the real one, and none of its durability, so that tests
//! can say when it falls silent, lags behind, or commits what no router would write. The integration suite runs shards
//! against real keepers.
#![allow(clippy::unwrap_used)] // a test is its own proof

mod cluster;
mod cut;
mod faults;
mod keeper;
mod outcomes;
mod process;
mod reads;
mod rewound;
mod rows;
mod settings;
mod snapshots;
mod starts;
mod versions;
