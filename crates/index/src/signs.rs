//! Codes of one bit for each coordinate: RaBitQ (Gao & Long 2024).
//!
//! `k` is the sign of each coordinate. The factor `1 / ⟨k, u⟩ = 1 / Σ|uᵢ|` makes the estimate unbiased; what remains is
//! a random error of about 0.76/√d, because a rotated direction and its signs have an angle that hardly varies. Queries
//! have 8 bits, as planes: a product is a few population counts.

use longbow_kernels::{BitsFn, bits};

use crate::{
    code::{Code, density, nearest},
    lanes::largest,
    space::GROUP,
};

/// See the module.
pub(crate) struct Signs {
    kernel: BitsFn,
    len: usize,
}

/// A query as bit planes.
#[derive(Default)]
pub(crate) struct SignQuery {
    planes: Vec<u64>,
    /// What a unit of the planes is worth, twice: signs are twice the bits less one.
    unit: f32,
    /// The sum of the coordinates.
    sum: f32,
}

const PLANES: usize = 8;
/// The code of a query's zero.
const ZERO: f32 = 128.0;

/// Bit `i` of byte `j` becomes bit `j` of byte `i` (Hacker's Delight, 7-3).
fn transposed(bytes: [u8; 8]) -> [u8; 8] {
    let mut x = u64::from_le_bytes(bytes);
    for (shift, mask) in [
        (7, 0x00aa_00aa_00aa_00aa),
        (14, 0x0000_cccc_0000_cccc),
        (28, 0x0000_0000_f0f0_f0f0),
    ] {
        let swap = (x ^ (x >> shift)) & mask;
        x ^= swap ^ (swap << shift);
    }
    x.to_le_bytes()
}

impl Signs {
    /// Where in a row, behind its signs and its factors, the number of positive ones lies.
    fn ones_at(&self) -> usize {
        self.len / 8 + 8
    }
}

impl Code for Signs {
    type Query = SignQuery;
    const LANE: usize = 64;
    /// √(1 - 2/π) of a coordinate's deviation, which is √(2/π) of the factor.
    const NOISE: f32 = 0.603;
    const CANDIDATES: usize = 20;
    const MIXED_SHARE: usize = 4;
    /// On data without any structure three quarters are usual, and vectors may not be in memory.
    const TELLING: f64 = 0.5;
    const INLINE: bool = true;
    const LINKED_ON_VECTORS: bool = true;

    fn new(len: usize) -> Self {
        Self {
            kernel: bits().eight,
            len,
        }
    }

    fn bytes(&self) -> usize {
        (self.len / 8 + 12).next_multiple_of(64)
    }

    fn factors_at(&self) -> usize {
        self.len / 8
    }

    #[inline(always)]
    fn encode(&self, direction: &[f32], _own: bool, row: &mut [u8]) -> f32 {
        let mut ones = 0;
        for (word, part) in row
            .as_chunks_mut::<8>()
            .0
            .iter_mut()
            .zip(direction.as_chunks::<64>().0)
        {
            let bit = |(at, x): (usize, &f32)| u64::from(*x > 0.0) << at;
            let signs = part.iter().enumerate().map(bit).fold(0, |word, bit| word | bit);
            ones += signs.count_ones();
            *word = signs.to_ne_bytes();
        }
        row[self.ones_at()..][..4].copy_from_slice(&(ones as f32).to_ne_bytes());
        let sum: f64 = direction.iter().map(|x| f64::from(x.abs())).sum();
        if sum > 0.0 { (1.0 / sum) as f32 } else { 0.0 }
    }

    fn factor(&self) -> f32 {
        0.0
    }

    fn prepare(&self, query: &mut [f32], out: &mut SignQuery) {
        let largest = largest(query);
        let density = density(127.0, largest);
        let words = self.len / 64;
        out.planes.clear();
        out.planes.resize(PLANES * words, 0);
        let mut sum = 0.0;
        for (at, part) in query.as_chunks::<8>().0.iter().enumerate() {
            let codes = part.map(|x| nearest(x * density));
            sum += codes.iter().sum::<f32>();
            let planes = transposed(codes.map(|code| (code + ZERO) as u8));
            for (plane, bits) in planes.into_iter().enumerate() {
                out.planes[plane * words + at / 8] |= u64::from(bits) << (at % 8 * 8);
            }
        }
        let unit = if density > 0.0 { 1.0 / density } else { 0.0 };
        out.unit = 2.0 * unit;
        out.sum = sum * unit;
    }

    fn prepare_row(&self, _row: &[u8], out: &mut SignQuery) {
        // Nodes are compared on their vectors (`LINKED_ON_VECTORS`).
        *out = SignQuery::default();
    }

    #[inline(always)]
    unsafe fn products(&self, query: &SignQuery, rows: &[*const u8], out: &mut [f32]) {
        let mut addresses = [std::ptr::null(); GROUP];
        for (address, row) in addresses.iter_mut().zip(rows) {
            *address = row.cast::<u64>();
        }
        let mut sums = [0; GROUP];
        // SAFETY: a row begins with as many words as a plane has, and starts on a line.
        unsafe { (self.kernel)(&query.planes, &addresses[..rows.len()], &mut sums[..rows.len()]) };
        for ((out, &row), &sum) in out.iter_mut().zip(rows).zip(&sums) {
            // SAFETY: within the row, a multiple of four from its beginning, written by `encode`.
            let ones = unsafe { row.add(self.ones_at()).cast::<f32>().read() };
            *out = query.unit * (sum as f32 - ZERO * ones) - query.sum;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rotation::Rotation;

    #[test]
    fn bits_are_transposed() {
        let bytes = [1, 0x80, 0xff, 0, 0x5a, 3, 7, 0xc1];
        for (i, byte) in transposed(bytes).into_iter().enumerate() {
            for (j, of) in bytes.into_iter().enumerate() {
                assert_eq!(byte >> j & 1, of >> i & 1);
            }
        }
    }

    #[test]
    fn estimates_are_right_on_average_and_err_as_stated() {
        let len = 384;
        let signs = Signs::new(len);
        let query: Vec<f32> = (0..len).map(|i| ((i * 37 % 11) as f32 - 5.0) / 62.0).collect();
        let other: Vec<f32> = (0..len).map(|i| ((i * 53 % 13) as f32 - 6.0) / 73.0).collect();
        let truth: f32 = query.iter().zip(&other).map(|(a, b)| a * b).sum();
        let norm = |x: &[f32]| x.iter().map(|x| x * x).sum::<f32>().sqrt();
        let errors: Vec<f32> = (0..400)
            .map(|seed| {
                let rotation = Rotation::new(len, seed);
                let (mut q, mut x) = (query.clone(), other.clone());
                rotation.apply(&mut q);
                rotation.apply(&mut x);
                let length = norm(&x);
                x.iter_mut().for_each(|x| *x /= length);
                // Words, for their alignment.
                let mut words = vec![0u64; signs.bytes() / 8];
                let row: &mut [u8] =
                    // SAFETY: as many bytes, initialised.
                    unsafe { std::slice::from_raw_parts_mut(words.as_mut_ptr().cast(), words.len() * 8) };
                let factor = signs.encode(&x, true, row);
                let mut ready = SignQuery::default();
                signs.prepare(&mut q, &mut ready);
                let mut product = [0.0];
                // SAFETY: a row of this code.
                unsafe { signs.products(&ready, &[words.as_ptr().cast()], &mut product) };
                let deviation = factor * length * norm(&query) * Signs::NOISE;
                (product[0] * factor * length - truth) / deviation
            })
            .collect();
        let mean = errors.iter().sum::<f32>() / errors.len() as f32;
        let square = errors.iter().map(|x| x * x).sum::<f32>() / errors.len() as f32;
        assert!(mean.abs() < 0.2, "{mean}");
        assert!((0.8..1.2).contains(&square.sqrt()), "{square}");
    }
}
