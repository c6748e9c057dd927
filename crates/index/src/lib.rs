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
mod batch;
mod bits;
mod calibrate;
mod code;
mod coded;
mod context;
mod distinct;
mod error;
mod graph;
mod hnsw;
mod image;
mod index;
mod key;
mod kind;
mod link;
mod mix;
#[cfg(all(test, feature = "loom"))]
mod models;
mod order;
mod params;
mod plan;
mod plane;
mod planes;
mod progress;
mod queue;
mod range;
mod reach;
mod repair;
mod rotation;
mod scan;
mod scope;
mod search;
mod select;
mod signs;
mod slack;
mod space;
mod store;
mod sync;
mod topk;
mod training;
mod traverse;
mod vacuum;
mod visited;
mod waiting;

pub use error::{Cancelled, Error, InvalidTarget};
pub use image::{ImageError, ImageMemory, ImageSummary, verify_image};
pub use index::VectorIndex;
pub use longbow_kernels::{Bitset, Element, Metric};
pub use params::{
    Answer, Mode, Neighbor, Params, Quantization, RangeParams, RecallTarget, SearchParams, Stats, Way,
};
