//! The bytes of an image in memory, whoever brought them there.

use std::{
    fmt,
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
};

use crate::{
    arena::{Block, PAGE},
    error::Error,
};

/// Memory that holds an image and becomes an index: a private mapping of a file, or plain memory that a file was read
/// into.
///
/// A private mapping is there at once and read as it is used; plain memory lies in huge pages where the system has
/// them, which makes searches faster.
pub struct ImageMemory {
    start: *mut u8,
    len: usize,
    /// Of a private mapping, a bit for each page: whether it was written to, and so is a copy in memory. Empty for plain
    /// memory, which is all there.
    written: Box<[AtomicU64]>,
    _held: Held,
}

#[expect(dead_code, reason = "held, not read")]
enum Held {
    Map(memmap2::MmapMut),
    Block(Block),
}

// SAFETY: plain memory; changing it takes `&mut`, or the protocols of the arenas that are made of it.
unsafe impl Send for ImageMemory {}
// SAFETY: as above.
unsafe impl Sync for ImageMemory {}

impl ImageMemory {
    /// Zeroed memory to read an image into.
    pub fn zeroed(len: usize) -> Result<Self, Error> {
        let block = Block::new(len.max(1))?;
        Ok(Self {
            start: block.start(),
            len,
            written: Box::default(),
            _held: Held::Block(block),
        })
    }

    /// Says that bytes are written to.
    pub(crate) fn touch(&self, bytes: Range<usize>) {
        for page in pages(&bytes) {
            let (at, bit) = (page / 64, 1 << (page % 64));
            // Looked at first: nearly always it was written to before.
            if let Some(word) = self.written.get(at)
                && word.load(Ordering::Relaxed) & bit == 0
            {
                word.fetch_or(bit, Ordering::Relaxed);
            }
        }
    }

    /// Bytes of memory that a range takes for good. Of pages that others share, all counts.
    pub(crate) fn touched(&self, bytes: Range<usize>) -> usize {
        if self.written.is_empty() {
            return bytes.len();
        }
        let is_written =
            |page: &usize| self.written[page / 64].load(Ordering::Relaxed) >> (page % 64) & 1 == 1;
        pages(&bytes).filter(is_written).count() * PAGE
    }

    /// Where it begins. Whoever writes through this must be alone with those bytes.
    pub(crate) fn start(&self) -> *mut u8 {
        self.start
    }
}

/// The mapping must be private (copy-on-write): an index changes its memory. The file must not change while it is
/// mapped, which is what `memmap2` asks of whoever maps it.
impl From<memmap2::MmapMut> for ImageMemory {
    fn from(mut map: memmap2::MmapMut) -> Self {
        Self {
            start: map.as_mut_ptr(),
            len: map.len(),
            written: (0..map.len().div_ceil(64 * PAGE))
                .map(|_| AtomicU64::new(0))
                .collect(),
            _held: Held::Map(map),
        }
    }
}

/// The pages that bytes lie in.
fn pages(bytes: &Range<usize>) -> Range<usize> {
    if bytes.is_empty() {
        return 0..0;
    }
    bytes.start / PAGE..bytes.end.div_ceil(PAGE)
}

impl AsRef<[u8]> for ImageMemory {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: `start` and `len` are those of what is held; nobody has made an arena of it yet, because that takes
        // it by value, and reads nothing through this afterwards.
        unsafe { std::slice::from_raw_parts(self.start, self.len) }
    }
}

impl AsMut<[u8]> for ImageMemory {
    fn as_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `as_ref`; the memory is writable, and `&mut self` excludes others.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.len) }
    }
}

impl fmt::Debug for ImageMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImageMemory").field("len", &self.len).finish()
    }
}
