//! Vector indexes: which stored slots lie nearest to a query.
//!
//! A [`VectorIndex`] takes rows into *slots* 0, 1, 2, …, links them into an HNSW graph in the background, and answers
//! searches over everything appended, linked or not. Slices in, slots and distances out: no I/O, no async, no
//! Arrow, no clock, no random source of its own (levels come from the seed).
//!
//! # Precision and range
//! Distances are computed at the precision that elements have: in sums of 32 bits for types up to 32-bit floats, of 64
//! for wider ones ([`QueryVector`] says how to ask at that precision).
//!
//! - Types of more than 32 bits (f64, complex128, integers of 32 and 64 bits) are ordered by the distance itself, whatever
//!   its size; only what differs by less than a 30,000th may be taken as equal where distances are below 2⁻¹⁰⁰ or above
//!   2¹⁰⁰, and by less than a 32-bit float's rounding elsewhere.
//! - Other types are ordered by the distance as a 32-bit float. For L2 and dot that ends where squares do: vectors below
//!   about 10⁻¹⁹ vanish in it, and those above 10¹⁹ overflow, and what vanishes or overflows is equally near. Keep such
//!   data as 64-bit floats, or scale it.
//! - Cosine distances are right whatever the vectors' lengths; lengths outside 2⁻¹⁰⁰…2¹⁰⁰ are right but slower.
//! - Estimates on codes are sums of 32 bits whatever the element type, and codes tell apart what differs by a share of
//!   the vectors' lengths (around where most of them lie). Where distances are far smaller than that, or out of range, rows
//!   are linked by their vectors and searches are done again on those, which takes longer than without codes: such data
//!   is better off with [`Quantization::None`] or [`Mode::FullPrecision`].
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
mod clock;
mod code;
mod coded;
mod context;
mod distinct;
mod error;
mod extremes;
mod fit;
mod graph;
mod hnsw;
mod hole;
mod image;
mod index;
mod key;
mod kind;
mod lanes;
mod link;
mod memory;
mod mix;
#[cfg(all(test, feature = "loom"))]
mod models;
mod order;
mod params;
mod plan;
mod plane;
mod planes;
mod progress;
mod query;
mod queue;
mod range;
mod reach;
mod refine;
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

pub use clock::{Clock, Times};
pub use error::{Cancelled, Error, InvalidTarget, SearchError};
pub use image::{HOLE, ImageError, ImageMemory, ImageSummary, verify_image};
pub use index::{Mark, VectorIndex};
pub use longbow_kernels::{Bitset, Element, Metric};
pub use memory::Memory;
pub use params::{
    Answer, Mode, Neighbor, Params, Quantization, REALS_MAX, RangeParams, RecallTarget, SearchParams, Stats,
    Way,
};
pub use query::QueryVector;
