//! Memory for rows of one size that never moves: chunks that double, found by the slot's leading bit.
//!
//! Chunk 0 holds the rows that were there at first, in an image; there are none in a new arena. Chunk `c` above holds
//! `FIRST << (c - 1)` rows, so a directory of two dozen pointers covers every slot, a small index takes little, and a
//! large one lies in a few mappings big enough for huge pages. Pages are touched on first write only.

use std::sync::Arc;

use crate::{
    error::Error,
    image::ImageMemory,
    sync::{AtomicPtr, Mutex, Ordering, is_model},
};

/// Log2 of the rows in chunk 1.
const FIRST_LOG: u32 = if is_model() { 1 } else { 8 };
const CHUNKS: usize = if is_model() { 4 } else { (34 - FIRST_LOG) as usize };
/// Mappings of at least this size ask for huge pages.
const HUGE_BYTES_MIN: usize = 4 << 20;
const HUGE_PAGE: usize = 2 << 20;
/// What memory is given in elsewhere, on most machines.
pub(crate) const PAGE: usize = 4 << 10;

/// Chunks above the first.
#[derive(Default)]
struct Owned {
    blocks: Vec<Block>,
    /// Rows made available, those of chunk 0 included.
    rows: usize,
}

/// Rows of `stride` zeroed bytes.
pub(crate) struct Arena {
    /// Per chunk: where row 0 *would* lie if the chunk reached down to it, so that a row is one multiply away.
    origins: [AtomicPtr<u8>; CHUNKS],
    stride: usize,
    /// Rows of chunk 0.
    mapped: u64,
    /// Chunks 1, 2, …
    owned: Mutex<Owned>,
    image: Option<Arc<ImageMemory>>,
    /// Where chunk 0 begins in the image.
    image_offset: usize,
    /// Makes the atomics of a row, which are more than zeros in a model.
    #[cfg(feature = "loom")]
    begin: Option<unsafe fn(*mut u8, usize)>,
}

impl Arena {
    /// An arena of rows of `stride` bytes, itself a multiple of 64 or a power of two below.
    pub(crate) fn new(stride: usize) -> Self {
        debug_assert!(stride > 0 && (is_model() || stride.is_multiple_of(64) || stride.is_power_of_two()));
        Self {
            origins: std::array::from_fn(|_| AtomicPtr::new(std::ptr::null_mut())),
            stride,
            mapped: 0,
            owned: Mutex::new(Owned::default()),
            image: None,
            image_offset: 0,
            #[cfg(feature = "loom")]
            begin: None,
        }
    }

    /// As [`Arena::new`], for rows of atomics, zero at first.
    #[cfg(not(feature = "loom"))]
    pub(crate) fn of<A: crate::sync::Atomic>(stride: usize) -> Self {
        Self::new(stride)
    }

    #[cfg(feature = "loom")]
    pub(crate) fn of<A: crate::sync::Atomic>(stride: usize) -> Self {
        Self {
            begin: Some(crate::sync::begin::<A>),
            ..Self::new(stride)
        }
    }

    /// As [`Arena::new`], with `rows` rows that lie in an image from byte `offset` on, a multiple of 64.
    pub(crate) fn mapped(stride: usize, rows: usize, offset: usize, image: Arc<ImageMemory>) -> Self {
        let end = rows
            .checked_mul(stride)
            .and_then(|bytes| bytes.checked_add(offset));
        assert!(
            end.is_some_and(|end| end <= image.as_ref().as_ref().len()),
            "the image is that long"
        );
        let arena = Self {
            mapped: rows as u64,
            ..Self::new(stride)
        };
        arena.origins[0].store(image.start().wrapping_add(offset), Ordering::Release);
        Self {
            image: Some(image),
            image_offset: offset,
            ..arena
        }
    }

    /// Bytes of a row.
    pub(crate) fn stride(&self) -> usize {
        self.stride
    }

    /// Makes rows `0..rows` available.
    pub(crate) fn ensure(&self, rows: usize) -> Result<(), Error> {
        let mapped = self.mapped as usize;
        let mut owned = self.owned.lock();
        while owned.blocks.len() + 1 < CHUNKS
            && mapped + (((1usize << owned.blocks.len()) - 1) << FIRST_LOG) < rows
        {
            let count = 1usize << (owned.blocks.len() as u32 + FIRST_LOG);
            let first = mapped + count - (1 << FIRST_LOG);
            let bytes = count
                .checked_mul(self.stride)
                .ok_or(Error::OutOfMemory { bytes: usize::MAX })?;
            let block = Block::new(bytes)?;
            #[cfg(feature = "loom")]
            if let Some(begin) = self.begin {
                for row in 0..count {
                    // SAFETY: the row is `stride` bytes of the block, which nobody else knows yet.
                    unsafe { begin(block.start.add(row * self.stride), self.stride) };
                }
            }
            let origin = block.start.wrapping_sub(first * self.stride);
            // Release: whoever finds the chunk finds its mapping made.
            self.origins[owned.blocks.len() + 1].store(origin, Ordering::Release);
            owned.blocks.push(block);
        }
        owned.rows = owned.rows.max(rows);
        Ok(())
    }

    /// Says that a row is written to. Of a row in an image, which costs nothing before, its pages take memory from now on.
    #[inline(always)]
    pub(crate) fn touch(&self, row: u32) {
        if u64::from(row) < self.mapped {
            self.touch_mapped(row as usize);
        }
    }

    #[inline(never)]
    fn touch_mapped(&self, row: usize) {
        if let Some(image) = &self.image {
            let start = self.image_offset + row * self.stride;
            image.touch(start..start + self.stride);
        }
    }

    /// Bytes of memory that it takes: of the rows made available, whether or not they have been written yet, and of those
    /// of an image the pages that were written to.
    pub(crate) fn memory(&self) -> usize {
        let (owned, mapped) = (self.owned.lock(), self.mapped as usize);
        let mut before = mapped;
        let own = owned.blocks.iter().enumerate().map(|(at, block)| {
            let count = 1usize << (at as u32 + FIRST_LOG);
            let used = owned.rows.saturating_sub(before).min(count);
            before += count;
            block.memory(used * self.stride)
        });
        let own: usize = own.sum();
        let end = self.image_offset + mapped * self.stride;
        let image = self.image.as_ref();
        own + image.map_or(0, |image| image.touched(self.image_offset..end))
    }

    /// Address of a row that [`Arena::ensure`] has made available; valid as long as the arena.
    #[inline(always)]
    pub(crate) fn row(&self, row: u32) -> *mut u8 {
        let beyond = (u64::from(row) + 1).saturating_sub(self.mapped);
        let chunk = (beyond + (1 << FIRST_LOG) - 1).ilog2() - (FIRST_LOG - 1);
        debug_assert!((chunk as usize) < CHUNKS);
        // SAFETY: `beyond` is at most 2^32, so the chunk is at most 32 - (FIRST_LOG - 1) = CHUNKS - 1.
        let origin = unsafe { self.origins.get_unchecked(chunk as usize) };
        origin
            .load(Ordering::Acquire)
            .wrapping_add(row as usize * self.stride)
    }
}

/// One zeroed mapping.
pub(crate) struct Block {
    start: *mut u8,
    bytes: usize,
    #[cfg(not(any(miri, feature = "loom")))]
    _map: memmap2::MmapMut,
    #[cfg(any(miri, feature = "loom"))]
    layout: std::alloc::Layout,
}

// SAFETY: a block is plain memory; who may read or write which bytes is the arena user's protocol.
unsafe impl Send for Block {}

impl Block {
    /// Where its bytes begin, on a multiple of 64.
    pub(crate) fn start(&self) -> *mut u8 {
        self.start
    }

    /// Bytes of memory that it takes when so many of its bytes, the first ones, were written: pages, huge ones where they
    /// are asked for.
    fn memory(&self, written: usize) -> usize {
        let page = if self.bytes >= HUGE_BYTES_MIN {
            HUGE_PAGE
        } else {
            PAGE
        };
        written.next_multiple_of(page).min(self.bytes)
    }
}

#[cfg(not(any(miri, feature = "loom")))]
impl Block {
    pub(crate) fn new(bytes: usize) -> Result<Self, Error> {
        let huge = bytes >= HUGE_BYTES_MIN;
        let asked = if huge {
            bytes.saturating_add(HUGE_PAGE)
        } else {
            bytes
        };
        let mut map = memmap2::MmapOptions::new()
            .len(asked)
            .no_reserve_swap()
            .map_anon()
            .map_err(|_| Error::OutOfMemory { bytes })?;
        let mut start = map.as_mut_ptr();
        if huge {
            start = start.wrapping_add(start.align_offset(HUGE_PAGE));
            // Only a hint: without huge pages everything works, slower.
            #[cfg(target_os = "linux")]
            let _ = map.advise(memmap2::Advice::HugePage);
        }
        Ok(Self {
            start,
            bytes,
            _map: map,
        })
    }
}

#[cfg(any(miri, feature = "loom"))]
impl Block {
    pub(crate) fn new(bytes: usize) -> Result<Self, Error> {
        let layout =
            std::alloc::Layout::from_size_align(bytes, 64).map_err(|_| Error::OutOfMemory { bytes })?;
        // SAFETY: the size is not zero, because strides and counts are not.
        let start = unsafe { std::alloc::alloc_zeroed(layout) };
        if start.is_null() {
            return Err(Error::OutOfMemory { bytes });
        }
        Ok(Self { start, bytes, layout })
    }
}

#[cfg(any(miri, feature = "loom"))]
impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout.
        unsafe { std::alloc::dealloc(self.start, self.layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_beyond_an_image_follow_those_in_it() {
        for mapped in [0usize, 1, 7, 255, 256, 300] {
            let mut memory = ImageMemory::zeroed(64 + 8 * mapped).unwrap();
            memory.as_mut()[64..].fill(7);
            let image = Arc::new(memory);
            let arena = Arena::mapped(8, mapped, 64, Arc::clone(&image));
            arena.ensure(mapped + 3_000).unwrap();
            for row in 0..mapped as u32 + 3_000 {
                // SAFETY: the row was made available, and only this thread uses it.
                let bytes = unsafe { std::slice::from_raw_parts_mut(arena.row(row), 8) };
                let expected = if (row as usize) < mapped { 7 } else { 0 };
                assert_eq!(bytes, [expected; 8], "row {row} of {mapped}");
                bytes.copy_from_slice(&u64::from(row).to_le_bytes());
            }
            for row in 0..mapped as u32 + 3_000 {
                // SAFETY: as above.
                let bytes = unsafe { std::slice::from_raw_parts(arena.row(row), 8) };
                assert_eq!(bytes, u64::from(row).to_le_bytes());
            }
        }
    }

    #[test]
    fn memory_is_that_of_the_rows_there_are_and_of_the_pages_written_to() {
        let arena = Arena::new(64);
        assert_eq!(arena.memory(), 0);
        for (rows, pages) in [
            (1, 1),
            (64, 1),
            (65, 2),
            (256, 4),
            (257, 5),
            (100, 5),
            (1_000, 16),
        ] {
            arena.ensure(rows).unwrap();
            assert_eq!(arena.memory(), pages * PAGE, "{rows} rows");
        }
        // A mapping that asks for huge pages gets them from the first byte on: chunk 9 is the first of 4 MiB.
        arena.ensure((255 << FIRST_LOG) + 1).unwrap();
        assert_eq!(arena.memory(), 64 * (255 << FIRST_LOG) + HUGE_PAGE);
        // Plain memory that holds an image is all there.
        let image = Arc::new(ImageMemory::zeroed(64 * 1_001).unwrap());
        assert_eq!(Arena::mapped(64, 1_000, 64, image).memory(), 64 * 1_000);
    }

    #[test]
    #[cfg(not(miri))]
    fn of_a_mapped_image_what_was_written_to_takes_memory() {
        let map = memmap2::MmapMut::map_anon(64 * 1_001).unwrap();
        let arena = Arena::mapped(64, 1_000, 64, Arc::new(ImageMemory::from(map)));
        assert_eq!(arena.memory(), 0);
        // A header of 64 bytes stands before the first row, so the 63rd is the last on its page.
        for (row, pages) in [(3, 1), (62, 1), (63, 2), (999, 3), (0, 3)] {
            arena.touch(row);
            assert_eq!(arena.memory(), pages * PAGE, "row {row}");
        }
        arena.ensure(1_001).unwrap();
        arena.touch(1_000);
        assert_eq!(arena.memory(), 4 * PAGE);
    }

    #[test]
    fn rows_are_zeroed_apart_and_never_move() {
        let arena = Arena::new(64);
        arena.ensure(1).unwrap();
        let first = arena.row(0);
        let rows = if cfg!(miri) { 600 } else { 5_000u32 };
        arena.ensure(rows as usize).unwrap();
        assert_eq!(arena.row(0), first);
        for row in 0..rows {
            let address = arena.row(row);
            assert_eq!(address.align_offset(64), 0);
            // SAFETY: the row was made available, and only this thread uses it.
            let bytes = unsafe { std::slice::from_raw_parts_mut(address, 64) };
            assert_eq!(bytes, [0; 64]);
            bytes.fill(1 + (row % 250) as u8);
        }
        for row in 0..rows {
            // SAFETY: as above.
            let bytes = unsafe { std::slice::from_raw_parts(arena.row(row), 64) };
            assert_eq!(bytes, [1 + (row % 250) as u8; 64]);
        }
    }
}
