//! How a direction becomes a row of small integers, and how a query is compared with such rows.
//!
//! A code is a vector of integers `k`; with a factor of its own it stands for `factor · k`, and the factor is chosen so
//! that products with it are right on average: `factor · ⟨k, u⟩ = 1` for the direction `u` it was made from (Gao & Long
//! 2024, for codes of any width).

use longbow_kernels::{CODE_LANE, CodeFn, codes};

use crate::{lanes::largest, space::GROUP};

/// A way to code rotated directions.
pub(crate) trait Code: Send + Sync + Sized + 'static {
    /// A query made ready for products with codes.
    type Query: Default + Send;
    /// Vectors are padded to a multiple of so many coordinates.
    const LANE: usize;
    /// Standard deviation of a coordinate of what a code stands for around what it was made from, in units of its
    /// factor.
    const NOISE: f32;
    /// See [`crate::space::Space::CANDIDATES`].
    const CANDIDATES: usize;
    /// See [`crate::space::Space::MIXED_SHARE`].
    const MIXED_SHARE: usize = 0;
    /// See [`crate::space::Space::TELLING`].
    const TELLING: f64 = 0.8;
    /// Whether a slot's factors lie in the row of its code, at [`Code::factors_at`].
    const INLINE: bool = false;
    /// Whether slots are compared with each other on the vectors, because two codes say too little.
    const LINKED_ON_VECTORS: bool = false;

    fn new(len: usize) -> Self;

    /// Bytes of a row.
    fn bytes(&self) -> usize;

    /// Where in a row its factors lie, 8 bytes, if they do.
    fn factors_at(&self) -> usize {
        0
    }

    /// Writes the code of a direction and returns its factor: its own, or the one that fits every direction.
    fn encode(&self, direction: &[f32], own: bool, row: &mut [u8]) -> f32;

    /// The factor of codes that have none of their own.
    fn factor(&self) -> f32;

    /// Makes a rotated query ready.
    fn prepare(&self, query: &mut [f32], out: &mut Self::Query);

    /// Makes a row ready as a query: itself, without its factor.
    fn prepare_row(&self, row: &[u8], out: &mut Self::Query);

    /// Per row the product of the query with its `k`.
    ///
    /// # Safety
    /// Each row points at [`Code::bytes`] readable bytes at the beginning of a cache line, and the query was made ready
    /// by this code.
    unsafe fn products(&self, query: &Self::Query, rows: &[*const u8], out: &mut [f32]);
}

/// Largest code of a query in magnitude.
const QUERY_MAX: f32 = 127.0;
/// What a sum of products may be off by, of what it should be, where a code is rounded so that it is right. To a query as
/// near as that the code's noise is more; to be nearer yet costs a look at every coordinate.
const ENOUGH: f32 = 1e-5;
/// Coordinates that are coded side by side.
const LANES: usize = 8;
/// Most coordinates of one integer product.
const BLOCK: usize = 1 << 16;

/// 1.5·2²³: adding it leaves no bits behind the point.
const SHIFT: f32 = 12_582_912.0;

/// Rounds to the nearest integer without calling into the mathematics library.
#[inline(always)]
pub(crate) fn nearest(x: f32) -> f32 {
    (x + SHIFT) - SHIFT
}

/// A whole number from 0 to 255.
#[inline(always)]
fn byte_of(code: f32) -> u8 {
    // As in `nearest`: the number stands in the lowest bits. `as` would look for what is out of range.
    (code + SHIFT).to_bits() as u8
}

/// Codes per unit where the largest magnitude gets the largest code; 0, which makes all codes 0, where there is no such
/// number.
pub(crate) fn density(code: f32, largest: f32) -> f32 {
    let density = code / largest;
    if density.is_finite() { density } else { 0.0 }
}

/// Equal steps, `BITS` (8 or 4) bits for each coordinate.
///
/// After a random rotation coordinates look Gaussian with a standard deviation of 1/√d whatever the data, so one step, a
/// fixed fraction of that deviation, fits every coordinate of every direction. Codes of 8 bits that have a factor of
/// their own reach just as far as the largest coordinate instead.
pub(crate) struct Levels<const BITS: u32> {
    kernel: CodeFn,
    len: usize,
    step: f32,
}

/// A query as signed codes.
#[derive(Default)]
pub(crate) struct LevelQuery {
    codes: Vec<i8>,
    /// What a product of codes is worth.
    unit: f32,
    /// What the bias of the stored codes adds to every product.
    offset: f32,
}

impl<const BITS: u32> Levels<BITS> {
    /// Steps in a standard deviation: 8 bits reach 4.5 deviations to either side, 4 bits are the best uniform
    /// quantizer of a Gaussian (Max 1960).
    const STEPS: f32 = if BITS == 8 { 127.0 / 4.5 } else { 1.0 / 0.335 };
    /// The mean product of a code, in steps, with the direction it was made from: the best quantizer falls short of 1 by
    /// its error.
    const SHRINK: f32 = if BITS == 8 { 1.0 } else { 1.0 - 0.01154 };
    /// Twice the code of zero; a code `u` stands for `k = 2u - BIAS` half steps.
    const BIAS: i32 = if BITS == 8 { 256 } else { 15 };

    fn set_offset(out: &mut LevelQuery) {
        let sum: i64 = out.codes.iter().map(|&code| i64::from(code)).sum();
        out.offset = out.unit * (i64::from(Self::BIAS) * sum) as f32;
        out.unit *= 2.0;
    }

    /// The codes of one block, coordinate by coordinate, and the sum of products with what they were made from.
    #[inline(always)]
    fn encode_block(inverse: f32, direction: &[f32], row: &mut [u8]) -> f32 {
        let top = ((1 << BITS) - 1) as f32;
        let half = Self::BIAS as f32 / 2.0;
        let code = |x: f32| nearest(x * inverse + half).clamp(0.0, top);
        let product = |code: f32, x: f32| (2.0 * code - Self::BIAS as f32) * x;
        let mut sums = [0.0f32; LANES];
        let (bytes, rest) = row.as_chunks_mut::<LANES>();
        debug_assert!(rest.is_empty(), "rows of codes are whole lines");
        if BITS == 8 {
            for (bytes, xs) in bytes.iter_mut().zip(direction.as_chunks::<LANES>().0) {
                for (at, byte) in bytes.iter_mut().enumerate() {
                    let code = code(xs[at]);
                    sums[at] += product(code, xs[at]);
                    *byte = byte_of(code);
                }
            }
        } else {
            let (low, high) = direction.split_at(direction.len() / 2);
            let both = low.as_chunks::<LANES>().0.iter().zip(high.as_chunks::<LANES>().0);
            for (bytes, (a, b)) in bytes.iter_mut().zip(both) {
                for (at, byte) in bytes.iter_mut().enumerate() {
                    let (low, high) = (code(a[at]), code(b[at]));
                    sums[at] += product(low, a[at]);
                    sums[at] += product(high, b[at]);
                    *byte = byte_of(low) | byte_of(high) << 4;
                }
            }
        }
        sums.iter().sum()
    }

    /// Rounds some coordinates the other way, those that cost least, so that the sum of products with what the code was
    /// made from becomes larger by `missing`, give or take `enough` where that can be. Returns what it became larger by.
    ///
    /// A query that nearly is the row, as among the rows of a tight cluster, has that sum's error whole, which a factor
    /// of the row's own would take away and one for all rows does not.
    #[inline(always)]
    fn make_up(inverse: f32, direction: &[f32], row: &mut [u8], missing: f32, enough: f32) -> f32 {
        let top = ((1 << BITS) - 1) as f32;
        let half = Self::BIAS as f32 / 2.0;
        let mut left = missing;
        // Close to the middle between two codes it makes little difference which is taken.
        for least in [0.4, 0.25] {
            for (group, xs) in direction.as_chunks::<LANES>().0.iter().enumerate() {
                if left.abs() <= enough {
                    return missing - left;
                }
                let at = group * LANES;
                // The second half of the coordinates of 4 bits is in the upper bits.
                let (at, shift) = at.checked_sub(row.len()).map_or((at, 0), |at| (at, 4));
                let mask = ((1u32 << BITS) - 1) as u8;
                let bytes = &mut row[at..at + LANES];
                let mut off = [0.0f32; LANES];
                let mut is_near = 0u32;
                for (lane, off) in off.iter_mut().enumerate() {
                    let code = f32::from(bytes[lane] >> shift & mask);
                    *off = xs[lane] * inverse + half - code;
                    is_near |= u32::from((least..0.5).contains(&off.abs())) << lane;
                }
                while is_near != 0 {
                    let lane = is_near.trailing_zeros() as usize;
                    is_near &= is_near - 1;
                    let (byte, off, x) = (&mut bytes[lane], off[lane], xs[lane]);
                    // Without a look for what is not a number, as `signum` has.
                    let step = 1.0f32.copysign(off);
                    let other = f32::from(*byte >> shift & mask) + step;
                    let more = 2.0 * x * step;
                    if (0.0..=top).contains(&other) && (left - more).abs() < left.abs() {
                        *byte = *byte & !(mask << shift) | (other as u8) << shift;
                        left -= more;
                    }
                }
            }
        }
        missing - left
    }
}

impl<const BITS: u32> Code for Levels<BITS> {
    type Query = LevelQuery;
    const LANE: usize = CODE_LANE * 8 / BITS as usize;
    /// In half steps, with the error of the query's codes; 4 bits err a little more where they end.
    const NOISE: f32 = if BITS == 8 { 0.71 } else { 0.64 };
    const CANDIDATES: usize = if BITS == 8 { 2 } else { 3 };

    fn new(len: usize) -> Self {
        const { assert!(BITS == 8 || BITS == 4) };
        Self {
            kernel: if BITS == 8 { codes().bytes } else { codes().nibbles },
            len,
            step: 1.0 / (Self::STEPS * (len as f32).sqrt()),
        }
    }

    fn bytes(&self) -> usize {
        self.len * BITS as usize / 8
    }

    #[inline(always)]
    fn encode(&self, direction: &[f32], own: bool, row: &mut [u8]) -> f32 {
        let step = if own && BITS == 8 {
            largest(direction) / QUERY_MAX
        } else {
            self.step
        };
        let inverse = if step > 0.0 { 1.0 / step } else { 0.0 };
        let blocks = direction
            .chunks(BLOCK)
            .zip(row.chunks_mut(BLOCK * BITS as usize / 8));
        let mut product = 0.0;
        // Not by an iterator's own loop, which would not be compiled for the registers that this is.
        for (block, row) in blocks {
            product += Self::encode_block(inverse, block, row);
        }
        if !own && direction.len() <= BLOCK {
            let whole = 1.0 / self.factor();
            product += Self::make_up(inverse, direction, row, whole - product, whole * ENOUGH);
        }
        match own {
            false => self.factor(),
            true if product > 0.0 => 1.0 / product,
            true => 0.0,
        }
    }

    fn factor(&self) -> f32 {
        0.5 * self.step / Self::SHRINK
    }

    fn prepare(&self, query: &mut [f32], out: &mut LevelQuery) {
        let largest = largest(query);
        let density = density(QUERY_MAX, largest);
        out.codes.clear();
        out.codes.extend(query.iter().map(|x| nearest(x * density) as i8));
        out.unit = if density > 0.0 { 1.0 / density } else { 0.0 };
        Self::set_offset(out);
    }

    fn prepare_row(&self, row: &[u8], out: &mut LevelQuery) {
        out.codes.clear();
        if BITS == 8 {
            // Steps above zero.
            out.codes
                .extend(row.iter().map(|&code| ((code ^ 0x80) as i8).max(-127)));
            out.unit = 2.0;
        } else {
            for block in row.chunks(BLOCK / 2) {
                out.codes
                    .extend(block.iter().map(|&code| (code & 15) as i8 * 2 - 15));
                out.codes
                    .extend(block.iter().map(|&code| (code >> 4) as i8 * 2 - 15));
            }
            out.unit = 1.0;
        }
        Self::set_offset(out);
    }

    #[inline(always)]
    unsafe fn products(&self, query: &LevelQuery, rows: &[*const u8], out: &mut [f32]) {
        let mut sums = [0; GROUP];
        let sums = &mut sums[..rows.len()];
        if self.len <= BLOCK {
            // SAFETY: query and rows are as long as the code, padded for the kernel; no query code is -128.
            unsafe { (self.kernel)(&query.codes, rows, sums) };
            for (out, &sum) in out.iter_mut().zip(&*sums) {
                *out = query.unit * sum as f32 - query.offset;
            }
            return;
        }
        out.fill(-query.offset);
        let mut addresses = [std::ptr::null(); GROUP];
        for (at, block) in query.codes.chunks(BLOCK).enumerate() {
            for (address, row) in addresses.iter_mut().zip(rows) {
                *address = row.wrapping_add(at * BLOCK * BITS as usize / 8);
            }
            // SAFETY: as above, of a part of both; parts are multiples of the lane.
            unsafe { (self.kernel)(block, &addresses[..rows.len()], sums) };
            for (out, &sum) in out.iter_mut().zip(&*sums) {
                *out += query.unit * sum as f32;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::SmallRng};

    use super::*;

    #[test]
    fn codes_of_four_bits_are_right_along_what_they_were_made_from() {
        let (code, mut row) = (Levels::<4>::new(128), vec![0; 64]);
        let mut errors = Vec::new();
        for seed in 1..200u64 {
            let wave =
                |at: u64| ((at * at * seed * 2_654_435_761 % 1_000_003) as f32 / 1_000_003.0 - 0.5) * 2.0;
            let mut direction: Vec<f32> = (0..128)
                .map(|at| wave(at) + wave(at + 128) + wave(at + 256))
                .collect();
            let norm = direction.iter().map(|x| x * x).sum::<f32>().sqrt();
            direction.iter_mut().for_each(|x| *x /= norm);
            let factor = code.encode(&direction, false, &mut row);
            let of = |at: usize| (row[at % 64] >> (at / 64 * 4) & 15) as f32 * 2.0 - 15.0;
            let product: f32 = (0..128).map(|at| of(at) * direction[at]).sum();
            errors.push((factor * product - 1.0).abs());
        }
        errors.sort_by(f32::total_cmp);
        assert!(errors[100] < 5e-4 && errors[190] < 5e-3, "{errors:?}");
    }

    /// Coordinate by coordinate, as the codes are defined: without one for each lane.
    fn coded<const BITS: u32>(code: &Levels<BITS>, direction: &[f32], own: bool) -> Vec<i32> {
        let top = (1 << BITS) - 1;
        let half = Levels::<BITS>::BIAS as f32 / 2.0;
        let step = if own && BITS == 8 {
            largest(direction) / QUERY_MAX
        } else {
            code.step
        };
        let inverse = 1.0 / step;
        let mut codes: Vec<i32> = direction
            .iter()
            .map(|x| ((x * inverse + half).round_ties_even() as i32).clamp(0, top))
            .collect();
        // Of 4 bits a lane has one coordinate of each half in turn.
        let halves = if BITS == 8 { 1 } else { 2 };
        let part = direction.len() / halves;
        let mut sums = [0.0f32; LANES];
        for at in (0..part).flat_map(|at| (0..halves).map(move |half| at + half * part)) {
            sums[at % LANES] += (2.0 * codes[at] as f32 - 2.0 * half) * direction[at];
        }
        let whole = 1.0 / code.factor();
        let mut left = whole - sums.iter().sum::<f32>();
        'least: for least in [0.4, 0.25].iter().filter(|_| !own) {
            for (at, (code, &x)) in codes.iter_mut().zip(direction).enumerate() {
                if at % LANES == 0 && left.abs() <= whole * ENOUGH {
                    break 'least;
                }
                let off = x * inverse + half - *code as f32;
                let (other, more) = (*code + off.signum() as i32, 2.0 * x * off.signum());
                let is_near = (*least..0.5).contains(&off.abs());
                if is_near && (0..=top).contains(&other) && (left - more).abs() < left.abs() {
                    *code = other;
                    left -= more;
                }
            }
        }
        codes
    }

    fn codes_are_as_defined<const BITS: u32>() {
        let mut rng = SmallRng::seed_from_u64(3);
        for len in [128, 384, 1024] {
            let code = Levels::<BITS>::new(len);
            for spread in [0.1, 1.0, 8.0] {
                let unit = spread / (len as f32).sqrt();
                let direction: Vec<f32> = (0..len).map(|_| rng.random_range(-1.7..1.7) * unit).collect();
                for own in [false, true] {
                    let mut row = vec![0; code.bytes()];
                    code.encode(&direction, own, &mut row);
                    let mask = ((1u32 << BITS) - 1) as u8;
                    let of = |at: usize| (row[at % row.len()] >> (at / row.len() * 4) & mask).into();
                    let found: Vec<i32> = (0..len).map(of).collect();
                    assert_eq!(
                        found,
                        coded(&code, &direction, own),
                        "{BITS} {len} {spread} {own}"
                    );
                }
            }
        }
    }

    #[test]
    fn codes_are_those_of_each_coordinate_alone() {
        codes_are_as_defined::<8>();
        codes_are_as_defined::<4>();
    }

    #[test]
    fn what_has_no_size_to_speak_of_is_coded_as_nothing() {
        for tiny in [0.0, f32::MIN_POSITIVE, 1e-37, f32::NAN] {
            assert_eq!(density(QUERY_MAX, tiny), 0.0);
        }
        assert_eq!(density(QUERY_MAX, 0.5), 254.0);
    }
}
