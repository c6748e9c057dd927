//! Tests of the public surface: filters against a naive evaluator, refusals, merging against sorting.

#![allow(clippy::unwrap_used)] // a test is its own proof

mod filters;
mod oracle;
mod ranks;
mod refusals;
mod table;
