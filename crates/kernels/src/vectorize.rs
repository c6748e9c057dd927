//! Plain Rust, compiled once for every instruction set.

use crate::Simd;

/// Work that the compiler turns into instructions for whatever registers there are.
pub trait Vectorize {
    /// What comes of it.
    type Output;

    /// Does it. Has to be `#[inline(always)]`, and whatever it calls that is worth it: the rest is compiled for the least
    /// of machines.
    fn run(self) -> Self::Output;
}

/// Does work with the instruction set in use.
///
/// Results are the same with each: additions keep their order, and none is fused with a product.
#[inline]
pub fn vectorize<W: Vectorize>(work: W) -> W::Output {
    // SAFETY: the instruction set in use is one that the machine has.
    unsafe { vectorize_unchecked(Simd::active(), work) }
}

/// As [`vectorize`], with an instruction set of the caller's choice.
///
/// # Safety
/// The machine must have the instruction set.
#[inline]
pub(crate) unsafe fn vectorize_unchecked<W: Vectorize>(simd: Simd, work: W) -> W::Output {
    match simd {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the caller knows that the machine has the instruction set.
        Simd::Avx512 => unsafe { avx512(work) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Simd::Avx2 => unsafe { avx2(work) },
        // What is left is what every machine of its kind has.
        _ => work.run(),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2")]
fn avx512<W: Vectorize>(work: W) -> W::Output {
    work.run()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn avx2<W: Vectorize>(work: W) -> W::Output {
    work.run()
}
