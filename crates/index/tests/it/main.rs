//! What every vector index must do, whatever its parameters.
#![cfg(not(feature = "loom"))]
#![allow(clippy::unwrap_used)]

mod allocations;
mod batch;
mod churn;
mod concurrent;
mod drift;
mod duplicates;
mod exact;
mod explained;
mod filtered;
mod graph;
mod image;
mod image_beside;
mod image_damage;
mod image_golden;
mod kinds;
mod lengths;
mod odd;
mod quantized;
mod range;
mod stress;
mod support;
mod targets;
mod tight;
mod wide;
