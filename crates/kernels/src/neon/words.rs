//! Bitsets.

crate::tables::words_of! { "neon" }
