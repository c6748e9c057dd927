//! Products of queries of a few bits with codes of one bit, exact in 32 bits.

use crate::Simd;

/// Writes, per row, `Σ_j 2^j · popcount(row & plane_j)`: the inner product of a query whose elements have as many bits
/// as there are planes with a row of bits.
///
/// Bit `i` of a vector is bit `i % 64` of word `i / 64`; plane `j` holds bit `j` of every element of the query, and
/// the planes follow one another. Rows may have any number of words.
///
/// # Safety
/// `planes.len()` must be a multiple of the kernel's number of planes, and a plane at most 2^18 words long; each row
/// must point at as many readable words as a plane has, aligned as `u64` is; `out` must be as long as `rows`.
pub type BitsFn = unsafe fn(planes: &[u64], rows: &[*const u64], out: &mut [u32]);

/// The kernels of codes of one bit, by the number of planes of their queries.
#[derive(Clone, Copy)]
pub struct Bits {
    /// One plane: how many bits query and row share.
    pub one: BitsFn,
    /// Four planes.
    pub four: BitsFn,
    /// Eight planes.
    pub eight: BitsFn,
}

/// The kernels of the instruction set in use.
pub fn bits() -> Bits {
    // SAFETY: the instruction set in use is one that the machine has.
    unsafe { unchecked(Simd::active()) }
}

/// The kernels of a given instruction set, where this machine has it.
pub fn bits_at(simd: Simd) -> Option<Bits> {
    // SAFETY: only where the machine has it.
    simd.is_supported().then(|| unsafe { unchecked(simd) })
}

macro_rules! bits_of {
    ($($dot:ident)::+) => {
        Bits {
            one: $($dot)::+::<1>,
            four: $($dot)::+::<4>,
            eight: $($dot)::+::<8>,
        }
    };
}

/// # Safety
/// The machine must have the instruction set: what [`BitsFn`] asks of callers does not include that.
unsafe fn unchecked(simd: Simd) -> Bits {
    match simd {
        #[cfg(target_arch = "x86_64")]
        Simd::Avx512 if crate::dispatch::has_vpopcntdq() => bits_of!(crate::avx512::bits_dot),
        #[cfg(target_arch = "x86_64")]
        Simd::Avx512 | Simd::Avx2 => bits_of!(crate::avx2::bits_dot),
        #[cfg(target_arch = "aarch64")]
        Simd::Neon => bits_of!(crate::neon::bits_dot),
        _ => bits_of!(scalar),
    }
}

/// # Safety
/// As [`BitsFn`].
unsafe fn scalar<const PLANES: usize>(planes: &[u64], rows: &[*const u64], out: &mut [u32]) {
    let words = planes.len() / PLANES;
    for (&row, out) in rows.iter().zip(out) {
        // SAFETY: the caller guarantees as many readable words at each row as a plane has.
        let row = unsafe { std::slice::from_raw_parts(row, words) };
        *out = 0;
        for plane in 0..PLANES {
            let plane_words = &planes[plane * words..][..words];
            let shared: u32 = row
                .iter()
                .zip(plane_words)
                .map(|(x, q)| (x & q).count_ones())
                .sum();
            *out += shared << plane;
        }
    }
}
