//! Tests that start real processes on loopback addresses.

// Helpers outside test functions fail the test by unwrapping, too.
#![allow(clippy::unwrap_used)]

mod alter;
mod bad_input;
mod config;
mod cut;
mod deadline;
mod demo;
mod doors;
mod explain;
mod faults;
mod further_vectors;
mod garbage;
mod identity;
mod latch;
mod memory;
mod partitions;
mod quantization;
mod restart;
mod retention;
mod shared;
mod slaughter;
mod ttl;
mod typed;
mod wide;
mod writes;
