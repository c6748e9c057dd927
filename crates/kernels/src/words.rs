//! Word-wise kernels of bitsets.
//!
//! Plain loops, which the compiler turns into whatever registers it is given: of 64-bit words there is nothing to spell
//! out, counting included (VPOPCNTQ, a table of nibbles, or CNT).

use crate::Simd;

/// Kernels of words; where lengths differ, what one has more is left alone.
#[derive(Clone, Copy)]
pub(crate) struct Words {
    /// `a &= b`.
    pub(crate) and: fn(&mut [u64], &[u64]),
    /// `a |= b`.
    pub(crate) or: fn(&mut [u64], &[u64]),
    /// `a &= !b`.
    pub(crate) andnot: fn(&mut [u64], &[u64]),
    /// `a = !a`.
    pub(crate) not: fn(&mut [u64]),
    /// Set bits.
    pub(crate) count: fn(&[u64]) -> usize,
}

/// The kernels of the instruction set in use.
pub(crate) fn words() -> Words {
    // SAFETY: the instruction set in use is one that the machine has.
    unsafe { unchecked(Simd::active()) }
}

/// # Safety
/// The machine must have the instruction set: the kernels themselves are safe to call, and do not ask again.
unsafe fn unchecked(simd: Simd) -> Words {
    match simd {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the caller knows that the machine has the instruction set, and the extension has been looked for.
        Simd::Avx512 if crate::dispatch::has_vpopcntdq() => unsafe { crate::avx512::words() },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the caller knows that the machine has the instruction set; AVX-512 comes with AVX2.
        Simd::Avx512 | Simd::Avx2 => unsafe { crate::avx2::words() },
        #[cfg(target_arch = "aarch64")]
        // SAFETY: the caller knows that the machine has the instruction set.
        Simd::Neon => unsafe { crate::neon::words() },
        _ => Words {
            and: |a, b| combine(a, b, |a, b| a & b),
            or: |a, b| combine(a, b, |a, b| a | b),
            andnot: |a, b| combine(a, b, |a, b| a & !b),
            not: |a| invert(a),
            count: |a| ones(a),
        },
    }
}

#[inline(always)]
pub(crate) fn combine(a: &mut [u64], b: &[u64], with: impl Fn(u64, u64) -> u64) {
    for (a, &b) in a.iter_mut().zip(b) {
        *a = with(*a, b);
    }
}

#[inline(always)]
pub(crate) fn invert(a: &mut [u64]) {
    for word in a {
        *word = !*word;
    }
}

#[inline(always)]
pub(crate) fn ones(a: &[u64]) -> usize {
    a.iter().map(|word| u64::from(word.count_ones())).sum::<u64>() as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_instruction_set_does_what_plain_words_do(
            a in prop::collection::vec(any::<u64>(), 0..70),
            b in prop::collection::vec(any::<u64>(), 0..70),
            start in 0usize..3,
        ) {
            // Starting elsewhere leaves the words unaligned to registers.
            let (a, b) = (&a[start.min(a.len())..], &b[start.min(b.len())..]);
            for simd in Simd::ALL.into_iter().filter(|simd| simd.is_supported()) {
                // SAFETY: only what the machine supports comes here.
                let words = unsafe { unchecked(simd) };
                for (kernel, plain) in [
                    (words.and, (|a, b| a & b) as fn(u64, u64) -> u64),
                    (words.or, |a, b| a | b),
                    (words.andnot, |a, b| a & !b),
                ] {
                    let (mut got, mut expected) = (a.to_vec(), a.to_vec());
                    kernel(&mut got, b);
                    for i in 0..a.len().min(b.len()) {
                        expected[i] = plain(a[i], b[i]);
                    }
                    prop_assert_eq!(got, expected, "{:?}", simd);
                }
                let mut got = a.to_vec();
                (words.not)(&mut got);
                prop_assert_eq!(got, a.iter().map(|a| !a).collect::<Vec<_>>(), "{:?}", simd);
                let mut bits = 0;
                for i in 0..a.len() * 64 {
                    bits += usize::from(a[i / 64] >> (i % 64) & 1 == 1);
                }
                prop_assert_eq!((words.count)(a), bits, "{:?}", simd);
            }
        }
    }
}
