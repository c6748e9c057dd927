//! Bitsets.

crate::tables::words_of! { "avx2,popcnt" }
