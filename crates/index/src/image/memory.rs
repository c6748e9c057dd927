//! The bytes of an image in memory, whoever brought them there.

use std::fmt;

use crate::{arena::Block, error::Error};

/// Memory that holds an image and becomes an index: a private mapping of a file, or plain memory that a file was read
/// into.
///
/// A private mapping is there at once and read as it is used; plain memory lies in huge pages where the system has
/// them, which makes searches faster.
pub struct ImageMemory {
    start: *mut u8,
    len: usize,
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
            _held: Held::Block(block),
        })
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
            _held: Held::Map(map),
        }
    }
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
