//! A random rotation in O(d log d): signs, Hadamard transforms and Kac's walk.

use crate::{
    Simd,
    vectorize::{Vectorize, vectorize_unchecked},
};

/// Rotates `vector` in place by as many rounds as `signs` holds vectors of ±1.
///
/// Each round flips signs, takes the Hadamard transform of the largest power of two of coordinates that fits, at the
/// head and at the tail in turn, and mixes the two halves where that is not the whole (as in RaBitQ's library, Gao &
/// Long 2024). Orthogonal; every instruction set does the same additions in the same order, so gives the same bits.
///
/// # Panics
/// If the vector is empty, or its length is not a multiple of 64, or `signs` is not a whole number of vectors.
pub fn rotate(vector: &mut [f32], signs: &[f32]) {
    // SAFETY: the instruction set in use is one that the machine has.
    unsafe { rotate_unchecked(Simd::active(), vector, signs) };
}

/// As [`rotate`], with an instruction set that this machine has.
///
/// # Panics
/// As [`rotate`], and if the machine does not have the instruction set.
pub fn rotate_at(simd: Simd, vector: &mut [f32], signs: &[f32]) {
    assert!(simd.is_supported(), "{simd:?} is not supported here");
    // SAFETY: the machine has it.
    unsafe { rotate_unchecked(simd, vector, signs) };
}

/// # Safety
/// The machine must have the instruction set.
unsafe fn rotate_unchecked(simd: Simd, vector: &mut [f32], signs: &[f32]) {
    assert!(!vector.is_empty() && vector.len().is_multiple_of(64));
    assert!(signs.len().is_multiple_of(vector.len()));
    // SAFETY: passed on to the caller.
    unsafe { vectorize_unchecked(simd, Rounds { vector, signs }) };
}

struct Rounds<'a> {
    vector: &'a mut [f32],
    signs: &'a [f32],
}

impl Vectorize for Rounds<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        rounds(self.vector, self.signs);
    }
}

#[inline(always)]
fn rounds(vector: &mut [f32], signs: &[f32]) {
    let len = vector.len();
    let whole = 1 << len.ilog2();
    for (round, signs) in signs.chunks_exact(len).enumerate() {
        for (x, sign) in vector.iter_mut().zip(signs) {
            *x *= sign;
        }
        let start = if round % 2 == 0 { 0 } else { len - whole };
        hadamard(&mut vector[start..start + whole]);
        if whole != len {
            halves(vector);
        }
    }
}

/// Coordinates that are transformed in registers.
const BLOCK: usize = 16;

/// The orthonormal Hadamard transform of a power of two of at least 64 coordinates.
#[inline(always)]
fn hadamard(vector: &mut [f32]) {
    let mut half = vector.len() / 2;
    while half >= BLOCK {
        for pair in vector.chunks_exact_mut(2 * half) {
            let (low, high) = pair.split_at_mut(half);
            for (a, b) in low.iter_mut().zip(high) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
        half /= 2;
    }
    let scale = 1.0 / (vector.len() as f32).sqrt();
    for block in vector.as_chunks_mut::<BLOCK>().0 {
        *block = across::<1>(across::<2>(across::<4>(across::<8>(*block)))).map(|x| x * scale);
    }
}

/// Sums and differences of coordinates `HALF` apart.
#[inline(always)]
fn across<const HALF: usize>(block: [f32; BLOCK]) -> [f32; BLOCK] {
    std::array::from_fn(|i| {
        let other = block[i ^ HALF];
        if i & HALF == 0 {
            block[i] + other
        } else {
            other - block[i]
        }
    })
}

/// One step of Kac's walk: mixes the two halves.
#[inline(always)]
fn halves(vector: &mut [f32]) {
    use std::f32::consts::FRAC_1_SQRT_2;
    let (low, high) = vector.split_at_mut(vector.len() / 2);
    for (a, b) in low.iter_mut().zip(high) {
        (*a, *b) = ((*a + *b) * FRAC_1_SQRT_2, (*a - *b) * FRAC_1_SQRT_2);
    }
}
