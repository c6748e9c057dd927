//! A router against real keepers and shards, all in this process, over real sockets.

// A test fails by panicking; clippy only knows functions marked as tests.
#![allow(clippy::unwrap_used)]

mod bad_input;
mod cluster;
mod conditional;
mod doors;
mod explain;
mod failures;
mod flight;
mod flight_control;
mod further;
mod native;
mod settings;
