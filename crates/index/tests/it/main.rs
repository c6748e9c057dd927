//! What every vector index must do, whatever its parameters.
#![allow(clippy::unwrap_used)]

mod allocations;
mod batch;
mod churn;
mod concurrent;
mod exact;
mod filtered;
mod graph;
mod quantized;
mod range;
mod support;
mod targets;
