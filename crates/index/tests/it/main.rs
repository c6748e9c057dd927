//! What every vector index must do, whatever its parameters.
#![cfg(not(feature = "loom"))]
#![allow(clippy::unwrap_used)]

mod allocations;
mod churn;
mod concurrent;
mod exact;
mod filtered;
mod graph;
mod quantized;
mod stress;
mod support;
