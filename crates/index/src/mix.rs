//! Numbers that look random, the same everywhere.

/// What splitmix64 (Steele, Lea & Flood 2014) adds to its state at every step.
pub(crate) const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// The output of splitmix64 for a state: every bit depends on every bit.
pub(crate) fn mix(state: u64) -> u64 {
    let mut x = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
