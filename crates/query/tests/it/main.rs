//! Tests of the public surface: filters against a naive evaluator, refusals, merging against sorting.

#![allow(clippy::unwrap_used)] // a test is its own proof

mod cases;
mod filters;
mod hostile;
mod oracle;
mod random;
mod ranks;
mod refusals;
mod spellings;
mod table;
