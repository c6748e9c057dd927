//! Tests of the public surface: a replica against a naive model, beside readers, and fed with nonsense.
#![allow(clippy::unwrap_used)] // a test is its own proof

mod altered;
mod bodies;
mod compaction;
mod digests;
mod expiry;
mod further;
mod many;
mod model;
mod oracle;
mod quantized;
mod readers;
mod rows;
mod snapshots;
mod steps;
mod structs;
