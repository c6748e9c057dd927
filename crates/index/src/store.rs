//! The vectors themselves: appended rows, their norms, and distances from a prepared query to them.

use std::{io, ops::Range};

use longbow_kernels::{Metric, Number, Rows, Stored, prefetch_lines, rows};

use crate::{
    arena::Arena,
    error::Error,
    image::{Image, ImageError, Saver, Tag},
    key::SLOTS_MAX,
    space::{GROUP, Points, Space},
    sync::{AtomicU32, Mutex, Ordering},
};

/// Rows of one element type.
///
/// Rows are padded with zeros to whole cache lines, so kernels have no tails. For the cosine metric each slot also
/// has the reciprocal of its norm (0 for a zero vector, whose distance to everything is 1).
pub(crate) struct Store<T: Stored> {
    rows: Arena,
    scales: Arena,
    kernels: Rows<T>,
    metric: Metric,
    dimension: usize,
    padded: usize,
    /// Rows whose memory is asked for ahead of their use.
    ahead: usize,
    len: AtomicU32,
    writer: Mutex<()>,
}

/// A query made ready for distances: widened, padded, and of unit length for the cosine metric.
pub(crate) struct Query<T: Stored> {
    elements: Vec<T::Query>,
}

impl<T: Stored> Default for Query<T> {
    fn default() -> Self {
        Self { elements: Vec::new() }
    }
}

/// Rows whose kernels run together.
const GROUP_ROWS: usize = 4;
/// Memory that is asked for ahead of its use.
const AHEAD_BYTES: usize = 8192;
/// Memory of the rows that a scan takes together.
const TILE_BYTES: usize = 16 << 10;

impl<T: Stored> Store<T> {
    /// Slots appended.
    pub(crate) fn len(&self) -> u32 {
        self.len.load(Ordering::Acquire)
    }

    /// Elements of a vector.
    pub(crate) fn dimension(&self) -> usize {
        self.dimension
    }

    /// The elements of a slot that was written.
    #[inline(always)]
    pub(crate) fn row(&self, slot: u32) -> &[T] {
        // SAFETY: rows are `dimension` (and more) elements long, aligned to a line, initialised before anybody
        // is told the slot, not written again while anybody may read it, and live as long as the arena. Any bit
        // pattern is a valid element.
        unsafe { std::slice::from_raw_parts(self.rows.row(slot).cast::<T>(), self.dimension) }
    }

    /// The bytes a slot was appended with.
    pub(crate) fn bytes(&self, slot: u32) -> &[u8] {
        assert!(slot < self.len(), "slot {slot} was never appended");
        let row = self.row(slot);
        // SAFETY: elements are plain numbers without padding, so their bytes are initialised.
        unsafe { std::slice::from_raw_parts(row.as_ptr().cast(), size_of_val(row)) }
    }

    /// Bytes a slot is appended with.
    pub(crate) fn row_bytes(&self) -> usize {
        self.dimension * size_of::<T>()
    }

    /// Writes the row of a slot.
    ///
    /// # Safety
    /// [`Arena::ensure`] has made the slot available, and nobody reads or writes it meanwhile.
    unsafe fn write(&self, slot: u32, row: &[u8]) {
        assert_eq!(row.len(), self.row_bytes());
        // SAFETY: the row is `padded` elements long, `dimension` of them are written; the caller is alone with it.
        unsafe { std::ptr::copy_nonoverlapping(row.as_ptr(), self.rows.row(slot), row.len()) };
        if self.metric == Metric::Cosine {
            let squares = self.row(slot).iter().map(|x| x.to_query().wide().powi(2));
            let norm = squares.sum::<f64>().sqrt();
            let scale = if norm > 0.0 { (1.0 / norm) as f32 } else { 0.0 };
            // SAFETY: as above; a scale is one aligned f32.
            unsafe { self.scales.row(slot).cast::<f32>().write(scale) };
        }
    }

    fn fill(&self, elements: impl Iterator<Item = T::Query>, scale: Option<f64>, out: &mut Query<T>) {
        out.elements.clear();
        match scale {
            None => out.elements.extend(elements),
            Some(scale) => out.elements.extend(elements.map(|x| T::scale_query(x, scale))),
        }
        out.elements.resize(self.padded, T::Query::default());
    }

    /// 1 / norm of a slot below `len`, for the cosine metric.
    #[inline(always)]
    fn scale(&self, slot: u32) -> f32 {
        // SAFETY: the scale was written with the row.
        unsafe { self.scales.row(slot).cast::<f32>().read() }
    }

    /// Makes distances of what the kernels computed.
    #[inline(always)]
    fn finish(&self, slots: &[u32], out: &mut [f32]) {
        match self.metric {
            Metric::L2 => {}
            Metric::Dot => out.iter_mut().for_each(|d| *d = -*d),
            Metric::Cosine => {
                for (d, &slot) in out.iter_mut().zip(slots) {
                    *d = 1.0 - *d * self.scale(slot);
                }
            }
        }
    }

    #[inline(always)]
    fn group(&self, query: &Query<T>, slots: &[u32], out: &mut [f32]) {
        let mut addresses = [std::ptr::null::<T>(); GROUP_ROWS];
        let addresses = &mut addresses[..slots.len()];
        for (address, &slot) in addresses.iter_mut().zip(slots) {
            *address = self.rows.row(slot).cast();
        }
        let kernel = if self.metric == Metric::L2 {
            self.kernels.l2
        } else {
            self.kernels.dot
        };
        // SAFETY: the query and every row are `padded` elements long, a multiple of the lane; rows start on lines.
        unsafe { kernel(&query.elements, addresses, out) };
    }
}

impl<T: Stored> Space for Store<T> {
    type Query = Query<T>;

    fn prepare(&self, query: &[f32], out: &mut Query<T>) {
        let widened = query.iter().take(self.dimension).map(|&x| T::query_from_f32(x));
        let scale = (self.metric == Metric::Cosine).then(|| {
            let norm = widened.clone().map(|x| x.wide().powi(2)).sum::<f64>().sqrt();
            if norm > 0.0 { 1.0 / norm } else { 0.0 }
        });
        self.fill(widened, scale, out);
    }

    fn prepare_slot(&self, slot: u32, out: &mut Query<T>) {
        out.elements.resize(self.padded, T::Query::default());
        let (elements, rest) = out.elements.split_at_mut(self.dimension);
        T::widen(self.row(slot), elements);
        rest.fill(T::Query::default());
        if self.metric == Metric::Cosine {
            let scale = f64::from(self.scale(slot));
            elements.iter_mut().for_each(|x| *x = T::scale_query(*x, scale));
        }
    }

    #[inline(always)]
    fn distances(&self, query: &Query<T>, slots: &[u32], out: &mut [f32]) {
        debug_assert!(slots.len() <= GROUP && slots.len() == out.len());
        for &slot in slots.iter().take(self.ahead) {
            self.prefetch(slot);
        }
        for (at, (group, out)) in slots
            .chunks(GROUP_ROWS)
            .zip(out.chunks_mut(GROUP_ROWS))
            .enumerate()
        {
            for &slot in slots.iter().skip(at * GROUP_ROWS + self.ahead).take(GROUP_ROWS) {
                self.prefetch(slot);
            }
            self.group(query, group, out);
        }
        self.finish(slots, out);
    }

    fn bytes(&self) -> usize {
        self.rows.stride()
    }

    fn tile(&self) -> usize {
        (TILE_BYTES / self.rows.stride()).clamp(GROUP_ROWS, 32)
    }

    #[inline(always)]
    fn stream(&self, query: &Query<T>, slots: &[u32], ahead: &[u32], out: &mut [f32]) {
        let mut ahead = ahead.chunks(GROUP_ROWS);
        for (group, out) in slots.chunks(GROUP_ROWS).zip(out.chunks_mut(GROUP_ROWS)) {
            ahead
                .next()
                .into_iter()
                .flatten()
                .for_each(|&slot| self.prefetch(slot));
            self.group(query, group, out);
        }
        self.finish(slots, out);
    }

    #[inline(always)]
    fn prefetch(&self, slot: u32) {
        prefetch_lines(self.rows.row(slot), self.rows.stride() / 64);
    }
}

impl<T: Stored> Points for Store<T> {
    type Element = T;
    const QUANTIZED: bool = false;

    fn new(metric: Metric, dimension: usize, _seed: u64) -> Self {
        let padded = dimension.max(1).next_multiple_of(T::LANE);
        Self {
            rows: Arena::new(padded * size_of::<T>()),
            scales: Arena::new(size_of::<f32>()),
            kernels: rows::<T>(),
            metric,
            dimension,
            padded,
            ahead: (AHEAD_BYTES / (padded * size_of::<T>())).clamp(GROUP_ROWS, GROUP),
            len: AtomicU32::new(0),
            writer: Mutex::new(()),
        }
    }

    fn append(
        &self,
        bytes: &[u8],
        prepare: impl FnOnce(usize) -> Result<(), Error>,
        mut written: impl FnMut(u32),
    ) -> Result<Range<u32>, Error> {
        let row_bytes = self.row_bytes();
        if row_bytes == 0 || !bytes.len().is_multiple_of(row_bytes) {
            return Err(Error::Ragged {
                bytes: bytes.len(),
                row_bytes,
            });
        }
        let _writer = self.writer.lock();
        let first = self.len.load(Ordering::Relaxed);
        let end = first as usize + bytes.len() / row_bytes;
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
            unsafe { self.write(slot, row) };
            written(slot);
        }
        // Release pairs with `len`: whoever knows the slots finds their rows, and memory for all that belongs to them.
        self.len.store(slots.end, Ordering::Release);
        Ok(slots)
    }

    unsafe fn overwrite(&self, slot: u32, bytes: &[u8]) {
        assert!(slot < self.len(), "slot {slot} was never appended");
        // SAFETY: there is memory for every slot below `len`; the rest is passed on to the caller.
        unsafe { self.write(slot, bytes) };
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
        }
        self.len.store(image.slots(), Ordering::Relaxed);
        Ok(())
    }

    fn rows(&self) -> &Store<T> {
        self
    }
}
