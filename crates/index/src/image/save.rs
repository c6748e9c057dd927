//! Writing an image beside appends, links, removes and searches.

use std::io::{self, Write};

use longbow_kernels::Bitset;

use crate::{
    arena::Arena,
    hnsw::Hnsw,
    image::{
        Header, ImageError, Tag,
        format::{BLOCK_BYTES, Section, alignment},
        links::Links,
    },
    space::Points,
};

/// In an order of slots: the image has a free slot here.
pub const HOLE: u32 = u32::MAX;

/// What an image holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ImageSummary {
    /// Bytes written.
    pub bytes: u64,
    /// Slots, of whatever kind.
    pub slots: u32,
    /// Slots that are linked into the graph.
    pub linked: u32,
    /// Slots with a row that is still to be linked.
    pub unlinked: u32,
    /// Slots that are removed and not free yet.
    pub removed: u32,
    /// Slots without a row, to be used again.
    pub free: u32,
    /// Links to slots that are not linked in the image, left out.
    pub links_dropped: u64,
}

/// Which slots an image holds, and in which order.
pub(crate) struct Slots<'a> {
    pub(crate) len: u32,
    /// Which slot becomes 0, 1, …; as they are if there is none.
    order: Option<&'a [u32]>,
    /// Slots of the index whose rows are nobody's and may be written to meanwhile.
    free: Bitset,
}

impl Slots<'_> {
    /// The slot of the index that is this one in the image; nothing for a hole.
    pub(crate) fn of(&self, slot: u32) -> Option<u32> {
        let of = self.order.map_or(slot, |order| order[slot as usize]);
        (of != HOLE).then_some(of)
    }

    /// As `of`, unless there is no row.
    pub(crate) fn held(&self, slot: u32) -> Option<u32> {
        self.of(slot).filter(|&of| !self.free.get(of as usize))
    }

    /// Whether a slot of the index has no row.
    pub(crate) fn is_free(&self, slot: u32) -> bool {
        self.free.get(slot as usize)
    }

    /// Where the index's slots are in the image: slot + 1, 0 for those that are left out. Nothing if all stay where
    /// they are.
    pub(crate) fn places(&self, slots: u32) -> Option<Vec<u32>> {
        self.order.map(|order| {
            let mut places = vec![0; slots as usize];
            for (place, &slot) in (1..).zip(order).filter(|&(_, &slot)| slot != HOLE) {
                places[slot as usize] = place;
            }
            places
        })
    }
}

/// Takes the parts of an index, one section after the other.
pub(crate) struct Saver<'a> {
    out: &'a mut dyn Write,
    pub(crate) slots: Slots<'a>,
    position: u64,
    sections: Vec<Section>,
    sums: Vec<u32>,
    /// The part of the present block that was not written yet.
    block: Vec<u8>,
}

impl Saver<'_> {
    /// A section with the row of each slot; the rows must not change while the vacuum's pass is held.
    pub(crate) fn plane(&mut self, tag: Tag, arena: &Arena) -> io::Result<()> {
        let zeros = vec![0; arena.stride()];
        self.begin(tag, u64::from(self.slots.len) * arena.stride() as u64)?;
        for slot in 0..self.slots.len {
            match self.slots.held(slot) {
                Some(slot) => {
                    // SAFETY: there is memory for every slot that was appended, zeroed at first. Its row was written
                    // before it was seen not to be free, and is not again before a pass of the vacuum frees it.
                    let row = unsafe { std::slice::from_raw_parts(arena.row(slot), arena.stride()) };
                    self.push(row)?;
                }
                None => self.push(&zeros)?,
            }
        }
        self.end()
    }

    /// The slots of the index that have their row in the image.
    pub(crate) fn held(&self) -> impl Iterator<Item = u32> {
        (0..self.slots.len).filter_map(|slot| self.slots.held(slot))
    }

    /// A section of bytes.
    pub(crate) fn bytes(&mut self, tag: Tag, bytes: &[u8]) -> io::Result<()> {
        self.begin(tag, bytes.len() as u64)?;
        self.push(bytes)?;
        self.end()
    }

    /// A section with a bit for each slot of the image.
    pub(crate) fn bits(&mut self, tag: Tag, bits: &Bitset) -> io::Result<()> {
        let bytes: Vec<u8> = bits.words().iter().flat_map(|word| word.to_le_bytes()).collect();
        self.bytes(tag, &bytes)
    }

    /// Begins a section of so many bytes.
    pub(crate) fn begin(&mut self, tag: Tag, bytes: u64) -> io::Result<()> {
        let offset = self.position.next_multiple_of(alignment(bytes));
        let gap = (offset - self.position) as usize;
        self.out.write_all(&vec![0; gap])?;
        self.position = offset;
        let mut name = [0; 4];
        name.copy_from_slice(tag.0.as_bytes());
        self.sections.push(Section {
            tag: name,
            offset,
            bytes,
        });
        Ok(())
    }

    pub(crate) fn push(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK_BYTES - self.block.len()));
            self.block.extend_from_slice(now);
            bytes = later;
            if self.block.len() == BLOCK_BYTES {
                self.flush()?;
            }
        }
        Ok(())
    }

    pub(crate) fn end(&mut self) -> io::Result<()> {
        if !self.block.is_empty() {
            self.flush()?;
        }
        let whole = |section: &Section| section.offset + section.bytes;
        debug_assert_eq!(self.sections.last().map(whole), Some(self.position));
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sums.push(crc32c::crc32c(&self.block));
        self.out.write_all(&self.block)?;
        self.position += self.block.len() as u64;
        self.block.clear();
        Ok(())
    }
}

impl<S: Points> Hnsw<S> {
    /// Writes slots below `upto`, or those of `order` in its order: distinct slots below `len`.
    pub(crate) fn save(
        &self,
        header: &mut Header,
        upto: u32,
        order: Option<&[u32]>,
        out: &mut dyn Write,
    ) -> io::Result<ImageSummary> {
        if cfg!(target_endian = "big") {
            return Err(io::Error::new(io::ErrorKind::Unsupported, ImageError::Endianness));
        }
        // No slot is freed, so no row is written again that is not free by now.
        let pass = self.vacuum.hold();
        let all = self.len();
        let len = order.map_or(all.min(upto), |order| order.len() as u32);
        let free = self.free_slots(&pass, all);
        header.slots = len;
        let first = header
            .to_bytes()
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "vectors of too many dimensions"))?;
        out.write_all(&first)?;
        let mut saver = Saver {
            out,
            slots: Slots { len, order, free },
            position: first.len() as u64,
            sections: Vec::new(),
            sums: Vec::new(),
            block: Vec::with_capacity(BLOCK_BYTES),
        };
        self.points.save(&mut saver)?;
        let mut links = Links::of(self, self.quiet(&pass), &saver.slots, all);
        links.save(&mut saver)?;
        let mut summary = links.summary(&saver.slots);
        let removed = self.save_bits(&links, &mut saver)?;
        saver.bytes(Tag::SLACK, &self.slack.to_bytes())?;

        let mut trailer = links.trailer();
        trailer.unsettled |= links.began.is_none() || self.quiet(&pass) != links.began;
        trailer.sections = std::mem::take(&mut saver.sections);
        trailer.sums = std::mem::take(&mut saver.sums);
        let last = trailer.to_bytes(saver.position, &first);
        saver.out.write_all(&last)?;
        summary.removed = removed;
        summary.bytes = saver.position + last.len() as u64;
        Ok(summary)
    }

    /// Writes who is removed, free, or waits; returns how many are removed and not free.
    fn save_bits(&self, links: &Links<'_, S>, saver: &mut Saver<'_>) -> io::Result<u32> {
        let len = saver.slots.len;
        let [mut removed, mut free, mut waiting] = [(); 3].map(|()| Bitset::new(len as usize));
        for slot in 0..len {
            match saver.slots.held(slot) {
                None => free.set(slot as usize),
                Some(of) => {
                    if self.removed.get(of) {
                        removed.set(slot as usize);
                    }
                    if slot < links.mark && !links.linked.get(of as usize) {
                        waiting.set(slot as usize);
                    }
                }
            }
        }
        saver.bits(Tag::REMOVED, &removed)?;
        saver.bits(Tag::FREE, &free)?;
        saver.bits(Tag::WAITING, &waiting)?;
        Ok(removed.count() as u32)
    }
}
