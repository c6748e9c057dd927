//! Vector indexes: which stored slots lie nearest to a query.
//!
//! A [`VectorIndex`] takes rows into *slots* 0, 1, 2, …, links them into an HNSW graph in the background, and answers
//! searches over everything appended, linked or not. Slices in, slots and distances out: no I/O, no async, no
//! Arrow, no clock, no random source of its own (levels come from the seed).
//!
//! Invariants:
//! - memory handed to a reader never moves and is never freed before the index is dropped (`arena`);
//! - a slot is written again only after it was removed, no list leads to it, and every search that could have met it
//!   has ended (`vacuum`);
//! - a slot is published (by `len` or by a link) only after its vector is written;
//! - a search never returns a slot outside `allow`, and never fewer than `k` while `k` slots are allowed.

mod arena;
mod bits;
mod coded;
mod context;
mod error;
mod graph;
mod hnsw;
mod index;
mod key;
mod link;
#[cfg(all(test, feature = "loom"))]
mod models;
mod params;
mod plan;
mod progress;
mod queue;
mod repair;
mod rotation;
mod search;
mod select;
mod space;
mod store;
mod sync;
mod topk;
mod traverse;
mod vacuum;
mod visited;
mod waiting;

pub use error::{Cancelled, Error};
pub use index::VectorIndex;
pub use longbow_kernels::{Bitset, Element, Metric};
pub use params::{Mode, Neighbor, Params, Quantization, SearchParams, Stats};
