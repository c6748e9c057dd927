//! Are these rows what the dataset holds? Arrow from outside in, batches in exactly the dataset's schema out.
//!
//! Everything that a shard could stumble over is refused here: after this room a row is known to apply.

pub mod columns;
pub mod ipc;
pub mod scalars;
pub mod size;
pub mod vectors;

pub use columns::adapt;
pub use ipc::{Decoded, Decoder, read_stream};
