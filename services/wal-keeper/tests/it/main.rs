//! Real keepers in one process on loopback: appends, crashes, doors, the latch.

// A test fails by panicking; clippy only knows functions marked as tests.
#![allow(clippy::unwrap_used)]

mod change;
mod cluster;
mod crash;
mod cut;
mod doors;
mod group;
mod latch;
mod reach;
mod retain;
mod settings;
mod tail;
mod ticks;
