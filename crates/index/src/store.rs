//! The vectors themselves: appended rows, their norms, and distances from a prepared query to them.

use std::{io, mem::MaybeUninit, ops::Range, ptr};

use longbow_kernels::{Metric, ROW_ALIGN, prefetch_lines};

use crate::{
    arena::Arena,
    error::Error,
    extremes::{NEAR, is_told, is_usual, length},
    image::{Image, ImageError, Saver, Tag},
    key::SLOTS_MAX,
    kind::{GROUP_ROWS, Kind, Query, kind_of},
    params::Params,
    query::QueryVector,
    space::{GROUP, Points, Space},
    sync::{AtomicBool, AtomicU32, Mutex, Ordering},
};

/// Rows of one element type.
///
/// Rows are padded with zeros to whole cache lines, so kernels have no tails. For the cosine metric each slot also
/// has the reciprocal of its norm (0 for a zero vector, whose distance to everything is 1; [`UNUSUAL`] for a norm whose
/// reciprocal is no factor).
pub(crate) struct Store {
    rows: Arena,
    scales: Arena,
    kind: Box<dyn Kind>,
    metric: Metric,
    dimension: usize,
    padded: usize,
    /// Whether rows have more than 32 bits: then the kernels' answers are looked at, and some are done again.
    wide: bool,
    /// Whether there may be rows of an unusual norm.
    unusual: AtomicBool,
    /// Rows whose memory is asked for ahead of their use.
    ahead: usize,
    len: AtomicU32,
    writer: Mutex<Vec<f64>>,
}

/// Memory that is asked for ahead of its use.
const AHEAD_BYTES: usize = 8192;
/// Cache lines of a row that are asked for; the machine sees by itself what comes next. Asking for more keeps it from
/// that: a walk over rows of 1.5 KiB takes a third longer.
const LINES_MAX: usize = 12;
/// Memory of the rows that many queries are compared with before the next ones are read, and that a scan asks for ahead.
const TILE_BYTES: usize = 16 << 10;
/// Memory of the rows that a scan takes together: two places in it, read in turn, are far enough apart.
const STRETCH_BYTES: usize = 3 * TILE_BYTES;
/// Rows taken together at most.
const TILE_MAX: usize = 32;

/// Stands for the reciprocal of a norm with which kernels' products overflow or vanish: such rows are compared one by one.
const UNUSUAL: f32 = f32::INFINITY;

impl Store {
    /// Slots appended.
    pub(crate) fn len(&self) -> u32 {
        self.len.load(Ordering::Acquire)
    }

    /// Elements of a vector.
    pub(crate) fn dimension(&self) -> usize {
        self.dimension
    }

    /// The bytes of a slot that was written.
    #[inline(always)]
    pub(crate) fn row(&self, slot: u32) -> &[u8] {
        // SAFETY: rows are `dimension` (and more) elements long, initialised before anybody is told the slot, not
        // written again while anybody may read it, and live as long as the arena.
        unsafe { std::slice::from_raw_parts(self.rows.row(slot), self.row_bytes()) }
    }

    /// The bytes a slot was appended with.
    pub(crate) fn bytes(&self, slot: u32) -> &[u8] {
        assert!(slot < self.len(), "slot {slot} was never appended");
        self.row(slot)
    }

    /// Appends the elements of a slot that was written.
    pub(crate) fn values(&self, slot: u32, out: &mut Vec<f64>) {
        self.values_of(self.row(slot), out);
    }

    /// Bytes of memory that the vectors take, and that one more takes.
    pub(crate) fn memory(&self) -> (usize, usize) {
        let scale = match self.metric {
            Metric::Cosine => self.scales.stride(),
            Metric::L2 | Metric::Dot => 0,
        };
        (
            self.rows.memory() + self.scales.memory(),
            self.rows.stride() + scale,
        )
    }

    /// Appends the elements of a row's bytes.
    pub(crate) fn values_of(&self, row: &[u8], out: &mut Vec<f64>) {
        self.kind.values(row, out);
    }

    /// How many rows some bytes are.
    pub(crate) fn count(&self, bytes: &[u8]) -> Result<usize, Error> {
        let row_bytes = self.row_bytes();
        if row_bytes == 0 || !bytes.len().is_multiple_of(row_bytes) {
            return Err(Error::Ragged {
                bytes: bytes.len(),
                row_bytes,
            });
        }
        Ok(bytes.len() / row_bytes)
    }

    /// Bytes a slot is appended with.
    pub(crate) fn row_bytes(&self) -> usize {
        self.dimension * self.kind.size()
    }

    /// Writes the row of a slot. `wide` is scratch.
    ///
    /// # Safety
    /// [`Arena::ensure`] has made the slot available, and nobody reads or writes it meanwhile.
    unsafe fn write(&self, slot: u32, row: &[u8], wide: &mut Vec<f64>) {
        assert_eq!(row.len(), self.row_bytes());
        self.rows.touch(slot);
        // SAFETY: the row is `padded` elements long, `dimension` of them are written; the caller is alone with it.
        unsafe { ptr::copy_nonoverlapping(row.as_ptr(), self.rows.row(slot), row.len()) };
        if self.metric == Metric::Cosine {
            wide.clear();
            self.values(slot, wide);
            let norm = length(wide);
            let scale = if is_usual(norm) {
                (1.0 / norm) as f32
            } else if norm > 0.0 {
                // Published with the slot.
                self.unusual.store(true, Ordering::Relaxed);
                UNUSUAL
            } else {
                0.0
            };
            self.scales.touch(slot);
            // SAFETY: as above; a scale is one aligned f32.
            unsafe { self.scales.row(slot).cast::<f32>().write(scale) };
        }
    }

    /// 1 / norm of a slot below `len`, for the cosine metric.
    #[inline(always)]
    fn scale(&self, slot: u32) -> f32 {
        // SAFETY: the scale was written with the row.
        unsafe { self.scales.row(slot).cast::<f32>().read() }
    }

    /// Compares at most [`GROUP`] slots while it asks for the memory of `next`.
    #[inline(always)]
    fn compare(&self, query: &Query, slots: &[u32], next: &[u32], out: &mut [f32]) {
        debug_assert!(slots.len() <= GROUP && slots.len() == out.len());
        let (mut rows, mut ahead) = ([MaybeUninit::uninit(); GROUP], [MaybeUninit::uninit(); GROUP]);
        let rows = self.addresses(slots, &mut rows);
        let ahead = self.addresses(next, &mut ahead);
        // SAFETY: the query was made ready by this kind, and like every row is `padded` elements long; rows start on
        // lines.
        unsafe {
            self.kind
                .compare(self.metric, query, rows, ahead, self.lines(), out)
        };
        self.finish(query, slots, out);
    }

    /// Makes distances of what kernels say.
    #[inline(always)]
    fn finish(&self, query: &Query, slots: &[u32], out: &mut [f32]) {
        match self.metric {
            Metric::L2 => {}
            Metric::Dot => out.iter_mut().for_each(|d| *d = -*d),
            Metric::Cosine => {
                for (d, &slot) in out.iter_mut().zip(slots) {
                    *d = 1.0 - *d * self.scale(slot);
                }
            }
        }
        if self.wide || self.unusual.load(Ordering::Relaxed) {
            self.compare_again(query, slots, out);
        }
    }

    /// Does distances again that the kernels could not tell.
    #[inline(never)]
    fn compare_again(&self, query: &Query, slots: &[u32], out: &mut [f32]) {
        for (d, &slot) in out.iter_mut().zip(slots) {
            let told = match self.metric {
                Metric::Cosine => self.is_usual(slot) && !(self.wide && *d < NEAR),
                Metric::L2 | Metric::Dot => is_told(*d),
            };
            if !told {
                *d = self.kind.distance(self.metric, query, self.row(slot));
            }
        }
    }

    /// Whether a slot's scale is a factor.
    #[inline(always)]
    fn is_usual(&self, slot: u32) -> bool {
        let scale = self.scale(slot);
        is_told(scale) || scale == 0.0
    }

    #[inline(always)]
    fn addresses<'a>(&self, slots: &[u32], out: &'a mut [MaybeUninit<*const u8>; GROUP]) -> &'a [*const u8] {
        for (address, &slot) in out.iter_mut().zip(slots) {
            address.write(self.rows.row(slot));
        }
        // SAFETY: as many were written just now.
        unsafe { std::slice::from_raw_parts(out.as_ptr().cast(), slots.len().min(GROUP)) }
    }

    /// Whether elements have more than 32 bits.
    pub(crate) fn is_wide(&self) -> bool {
        self.wide
    }

    /// Whether slots, and then the next ones, follow each other in memory. What lies behind such rows is fetched by the
    /// processor itself if they are read one by one: twice as fast as a few side by side.
    #[inline(always)]
    fn is_run(&self, slots: &[u32], ahead: &[u32]) -> bool {
        let (Some(&first), Some(&last)) = (slots.first(), ahead.last()) else {
            return false;
        };
        // Slots ascend where they are many, so that nothing else fits between.
        let apart = self
            .rows
            .row(last)
            .addr()
            .wrapping_sub(self.rows.row(first).addr());
        apart == (slots.len() + ahead.len() - 1) * self.rows.stride()
    }

    /// Cache lines of a row that are asked for.
    #[inline(always)]
    fn lines(&self) -> usize {
        (self.rows.stride() / ROW_ALIGN).min(LINES_MAX)
    }
}

impl Space for Store {
    type Query = Query;

    fn prepare(&self, query: QueryVector<'_>, out: &mut Query) {
        let unit = self.metric == Metric::Cosine;
        self.kind.prepare(query, unit, self.padded, out);
    }

    fn prepare_slot(&self, slot: u32, out: &mut Query) {
        let unit = self.metric == Metric::Cosine;
        if unit && (self.wide || !self.is_usual(slot)) {
            // Their scale has not the precision that the row has.
            return self.prepare(QueryVector::Row(self.row(slot)), out);
        }
        let scale = unit.then(|| f64::from(self.scale(slot)));
        self.kind.prepare_row(self.row(slot), scale, self.padded, out);
    }

    #[inline(always)]
    fn distances(&self, query: &Query, slots: &[u32], out: &mut [f32]) {
        let (first, rest) = slots.split_at(slots.len().min(self.ahead));
        first.iter().for_each(|&slot| self.prefetch(slot));
        self.compare(query, slots, rest, out);
    }

    fn bytes(&self) -> usize {
        self.rows.stride()
    }

    fn tile(&self) -> usize {
        (TILE_BYTES / self.rows.stride()).clamp(GROUP_ROWS, TILE_MAX)
    }

    fn stretch(&self) -> usize {
        (STRETCH_BYTES / self.rows.stride()).clamp(GROUP_ROWS, TILE_MAX)
    }

    #[inline(always)]
    fn stream(&self, query: &Query, slots: &[u32], ahead: &[u32], out: &mut [f32]) {
        if self.is_run(slots, ahead) {
            let mut rows = [MaybeUninit::uninit(); GROUP];
            let rows = self.addresses(slots, &mut rows);
            // SAFETY: as in `compare`.
            unsafe { self.kind.compare_run(self.metric, query, rows, out) };
            return self.finish(query, slots, out);
        }
        // A tile ahead, and no more, or they are gone from the nearest cache again.
        let (mut next, mut count) = ([0; GROUP], 0);
        let following = slots.iter().chain(ahead).skip(self.tile());
        for (next, &slot) in next[..slots.len()].iter_mut().zip(following) {
            *next = slot;
            count += 1;
        }
        self.compare(query, slots, &next[..count], out);
    }

    #[inline(always)]
    fn prefetch(&self, slot: u32) {
        prefetch_lines(self.rows.row(slot), self.lines());
    }
}

impl Points for Store {
    const QUANTIZED: bool = false;

    fn new(params: &Params) -> Self {
        let kind = kind_of(params.element);
        let padded = params.dimension.max(1).next_multiple_of(ROW_ALIGN / kind.size());
        let stride = padded * kind.size();
        Self {
            rows: Arena::new(stride),
            scales: Arena::new(size_of::<f32>()),
            wide: kind.is_wide(),
            unusual: AtomicBool::new(false),
            kind,
            metric: params.metric,
            dimension: params.dimension,
            padded,
            ahead: (AHEAD_BYTES / stride).clamp(GROUP_ROWS, GROUP),
            len: AtomicU32::new(0),
            writer: Mutex::new(Vec::new()),
        }
    }

    fn append(
        &self,
        bytes: &[u8],
        prepare: impl FnOnce(usize) -> Result<(), Error>,
        mut written: impl FnMut(u32),
    ) -> Result<Range<u32>, Error> {
        let (rows, row_bytes) = (self.count(bytes)?, self.row_bytes());
        let mut wide = self.writer.lock();
        let first = self.len.load(Ordering::Relaxed);
        let end = first as usize + rows;
        if end > SLOTS_MAX as usize {
            return Err(Error::Full { limit: SLOTS_MAX });
        }
        self.rows.ensure(end)?;
        if self.metric == Metric::Cosine {
            self.scales.ensure(end)?;
        }
        prepare(end)?;
        let slots = first..end as u32;
        for (slot, row) in slots.clone().zip(bytes.chunks_exact(row_bytes)) {
            // SAFETY: slots at or above `len` are read by nobody, and the lock makes this the only writer.
            unsafe { self.write(slot, row, &mut wide) };
            written(slot);
        }
        // Release pairs with `len`: whoever knows the slots finds their rows, and memory for all that belongs to them.
        self.len.store(slots.end, Ordering::Release);
        Ok(slots)
    }

    unsafe fn overwrite(&self, slot: u32, bytes: &[u8]) {
        assert!(slot < self.len(), "slot {slot} was never appended");
        // SAFETY: there is memory for every slot below `len`; the rest is passed on to the caller.
        unsafe { self.write(slot, bytes, &mut self.writer.lock()) };
    }

    fn save(&self, to: &mut Saver<'_>) -> io::Result<()> {
        to.plane(Tag::VECTORS, &self.rows)?;
        if self.metric == Metric::Cosine {
            to.plane(Tag::SCALES, &self.scales)?;
        }
        Ok(())
    }

    fn load(&mut self, image: &Image) -> Result<(), ImageError> {
        self.rows = image.plane(Tag::VECTORS, self.rows.stride())?;
        if self.metric == Metric::Cosine {
            self.scales = image.plane(Tag::SCALES, self.scales.stride())?;
            let unusual = (0..image.slots()).any(|slot| !self.is_usual(slot));
            self.unusual.store(unusual, Ordering::Relaxed);
        }
        self.len.store(image.slots(), Ordering::Relaxed);
        Ok(())
    }

    fn rows(&self) -> &Store {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Element;

    #[test]
    fn only_rows_that_follow_each_other_are_a_run() {
        let store = Store::new(&Params::new(Element::F32, Metric::L2, 3));
        store.append(&[0; 12 * 300], |_| Ok(()), |_| ()).unwrap();
        assert!(store.is_run(&[0, 1, 2], &[3]));
        assert!(store.is_run(&[4], &[5, 6]));
        assert!(!store.is_run(&[0, 1, 3], &[4]));
        assert!(!store.is_run(&[0, 1], &[3]));
        // The last rows.
        assert!(!store.is_run(&[0, 1], &[]));
        // Memory goes on elsewhere behind the first 256.
        assert!(!store.is_run(&[254, 255], &[256, 257]));
    }
}
