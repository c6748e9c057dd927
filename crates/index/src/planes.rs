//! Which codes are in use, and how they are made anew beside searches and writers.
//!
//! A query is made ready for the plane in use and keeps to it. When the data has drifted, a new plane is filled a piece
//! at a time; writers keep what is filled of it up to date. When it is full it takes the old one's place. A query
//! may still hold the old one and meet slots that are written from then on: until all that were pinned (crossbeam's
//! epoch) are gone, writers write to the old one too.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicPtr, Ordering},
    },
};

use parking_lot::Mutex;

use longbow_kernels::Metric;

use crate::{
    code::Code,
    error::Error,
    extremes::length,
    image::{Image, ImageError, Saver, Tag},
    plane::{Plane, Wide},
    rotation::Rotation,
    store::Store,
    sync::{AtomicBool, epoch},
    training::{Changes, EARLY, Sample, Sums, spread},
    vacuum::{deferred, is_set},
};

/// Slots coded anew while writers wait.
const PIECE: usize = 64;

/// See the module.
pub(crate) struct Planes<C: Code> {
    /// What `Writing::present` holds.
    present: AtomicPtr<Plane<C>>,
    writing: Mutex<Writing<C>>,
    changes: Changes,
    pub(crate) rotation: Rotation,
}

/// What writers need, one at a time.
pub(crate) struct Writing<C: Code> {
    present: Arc<Plane<C>>,
    /// On its way, with slots below a number coded.
    filling: Option<(Plane<C>, u32)>,
    /// Queries may hold them until the flag is set.
    retired: Vec<(Arc<Plane<C>>, Arc<AtomicBool>)>,
    metric: Metric,
    dimension: usize,
    /// Slots there is memory for.
    slots: usize,
    scratch: Scratch,
}

/// Of a row that is coded.
#[derive(Default)]
struct Scratch {
    row: Vec<f64>,
    wide: Wide,
}

impl<C: Code> Planes<C> {
    pub(crate) fn new(metric: Metric, dimension: usize, rotation: Rotation) -> Self {
        let present = Arc::new(Plane::new(metric, rotation.len(), Vec::new()));
        Self {
            present: AtomicPtr::new(Arc::as_ptr(&present).cast_mut()),
            writing: Mutex::new(Writing {
                present,
                filling: None,
                retired: Vec::new(),
                metric,
                dimension,
                slots: 0,
                scratch: Scratch::default(),
            }),
            changes: Changes::default(),
            rotation,
        }
    }

    /// The plane in use. What is read through it is only good while an epoch stays pinned that was pinned before.
    #[inline(always)]
    pub(crate) fn present(&self) -> *const Plane<C> {
        self.present.load(Ordering::Acquire)
    }

    /// Keeps other writers out.
    pub(crate) fn write(&self) -> parking_lot::MutexGuard<'_, Writing<C>> {
        self.writing.lock()
    }

    /// Bytes of memory that all codes take, those on their way in and out included, and that those of one more row take.
    pub(crate) fn memory(&self) -> (usize, usize) {
        let writing = self.writing.lock();
        let (present, one) = writing.present.memory();
        let filling = writing.filling.iter().map(|(plane, _)| plane.memory().0);
        let retired = writing.retired.iter().map(|(plane, _)| plane.memory().0);
        (present + filling.chain(retired).sum::<usize>(), one)
    }

    /// So many rows are gone.
    pub(crate) fn removed(&self, rows: usize) {
        self.changes.removed(rows as u64);
    }

    /// Codes up to `max` slots anew if what is held has drifted. Returns how many; 0: there is nothing to do now.
    pub(crate) fn retrain(&self, rows: &Store, max: usize, is_held: &dyn Fn(u32) -> bool) -> usize {
        let mut done = 0;
        while done < max {
            let mut writing = self.writing.lock();
            writing.release();
            if writing.filling.is_none() {
                // Whatever was retired before is gone first, so that there are never more than two planes for long.
                if !writing.retired.is_empty() || !self.changes.look() {
                    break;
                }
                let (present, metric) = (Arc::clone(&writing.present), writing.metric);
                drop(writing);
                let centre = sample(metric, rows, rows.len(), is_held).better(present.centre());
                writing = self.writing.lock();
                match centre {
                    None => break,
                    // Somebody else was quicker.
                    Some(_) if writing.filling.is_some() || !Arc::ptr_eq(&present, &writing.present) => {
                        continue;
                    }
                    Some(centre) => writing.begin(centre),
                }
            }
            let piece = (max - done).min(PIECE);
            let Ok(coded) = self.fill(&mut writing, rows, rows.len(), piece) else {
                // Without memory for new codes the old ones have to do, until more is written.
                writing.filling = None;
                break;
            };
            done += coded.max(1);
        }
        done
    }

    /// Codes up to `max` slots below `end` for the plane on its way, and puts it to use when it has all.
    fn fill(&self, writing: &mut Writing<C>, rows: &Store, end: u32, max: usize) -> Result<usize, Error> {
        let Writing {
            present,
            filling,
            retired,
            slots,
            scratch: Scratch { row, wide },
            ..
        } = writing;
        let Some((plane, next)) = filling else {
            return Ok(0);
        };
        // As much as writers may count on.
        plane.ensure(*slots)?;
        let stop = end.min(next.saturating_add(u32::try_from(max).unwrap_or(u32::MAX)));
        let coded = (stop - *next) as usize;
        for slot in *next..stop {
            row.clear();
            rows.values(slot, row);
            // SAFETY: made available above, and nobody knows the plane yet. Rows below `end` are written, and the
            // lock keeps out whoever writes over them.
            unsafe { plane.encode(slot, row, length(row), &self.rotation, wide) };
        }
        *next = stop;
        if stop == end
            && let Some((plane, _)) = filling.take()
        {
            let old = std::mem::replace(present, Arc::new(plane));
            self.present
                .store(Arc::as_ptr(present).cast_mut(), Ordering::Release);
            retired.push((old, deferred()));
        }
        Ok(coded)
    }

    /// Codes a row that was written to a slot, and looks whether the first codes were made for other data.
    ///
    /// # Safety
    /// The slot was made available by [`Writing::ensure`] under the same lock, and nobody reads it yet.
    pub(crate) unsafe fn add(&self, writing: &mut Writing<C>, rows: &Store, slot: u32) {
        // SAFETY: passed on to the caller.
        unsafe { writing.encode(rows, slot, &self.rotation) };
        self.changes.written(1);
        // Counted by slots, not by calls: the codes are the same however rows are cut into batches.
        if EARLY.contains(&(u64::from(slot) + 1)) {
            let sample = sample(writing.metric, rows, slot + 1, &|_| true);
            if let Some(centre) = sample.better(writing.present.centre()) {
                writing.begin(centre);
                if self.fill(writing, rows, slot + 1, usize::MAX).is_err() {
                    writing.filling = None;
                }
            }
        }
    }

    /// Writes the codes in use. What is written to slots of the image meanwhile goes to slots that are free in it.
    pub(crate) fn save(&self, rows: &Store, to: &mut Saver<'_>) -> io::Result<()> {
        let (plane, metric, dimension) = {
            let writing = self.writing.lock();
            (Arc::clone(&writing.present), writing.metric, writing.dimension)
        };
        plane.save(to)?;
        // Of the rows of the image, which do not change meanwhile; so nobody has to wait.
        let (mut sums, mut row) = (Sums::new(metric, dimension), Vec::new());
        for slot in to.held() {
            row.clear();
            rows.values(slot, &mut row);
            sums.add(&row);
        }
        to.bytes(Tag::MOMENTS, &sums.to_bytes())
    }

    /// Puts the codes of an image to use, before anybody else knows of these.
    pub(crate) fn load(&mut self, image: &Image) -> Result<(), ImageError> {
        let writing = self.writing.get_mut();
        let dimension = writing.dimension;
        let plane = Plane::load(writing.metric, self.rotation.len(), dimension, image)?;
        if image.bytes(Tag::MOMENTS)?.len() != Sums::bytes(dimension) {
            return Err(image.damaged_at(Tag::MOMENTS, 0, "they have another dimension"));
        }
        self.changes.begin(image.slots().into());
        writing.slots = image.slots() as usize;
        writing.present = Arc::new(plane);
        *self.present.get_mut() = Arc::as_ptr(&writing.present).cast_mut();
        Ok(())
    }

    /// Codes a row that was written over another.
    ///
    /// # Safety
    /// Nobody else reads or writes the slot.
    pub(crate) unsafe fn replace(&self, writing: &mut Writing<C>, rows: &Store, slot: u32) {
        // SAFETY: passed on to the caller; slots that hold a row are available.
        unsafe { writing.encode(rows, slot, &self.rotation) };
        self.changes.written(1);
    }
}

impl<C: Code> Writing<C> {
    /// Makes slots `0..slots` available.
    pub(crate) fn ensure(&mut self, slots: usize) -> Result<(), Error> {
        self.release();
        self.retired
            .iter()
            .try_for_each(|(plane, _)| plane.ensure(slots))?;
        self.present.ensure(slots)?;
        self.slots = self.slots.max(slots);
        Ok(())
    }

    /// Drops planes that no query holds.
    fn release(&mut self) {
        self.retired.retain(|(_, gone)| !is_set(gone));
    }

    /// Begins a new plane.
    fn begin(&mut self, centre: Vec<f32>) {
        self.filling = Some((Plane::new(self.metric, self.present.len(), centre), 0));
    }

    /// # Safety
    /// The slot is available in every plane in use, and nobody reads or writes it.
    unsafe fn encode(&mut self, rows: &Store, slot: u32, rotation: &Rotation) {
        let Scratch { row, wide } = &mut self.scratch;
        row.clear();
        rows.values(slot, row);
        let norm = length(row);
        let filling = self
            .filling
            .iter()
            .filter(|(_, next)| slot < *next)
            .map(|(plane, _)| plane);
        let retired = self.retired.iter().map(|(plane, _)| &**plane);
        for plane in retired.chain(filling).chain([&*self.present]) {
            // SAFETY: passed on to the caller; what is coded of the plane on its way is available too.
            unsafe { plane.encode(slot, row, norm, rotation, wide) };
        }
    }
}

/// Some of the rows in slots below `end` that are held.
fn sample(metric: Metric, rows: &Store, end: u32, is_held: &dyn Fn(u32) -> bool) -> Sample {
    // What is held now is not written over before this is unpinned.
    let _pin = epoch::pin();
    let mut sample = Sample::new(metric, rows.dimension());
    for slot in spread(end, rows.dimension(), is_held) {
        sample.add(|values| rows.values(slot, values));
    }
    sample
}
