//! Traversal on codes: vectors with a row of small integers beside each; answers are refined on the vectors.
//!
//! Vectors are rotated at random, so that no coordinate stands out, and coded as `code` says, around a centre where
//! that pays (`plane`, `training`). When the data drifts the codes are made anew (`planes`).

use std::{io, ops::Range, ptr};

use longbow_kernels::{prefetch_line, prefetch_lines};

use crate::{
    code::Code,
    error::Error,
    image::{Image, ImageError, Saver},
    kind::Query,
    params::Params,
    plane::{Plane, Wide, norm_of},
    planes::Planes,
    query::QueryVector,
    rotation::Rotation,
    space::{GROUP, Points, Space},
    store::Store,
};

/// Vectors with codes beside them.
pub(crate) struct Coded<C: Code> {
    rows: Store,
    planes: Planes<C>,
    /// Bytes of a code, whatever the plane.
    code_bytes: usize,
}

/// A query made ready for one plane.
pub(crate) struct CodeQuery<C: Code> {
    plane: *const Plane<C>,
    code: C::Query,
    base: f32,
    t: f32,
    /// What a product of codes is multiplied with beside the slot's factor.
    unit: f32,
    /// Length of what is compared with codes, by the noise of a code.
    noise: f32,
    /// Whether it is a slot compared on the vectors, which then are what matters.
    on_vectors: bool,
    vectors: Query,
    wide: Wide,
    values: Vec<f64>,
}

impl<C: Code> Default for CodeQuery<C> {
    fn default() -> Self {
        Self {
            plane: ptr::null(),
            code: C::Query::default(),
            base: 0.0,
            t: 0.0,
            unit: 0.0,
            noise: 0.0,
            on_vectors: false,
            vectors: Query::default(),
            wide: Vec::new(),
            values: Vec::new(),
        }
    }
}

// SAFETY: the plane is only read, by whichever thread made the query ready last.
unsafe impl<C: Code> Send for CodeQuery<C> {}

impl<C: Code> CodeQuery<C> {
    #[inline(always)]
    fn plane(&self) -> &Plane<C> {
        // SAFETY: set to a plane in use when the query was made ready; planes are dropped when every epoch pinned
        // until they were replaced is gone, and one is pinned from before `prepare` to the last use (`Space`).
        unsafe { &*self.plane }
    }
}

impl<C: Code> Points for Coded<C> {
    const QUANTIZED: bool = true;
    const LINKED_BY_ESTIMATE: bool = !C::LINKED_ON_VECTORS;

    fn new(params: &Params) -> Self {
        let len = params.dimension.max(1).next_multiple_of(C::LANE);
        let rotation = Rotation::new(len, params.seed);
        Self {
            rows: Store::new(params),
            planes: Planes::new(params.metric, params.dimension, rotation),
            code_bytes: C::new(len).bytes(),
        }
    }

    fn append(
        &self,
        bytes: &[u8],
        prepare: impl FnOnce(usize) -> Result<(), Error>,
        mut written: impl FnMut(u32),
    ) -> Result<Range<u32>, Error> {
        let mut writing = self.planes.write();
        let ensured = std::cell::RefCell::new(&mut *writing);
        let prepare = |slots| {
            ensured.borrow_mut().ensure(slots)?;
            prepare(slots)
        };
        self.rows.append(bytes, prepare, |slot| {
            // SAFETY: made available above, under this lock, and not published yet.
            unsafe { self.planes.add(&mut ensured.borrow_mut(), &self.rows, slot) };
            written(slot);
        })
    }

    unsafe fn overwrite(&self, slot: u32, bytes: &[u8]) {
        let mut writing = self.planes.write();
        assert!(slot < self.rows.len(), "slot {slot} was never appended");
        // SAFETY: passed on to the caller; the lock keeps out whoever makes codes of it meanwhile.
        unsafe {
            self.rows.overwrite(slot, bytes);
            self.planes.replace(&mut writing, &self.rows, slot);
        }
    }

    fn save(&self, to: &mut Saver<'_>) -> io::Result<()> {
        self.rows.save(to)?;
        self.planes.save(&self.rows, to)
    }

    fn load(&mut self, image: &Image) -> Result<(), ImageError> {
        self.rows.load(image)?;
        self.planes.load(image)
    }

    fn code_memory(&self) -> (usize, usize) {
        self.planes.memory()
    }

    fn rows(&self) -> &Store {
        &self.rows
    }

    fn removed(&self, rows: usize) {
        self.planes.removed(rows);
    }

    fn retrain(&self, max: usize, is_held: &dyn Fn(u32) -> bool) -> usize {
        self.planes.retrain(&self.rows, max, is_held)
    }
}

impl<C: Code> Space for Coded<C> {
    type Query = CodeQuery<C>;
    const CANDIDATES: usize = C::CANDIDATES;
    const MIXED_SHARE: usize = C::MIXED_SHARE;
    const TELLING: f64 = C::TELLING;

    fn prepare(&self, query: QueryVector<'_>, out: &mut CodeQuery<C>) {
        out.on_vectors = false;
        out.plane = self.planes.present();
        // SAFETY: as `CodeQuery::plane`.
        let plane = unsafe { &*out.plane };
        let wide = &mut out.wide;
        wide.clear();
        (out.base, out.t) = match query {
            QueryVector::F32(query) => {
                wide.extend(query);
                plane.centre_query(wide)
            }
            QueryVector::F64(query) => plane.centre_wide(query.iter().copied(), wide),
            QueryVector::Row(row) => {
                out.values.clear();
                self.rows.values_of(row, &mut out.values);
                plane.centre_wide(out.values.iter().copied(), wide)
            }
        };
        wide.resize(self.planes.rotation.len(), 0.0);
        self.planes.rotation.apply(wide);
        out.noise = norm_of(wide) as f32 * C::NOISE;
        out.unit = if plane.factored { 1.0 } else { plane.code.factor() };
        plane.code.prepare(wide, &mut out.code);
    }

    fn prepare_slot(&self, slot: u32, out: &mut CodeQuery<C>) {
        if C::LINKED_ON_VECTORS {
            out.on_vectors = true;
            return self.rows.prepare_slot(slot, &mut out.vectors);
        }
        out.plane = self.planes.present();
        // SAFETY: as `CodeQuery::plane`.
        let plane = unsafe { &*out.plane };
        plane.code.prepare_row(plane.row(slot), &mut out.code);
        let (base, t, unit) = plane.slot_query(slot);
        (out.base, out.t) = (base, t);
        out.unit = if plane.factored {
            unit
        } else {
            unit * plane.code.factor()
        };
    }

    #[inline(always)]
    fn distances(&self, query: &CodeQuery<C>, slots: &[u32], out: &mut [f32]) {
        debug_assert!(slots.len() <= GROUP && slots.len() == out.len());
        if C::LINKED_ON_VECTORS && query.on_vectors {
            return self.rows.distances(&query.vectors, slots, out);
        }
        let plane = query.plane();
        let mut addresses = [ptr::null::<u8>(); GROUP];
        let addresses = &mut addresses[..slots.len()];
        for (address, &slot) in addresses.iter_mut().zip(slots) {
            *address = plane.address(slot);
            prefetch_lines(*address, plane.lines());
            if plane.factored && !C::INLINE {
                prefetch_line(plane.factors_row(slot).cast());
            }
        }
        // SAFETY: rows are as long as the plane's code says, and the query was made ready for it.
        unsafe { plane.code.products(&query.code, addresses, out) };
        if plane.factored {
            for (out, &slot) in out.iter_mut().zip(slots) {
                let factors = plane.factors(slot);
                *out = query.base + query.t * factors.a + factors.b * (query.unit * *out);
            }
        } else {
            // Directions around no centre: the base is 1.
            for out in out {
                *out = query.base - query.unit * *out;
            }
        }
    }

    fn bytes(&self) -> usize {
        self.code_bytes
    }

    #[inline(always)]
    fn prefetch(&self, slot: u32) {
        // SAFETY: as `CodeQuery::plane`; nothing is read.
        let plane = unsafe { &*self.planes.present() };
        prefetch_lines(plane.address(slot), plane.lines());
    }

    #[inline(always)]
    fn deviation(&self, query: &CodeQuery<C>, slot: u32) -> f32 {
        query.noise * query.plane().factors(slot).b.abs()
    }

    fn deviation_between(&self, one: u32, other: u32) -> f32 {
        if C::LINKED_ON_VECTORS {
            return 0.0;
        }
        // SAFETY: as `CodeQuery::plane`.
        let plane = unsafe { &*self.planes.present() };
        let (_, _, unit) = plane.slot_query(one);
        C::NOISE * unit / plane.code.factor() * plane.factors(other).b.abs()
    }
}
