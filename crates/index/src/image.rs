//! An index as bytes: written beside everything else that goes on, and used where it lies.
//!
//! All numbers are little-endian. Sections are found by their tags; a reader passes over those it does not know.
//!
//! ```text
//! image   = header section* trailer footer
//! header  = magic:8 version:4 element:1 metric:1 quantization:1 0:1 dimension:4 m:4 ef:4 slots:4 seed:8 0:20 crc:4
//! section = bytes, on a multiple of 64; from 64 KiB on, of 4,096
//! trailer = linked:4 entry-level:4 entry-slot+1:4 upper-lists:4 flags:4 sections:4
//!           (tag:4 0:4 offset:8 bytes:8)*sections (crc:4)*blocks
//! footer  = trailer-offset:8 trailer-bytes:8 trailer-crc:4 header-crc:4 end-magic:4 crc:4
//! ```
//!
//! A block is 1 MiB of a section, the last one what is left; sums are CRC-32C. Header, trailer and footer have sums of
//! their own. One row per slot have
//!
//! | tag | rows |
//! |---|---|
//! | `VECS` | the vectors, padded as the kernels want them |
//! | `SCAL` | cosine: reciprocal of the norm, f32; infinity where that is no factor |
//! | `CODE`, `FACT` | codes of a quantization, and the factors of each |
//! | `BASE` | links on the base level: slot + 1, 4 bytes each, zeros behind the last |
//! | `NODE` | level in the top five bits, first list in `UPPR` in the others |
//!
//! and besides there are `UPPR` with the lists above the base, level by level for each node in slot order, and a bit
//! per slot each in `RMVD` (removed), `FREE` (out of the graph, to be used again) and `WAIT` (to be linked). `CNTR` has
//! the centre that codes were made around, f32, `MOMT` the sums that say whether it still fits, f64, and `SLCK` how
//! distances grow with the rank, samples of what walks end by: their count, u32, then of each ring its length, u32, and its
//! numbers, f32.
//!
//! Invariants of what is written, all of which are checked before an index is made of it: a link leads to a linked
//! slot of at least its level; slots that are not linked have no links; `UPPR` has no list that no node has.

mod format;
mod links;
mod load;
mod memory;
mod save;
#[cfg(test)]
mod tests;

pub use format::ImageError;
pub use load::verify_image;
pub use memory::ImageMemory;
pub use save::{HOLE, ImageSummary};

pub(crate) use format::{Header, Tag};
pub(crate) use load::Image;
pub(crate) use save::Saver;
