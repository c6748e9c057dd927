//! Traversal on codes of 8 or 4 bits per dimension, without training.
//!
//! A vector's direction is rotated at random, after which its coordinates look Gaussian with a standard deviation of
//! 1/√d whatever the data. So one step, a fixed fraction of that deviation, fits every coordinate of every vector:
//! codes need no per-vector factor, and two codes are compared by an integer product. For L2 and dot the norm is kept
//! beside. The error of an inner product of unit vectors is about 5·10⁻⁴ with 8 bits and 6·10⁻³ with 4 at 384
//! dimensions; answers are refined on the vectors themselves.

use std::{io, ops::Range};

use longbow_kernels::{CODE_LANE, CodeFn, Metric, Number, Stored, codes, prefetch_line, prefetch_lines};

use crate::{
    arena::Arena,
    error::Error,
    image::{Image, ImageError, Saver, Tag},
    rotation::Rotation,
    space::{GROUP, Points, Space},
    store::Store,
};

/// Largest code of a query in magnitude.
const QUERY_MAX: f32 = 127.0;

/// Vectors with codes of `BITS` bits beside them.
pub(crate) struct Coded<T: Stored, const BITS: u32> {
    rows: Store<T>,
    codes: Arena,
    /// Per slot the norm; not for cosine.
    norms: Arena,
    rotation: Rotation,
    kernel: CodeFn,
    metric: Metric,
    /// Distance between two codes of a coordinate.
    step: f32,
}

/// A query as signed codes.
#[derive(Default)]
pub(crate) struct CodeQuery {
    codes: Vec<i8>,
    /// What the bias of the stored codes adds to every product.
    offset: i32,
    /// What one unit of a product is worth.
    unit: f32,
    /// Squared norm.
    square: f32,
    wide: Vec<f32>,
}

/// Rounds to the nearest integer without calling into the mathematics library.
#[inline(always)]
fn nearest(x: f32) -> f32 {
    // 1.5·2²³: adding it leaves no bits behind the point.
    const SHIFT: f32 = 12_582_912.0;
    (x + SHIFT) - SHIFT
}

fn norm_of(vector: &[f32]) -> f32 {
    let (lanes, rest) = vector.as_chunks::<8>();
    let mut sums = [0.0f64; 8];
    for lane in lanes {
        for (sum, &x) in sums.iter_mut().zip(lane) {
            *sum += f64::from(x) * f64::from(x);
        }
    }
    let rest: f64 = rest.iter().map(|&x| f64::from(x).powi(2)).sum();
    (sums.iter().sum::<f64>() + rest).sqrt() as f32
}

impl<T: Stored, const BITS: u32> Coded<T, BITS> {
    /// Steps in a standard deviation: 8 bits reach 4.5 deviations to either side, 4 bits are the best uniform
    /// quantizer of a Gaussian (Max 1960).
    const STEPS: f32 = if BITS == 8 { 127.0 / 4.5 } else { 1.0 / 0.335 };
    /// Twice the code of zero; a code `u` stands for `(2u - BIAS) / 2` steps.
    const BIAS: i32 = if BITS == 8 { 256 } else { 15 };

    fn code(&self, x: f32) -> u8 {
        let steps = x / self.step + Self::BIAS as f32 / 2.0;
        nearest(steps).clamp(0.0, ((1 << BITS) - 1) as f32) as u8
    }

    fn encode(&self, slot: u32, wide: &mut Vec<f32>) {
        wide.clear();
        wide.extend(self.rows.row(slot).iter().map(|x| x.to_query().wide() as f32));
        let norm = norm_of(wide);
        let scale = if norm > 0.0 { 1.0 / norm } else { 0.0 };
        wide.iter_mut().for_each(|x| *x *= scale);
        wide.resize(self.rotation.len(), 0.0);
        self.rotation.apply(wide);
        // SAFETY: nobody reads the slot and there is one writer; a row of codes is this long.
        let codes = unsafe { std::slice::from_raw_parts_mut(self.codes.row(slot), self.code_bytes()) };
        if BITS == 8 {
            for (code, &x) in codes.iter_mut().zip(&*wide) {
                *code = self.code(x);
            }
        } else {
            let (low, high) = wide.split_at(codes.len());
            for (code, (&a, &b)) in codes.iter_mut().zip(low.iter().zip(high)) {
                *code = self.code(a) | self.code(b) << 4;
            }
        }
        if self.metric != Metric::Cosine {
            // SAFETY: as above; a norm is one aligned f32.
            unsafe { self.norms.row(slot).cast::<f32>().write(norm) };
        }
    }

    fn code_bytes(&self) -> usize {
        self.rotation.len() * BITS as usize / 8
    }

    #[inline(always)]
    fn norm(&self, slot: u32) -> f32 {
        // SAFETY: written with the row, before anybody was told the slot, and not while anybody may read it.
        unsafe { self.norms.row(slot).cast::<f32>().read() }
    }

    #[inline(always)]
    fn codes(&self, slot: u32) -> &[u8] {
        // SAFETY: as `norm`; a row of codes is this long.
        unsafe { std::slice::from_raw_parts(self.codes.row(slot), self.code_bytes()) }
    }

    /// What stored codes add to products with these query codes, doubled.
    fn offset(codes: &[i8]) -> i32 {
        Self::BIAS * codes.iter().map(|&code| i32::from(code)).sum::<i32>()
    }
}

impl<T: Stored, const BITS: u32> Points for Coded<T, BITS> {
    type Element = T;
    const QUANTIZED: bool = true;

    fn new(metric: Metric, dimension: usize, seed: u64) -> Self {
        const { assert!(BITS == 8 || BITS == 4) };
        let padded = dimension.max(1).next_multiple_of(CODE_LANE * 8 / BITS as usize);
        Self {
            rows: Store::new(metric, dimension, seed),
            codes: Arena::new(padded * BITS as usize / 8),
            norms: Arena::new(size_of::<f32>()),
            rotation: Rotation::new(padded, seed),
            kernel: if BITS == 8 { codes().bytes } else { codes().nibbles },
            metric,
            step: 1.0 / (Self::STEPS * (padded as f32).sqrt()),
        }
    }

    fn append(
        &self,
        bytes: &[u8],
        prepare: impl FnOnce(usize) -> Result<(), Error>,
        mut written: impl FnMut(u32),
    ) -> Result<Range<u32>, Error> {
        let mut wide = Vec::new();
        let prepare = |slots| {
            self.codes.ensure(slots)?;
            if self.metric != Metric::Cosine {
                self.norms.ensure(slots)?;
            }
            prepare(slots)
        };
        self.rows.append(bytes, prepare, |slot| {
            self.encode(slot, &mut wide);
            written(slot);
        })
    }

    unsafe fn overwrite(&self, slot: u32, bytes: &[u8]) {
        // SAFETY: passed on to the caller; `encode` writes nothing but this slot either.
        unsafe { self.rows.overwrite(slot, bytes) };
        self.encode(slot, &mut Vec::new());
    }

    fn save(&self, to: &mut Saver<'_>) -> io::Result<()> {
        self.rows.save(to)?;
        to.plane(Tag::CODES, &self.codes)?;
        if self.metric != Metric::Cosine {
            to.plane(Tag::NORMS, &self.norms)?;
        }
        Ok(())
    }

    fn load(&mut self, image: &Image) -> Result<(), ImageError> {
        self.rows.load(image)?;
        self.codes = image.plane(Tag::CODES, self.codes.stride())?;
        if self.metric != Metric::Cosine {
            self.norms = image.plane(Tag::NORMS, self.norms.stride())?;
        }
        Ok(())
    }

    fn rows(&self) -> &Store<T> {
        &self.rows
    }
}

impl<T: Stored, const BITS: u32> Space for Coded<T, BITS> {
    type Query = CodeQuery;

    fn prepare(&self, query: &[f32], out: &mut CodeQuery) {
        let wide = &mut out.wide;
        wide.clear();
        wide.extend(query.iter().take(self.rows.dimension()));
        let norm = norm_of(wide);
        wide.resize(self.rotation.len(), 0.0);
        self.rotation.apply(wide);
        let largest = wide.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
        let density = if largest > 0.0 { QUERY_MAX / largest } else { 0.0 };
        out.codes.clear();
        out.codes.extend(wide.iter().map(|x| nearest(x * density) as i8));
        out.offset = Self::offset(&out.codes);
        out.square = norm * norm;
        out.unit = if largest > 0.0 {
            0.5 * self.step / density
        } else {
            0.0
        };
        if self.metric == Metric::Cosine && norm > 0.0 {
            out.unit /= norm;
        }
    }

    fn prepare_slot(&self, slot: u32, out: &mut CodeQuery) {
        out.codes.clear();
        let codes = self.codes(slot);
        // Steps above zero, and above half of them.
        if BITS == 8 {
            out.codes
                .extend(codes.iter().map(|&code| ((code ^ 0x80) as i8).max(-127)));
            out.unit = 0.5 * self.step * self.step;
        } else {
            out.codes
                .extend(codes.iter().map(|&code| (code & 15) as i8 * 2 - 15));
            out.codes
                .extend(codes.iter().map(|&code| (code >> 4) as i8 * 2 - 15));
            out.unit = 0.25 * self.step * self.step;
        }
        out.offset = Self::offset(&out.codes);
        if self.metric != Metric::Cosine {
            let norm = self.norm(slot);
            out.square = norm * norm;
            out.unit *= norm;
        }
    }

    #[inline(always)]
    fn distances(&self, query: &CodeQuery, slots: &[u32], out: &mut [f32]) {
        debug_assert!(slots.len() <= GROUP && slots.len() == out.len());
        let mut addresses = [std::ptr::null::<u8>(); GROUP];
        let addresses = &mut addresses[..slots.len()];
        for (address, &slot) in addresses.iter_mut().zip(slots) {
            *address = self.codes.row(slot);
            prefetch_lines(*address, self.codes.stride() / 64);
            if self.metric != Metric::Cosine {
                prefetch_line(self.norms.row(slot));
            }
        }
        let mut products = [0; GROUP];
        let products = &mut products[..slots.len()];
        // SAFETY: query and rows are as long as the rotation, padded for the kernel; no query code is -128.
        unsafe { (self.kernel)(&query.codes, addresses, products) };
        for ((out, &product), &slot) in out.iter_mut().zip(&*products).zip(slots) {
            let product = query.unit * (2 * i64::from(product) - i64::from(query.offset)) as f32;
            *out = match self.metric {
                Metric::Cosine => 1.0 - product,
                Metric::Dot => -product * self.norm(slot),
                Metric::L2 => {
                    let norm = self.norm(slot);
                    query.square + norm * (norm - 2.0 * product)
                }
            };
        }
    }

    fn bytes(&self) -> usize {
        self.codes.stride()
    }

    #[inline(always)]
    fn prefetch(&self, slot: u32) {
        prefetch_lines(self.codes.row(slot), self.codes.stride() / 64);
    }
}
