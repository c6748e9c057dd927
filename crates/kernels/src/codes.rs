//! Products of signed 8-bit queries with unsigned codes of 8 or 4 bits, exact in 32 bits.

use crate::Simd;

/// Code rows start at multiples of this many bytes and are padded to a multiple of it.
pub const CODE_LANE: usize = 64;

/// Writes, per row, `Σ query[i] · row[i]`.
///
/// # Safety
/// `query.len()` must be a multiple of [`CODE_LANE`] and at most 2^16; each row must point at `query.len()` readable
/// bytes; `out` must be as long as `rows`. Query elements must not be -128.
pub type CodeFn = unsafe fn(query: &[i8], rows: &[*const u8], out: &mut [i32]);

/// As [`CodeFn`] for rows of 4-bit codes: byte `i` holds code `i` in its low half and code `i + n/2` in its high half,
/// `n` being the query's length.
///
/// # Safety
/// `query.len()` must be a multiple of twice [`CODE_LANE`] and at most 2^16; each row must point at half as many readable
/// bytes; `out` must be as long as `rows`. Query elements must not be -128.
pub type NibbleFn = unsafe fn(query: &[i8], rows: &[*const u8], out: &mut [i32]);

/// The kernels of codes.
#[derive(Clone, Copy)]
pub struct Codes {
    /// Codes of 8 bits.
    pub bytes: CodeFn,
    /// Codes of 4 bits.
    pub nibbles: NibbleFn,
}

/// The kernels of the instruction set in use.
pub fn codes() -> Codes {
    // SAFETY: the instruction set in use is one that the machine has.
    unsafe { unchecked(Simd::active()) }
}

/// The kernels of a given instruction set, where this machine has it.
pub fn codes_at(simd: Simd) -> Option<Codes> {
    // SAFETY: only where the machine has it.
    simd.is_supported().then(|| unsafe { unchecked(simd) })
}

/// # Safety
/// The machine must have the instruction set: what [`CodeFn`] asks of callers does not include that.
unsafe fn unchecked(simd: Simd) -> Codes {
    match simd {
        #[cfg(target_arch = "x86_64")]
        Simd::Avx512 => Codes {
            bytes: crate::avx512::code_dot,
            nibbles: crate::avx512::nibble_dot,
        },
        #[cfg(target_arch = "x86_64")]
        Simd::Avx2 => Codes {
            bytes: crate::avx2::code_dot,
            nibbles: crate::avx2::nibble_dot,
        },
        #[cfg(target_arch = "aarch64")]
        Simd::Neon => Codes {
            bytes: crate::neon::code_dot,
            nibbles: crate::neon::nibble_dot,
        },
        _ => Codes {
            bytes: scalar,
            nibbles: scalar_nibbles,
        },
    }
}

/// # Safety
/// As [`CodeFn`].
unsafe fn scalar(query: &[i8], rows: &[*const u8], out: &mut [i32]) {
    for (&row, out) in rows.iter().zip(out) {
        // SAFETY: the caller guarantees `query.len()` readable bytes at each row.
        let row = unsafe { std::slice::from_raw_parts(row, query.len()) };
        *out = row
            .iter()
            .zip(query)
            .map(|(&x, &q)| i32::from(x) * i32::from(q))
            .sum();
    }
}

/// # Safety
/// As [`NibbleFn`].
unsafe fn scalar_nibbles(query: &[i8], rows: &[*const u8], out: &mut [i32]) {
    let (low, high) = query.split_at(query.len() / 2);
    for (&row, out) in rows.iter().zip(out) {
        // SAFETY: the caller guarantees half as many readable bytes at each row as the query has.
        let row = unsafe { std::slice::from_raw_parts(row, low.len()) };
        let pairs = row.iter().zip(low.iter().zip(high));
        *out = pairs
            .map(|(&x, (&a, &b))| i32::from(x & 15) * i32::from(a) + i32::from(x >> 4) * i32::from(b))
            .sum();
    }
}
