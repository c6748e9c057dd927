//! The codes of all slots, made with one centre.
//!
//! What is coded is the direction of the residual `r = x - c` after rotation; its length and what the centre adds are
//! two factors beside the code. With them every metric has the form `base + t·a + b·⟨q', k⟩`, in which only `a` and
//! `b` are the slot's:
//!
//! | metric | q' | base | t | a | b |
//! |---|---|---|---|---|---|
//! | L2 | q - c | ‖q - c‖² | 1 | ‖r‖² | -2‖r‖f |
//! | dot | q - tc | -t‖c‖² - ⟨q - tc, c⟩ | ⟨q, c⟩ / ‖c‖² | -⟨c, r⟩ | -‖r‖f |
//! | cosine | as dot, of directions | 1 + as dot | as dot | -⟨c, r⟩ | -‖r‖f |
//!
//! `f` is the factor of the code. `a` comes from the vector, not from its code. Directions that are not centred need no
//! factors: their residuals have length 1.

use std::io;

use longbow_kernels::{Metric, Vectorize, vectorize};

use crate::{
    arena::Arena,
    code::Code,
    error::Error,
    extremes::Unit,
    image::{Image, ImageError, Saver, Tag},
    lanes::{dot, sum},
    rotation::Rotation,
};

/// What a slot's codes are multiplied with.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C, align(8))]
pub(crate) struct Factors {
    pub(crate) a: f32,
    pub(crate) b: f32,
}

/// See the module. Readers and the writer of a slot keep out of each other's way as they do for the vectors.
pub(crate) struct Plane<C: Code> {
    pub(crate) code: C,
    /// Subtracted before coding; empty for none.
    centre: Vec<f32>,
    centre_square: f64,
    /// Whether slots have factors.
    pub(crate) factored: bool,
    codes: Arena,
    factors: Arena,
    metric: Metric,
    len: usize,
}

/// Scratch of encoding: a rotated residual.
pub(crate) type Wide = Vec<f32>;

/// Length of a vector.
#[inline(always)]
pub(crate) fn norm_of(vector: &[f32]) -> f64 {
    sum(vector, |x| f64::from(x) * f64::from(x)).sqrt()
}

/// A row on its way to a code.
struct Encoding<'a, C: Code> {
    plane: &'a Plane<C>,
    row: &'a [f64],
    norm: f64,
    rotation: &'a Rotation,
    wide: &'a mut Wide,
    codes: &'a mut [u8],
}

/// What is left of a row without the centre.
struct Residual {
    length: f64,
    /// Its product with the centre.
    along: f64,
    /// The factor of its code.
    factor: f32,
}

impl<C: Code> Vectorize for Encoding<'_, C> {
    type Output = Residual;

    #[inline(always)]
    fn run(self) -> Residual {
        let Self {
            plane,
            row,
            norm,
            rotation,
            wide,
            codes,
        } = self;
        let scale = match plane.metric {
            // Of the smallest numbers the reciprocal is none.
            Metric::Cosine if norm > 0.0 => (1.0 / norm).min(f64::MAX),
            Metric::Cosine => 0.0,
            _ => 1.0,
        };
        wide.clear();
        wide.resize(rotation.len(), 0.0);
        let residual = &mut wide[..row.len()];
        for (left, x) in residual.iter_mut().zip(row) {
            *left = (x * scale) as f32;
        }
        if !plane.centre.is_empty() {
            for (left, (x, &c)) in residual.iter_mut().zip(row.iter().zip(&plane.centre)) {
                *left = (x * scale - f64::from(c)) as f32;
            }
        }
        let length = norm_of(residual);
        let along = dot(residual, &plane.centre);
        if !length.is_finite() {
            // No direction; the code of none is near to nothing.
            residual.fill(0.0);
        } else if length > 0.0 {
            let inverse = 1.0 / length;
            for left in residual {
                *left = (f64::from(*left) * inverse) as f32;
            }
        }
        rotation.apply(wide);
        let factor = plane.code.encode(wide, plane.factored, codes);
        Residual {
            length,
            along,
            factor,
        }
    }
}

impl<C: Code> Plane<C> {
    pub(crate) fn new(metric: Metric, len: usize, centre: Vec<f32>) -> Self {
        let code = C::new(len);
        Self {
            codes: Arena::new(code.bytes()),
            factors: Arena::new(size_of::<Factors>()),
            centre_square: norm_of(&centre).powi(2),
            factored: C::INLINE || metric != Metric::Cosine || !centre.is_empty(),
            code,
            centre,
            metric,
            len,
        }
    }

    /// Bytes of memory that the codes take, and that one more takes.
    pub(crate) fn memory(&self) -> (usize, usize) {
        let factors = if self.factored && !C::INLINE {
            self.factors.stride()
        } else {
            0
        };
        (
            self.codes.memory() + self.factors.memory(),
            self.codes.stride() + factors,
        )
    }

    /// Coordinates of what is coded.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn centre(&self) -> &[f32] {
        &self.centre
    }

    /// Makes slots `0..slots` available.
    pub(crate) fn ensure(&self, slots: usize) -> Result<(), Error> {
        if self.factored && !C::INLINE {
            self.factors.ensure(slots)?;
        }
        self.codes.ensure(slots)
    }

    /// Writes the code of a slot; `norm` is the row's length.
    ///
    /// # Safety
    /// [`Plane::ensure`] has made the slot available, and nobody reads or writes it meanwhile.
    pub(crate) unsafe fn encode(
        &self,
        slot: u32,
        row: &[f64],
        norm: f64,
        rotation: &Rotation,
        wide: &mut Wide,
    ) {
        self.codes.touch(slot);
        // SAFETY: the caller is alone with the slot; a row of codes is this long.
        let codes = unsafe { std::slice::from_raw_parts_mut(self.codes.row(slot), self.code.bytes()) };
        let Residual {
            length,
            along,
            factor,
        } = vectorize(Encoding {
            plane: self,
            row,
            norm,
            rotation,
            wide,
            codes,
        });
        if self.factored {
            let b = (length * f64::from(factor)) as f32;
            let factors = match self.metric {
                Metric::L2 => Factors {
                    a: (length * length) as f32,
                    b: -2.0 * b,
                },
                _ => Factors {
                    a: -along as f32,
                    b: -b,
                },
            };
            if !C::INLINE {
                self.factors.touch(slot);
            }
            // SAFETY: as above; a slot's factors are aligned as they need to be.
            unsafe { self.factors_row(slot).write(factors) };
        }
    }

    #[inline(always)]
    pub(crate) fn factors_row(&self, slot: u32) -> *mut Factors {
        if C::INLINE {
            self.codes.row(slot).wrapping_add(self.code.factors_at()).cast()
        } else {
            self.factors.row(slot).cast()
        }
    }

    /// A slot's factors; what fits every direction where slots have none.
    #[inline(always)]
    pub(crate) fn factors(&self, slot: u32) -> Factors {
        if self.factored {
            // SAFETY: written with the code, before anybody was told the slot, and not while anybody may read it.
            unsafe { self.factors_row(slot).read() }
        } else {
            Factors {
                a: 0.0,
                b: -self.code.factor(),
            }
        }
    }

    #[inline(always)]
    pub(crate) fn address(&self, slot: u32) -> *const u8 {
        self.codes.row(slot)
    }

    /// Cache lines of a code.
    #[inline(always)]
    pub(crate) fn lines(&self) -> usize {
        self.codes.stride() / 64
    }

    /// The code of a slot.
    pub(crate) fn row(&self, slot: u32) -> &[u8] {
        // SAFETY: as `factors`; a row of codes is this long.
        unsafe { std::slice::from_raw_parts(self.codes.row(slot), self.code.bytes()) }
    }

    /// Turns a query into what is rotated and compared, and says what it adds: (base, t).
    pub(crate) fn centre_query(&self, query: &mut [f32]) -> (f32, f32) {
        let cosine = self.metric == Metric::Cosine;
        if cosine {
            let norm = norm_of(query);
            let scale = if norm > 0.0 { 1.0 / norm } else { 0.0 };
            query.iter_mut().for_each(|x| *x = (f64::from(*x) * scale) as f32);
        }
        let along = dot(query, &self.centre);
        let t = match self.metric {
            Metric::L2 => 1.0,
            _ if self.centre_square > 0.0 => along / self.centre_square,
            _ => 0.0,
        };
        for (x, &c) in query.iter_mut().zip(&self.centre) {
            *x = (f64::from(*x) - t * f64::from(c)) as f32;
        }
        let base = match self.metric {
            Metric::L2 => norm_of(query).powi(2),
            Metric::Dot => -along,
            Metric::Cosine => 1.0 - along,
        };
        (base as f32, t as f32)
    }

    /// As [`Plane::centre_query`], of numbers that 32 bits do not hold, into `query`.
    pub(crate) fn centre_wide(
        &self,
        values: impl Iterator<Item = f64> + Clone,
        query: &mut Wide,
    ) -> (f32, f32) {
        query.clear();
        match self.metric {
            Metric::Cosine => {
                let unit = Unit::of(values.clone());
                query.extend(values.map(|x| unit.times(x) as f32));
            }
            Metric::L2 if !self.centre.is_empty() => {
                // What is left may be far smaller than what is rounded away if the number is rounded first.
                query.extend(values.zip(&self.centre).map(|(x, &c)| (x - f64::from(c)) as f32));
                return (norm_of(query).powi(2) as f32, 1.0);
            }
            Metric::L2 | Metric::Dot => query.extend(values.map(|x| x as f32)),
        }
        self.centre_query(query)
    }

    /// What a slot adds as a query: (base, t, length of its code's unit).
    pub(crate) fn slot_query(&self, slot: u32) -> (f32, f32, f32) {
        let Factors { a, b } = self.factors(slot);
        let square = self.centre_square as f32;
        match self.metric {
            Metric::L2 => (a, 1.0, -0.5 * b),
            Metric::Dot => (a - square, 1.0, -b),
            Metric::Cosine => (1.0 + a - square, 1.0, -b),
        }
    }

    /// Writes the codes and what they were made with.
    pub(crate) fn save(&self, to: &mut Saver<'_>) -> io::Result<()> {
        let centre: Vec<u8> = self.centre.iter().flat_map(|c| c.to_le_bytes()).collect();
        to.bytes(Tag::CENTRE, &centre)?;
        to.plane(Tag::CODES, &self.codes)?;
        if self.factored && !C::INLINE {
            to.plane(Tag::FACTORS, &self.factors)?;
        }
        Ok(())
    }

    /// The codes of an image. Any bytes are a code, and any numbers factors.
    pub(crate) fn load(
        metric: Metric,
        len: usize,
        dimension: usize,
        image: &Image,
    ) -> Result<Self, ImageError> {
        let centre = image.bytes(Tag::CENTRE)?;
        let (centre, rest) = centre.as_chunks::<4>();
        if !rest.is_empty() || !(centre.is_empty() || centre.len() == dimension) {
            return Err(image.damaged_at(Tag::CENTRE, 0, "it has another dimension"));
        }
        let mut plane = Self::new(
            metric,
            len,
            centre.iter().map(|&c| f32::from_le_bytes(c)).collect(),
        );
        plane.codes = image.plane(Tag::CODES, plane.codes.stride())?;
        if plane.factored && !C::INLINE {
            plane.factors = image.plane(Tag::FACTORS, plane.factors.stride())?;
        }
        Ok(plane)
    }
}
