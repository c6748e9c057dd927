//! Bitsets, counted by VPOPCNTDQ.

crate::tables::words_of! { "avx512f,avx512bw,avx512vl,avx512dq,avx512vpopcntdq" }
