//! Making an index of an image, where it lies.

use std::sync::Arc;

use longbow_kernels::Bitset;

use crate::{
    arena::Arena,
    hnsw::Hnsw,
    image::{
        Header, ImageError, ImageMemory, Tag,
        format::{BLOCK_BYTES, Section, Trailer, damaged},
        links::{self, Linked},
    },
    reach::Reach,
    slack::Slack,
    space::Points,
};

/// An image whose header and table of sections are in order; of the sections nothing was looked at.
pub(crate) struct Image {
    memory: Arc<ImageMemory>,
    header: Header,
    trailer: Trailer,
}

impl Image {
    pub(crate) fn open(memory: ImageMemory) -> Result<Self, ImageError> {
        if memory.start().align_offset(64) != 0 {
            return Err(ImageError::Misaligned);
        }
        let (header, trailer) = parse(memory.as_ref())?;
        Ok(Self {
            memory: Arc::new(memory),
            header,
            trailer,
        })
    }

    pub(crate) fn header(&self) -> Header {
        self.header
    }

    pub(crate) fn trailer(&self) -> &Trailer {
        &self.trailer
    }

    /// Slots of the index.
    pub(crate) fn slots(&self) -> u32 {
        self.header.slots
    }

    /// A row of `stride` bytes per slot, used where they lie. Nobody has compared their checksums: whatever they are
    /// must not matter to memory safety.
    pub(crate) fn plane(&self, tag: Tag, stride: usize) -> Result<Arena, ImageError> {
        self.arena(tag, stride, self.slots() as usize)
    }

    /// The bytes of a section, after their checksums were compared.
    pub(crate) fn bytes(&self, tag: Tag) -> Result<&[u8], ImageError> {
        let (at, section) = self.find(tag)?;
        verify(self.memory.as_ref().as_ref(), &self.trailer, at)?;
        Ok(&self.memory.as_ref().as_ref()[range(section)])
    }

    /// As [`Image::bytes`], of which there must be `rows` of `stride`.
    pub(super) fn rows(&self, tag: Tag, stride: usize, rows: usize) -> Result<&[u8], ImageError> {
        let bytes = self.bytes(tag)?;
        if stride.checked_mul(rows) != Some(bytes.len()) {
            return Err(self.damaged_at(tag, 0, "its rows have another size"));
        }
        Ok(bytes)
    }

    /// `rows` rows of `stride` bytes as an arena.
    pub(super) fn arena(&self, tag: Tag, stride: usize, rows: usize) -> Result<Arena, ImageError> {
        let (_, section) = self.find(tag)?;
        if stride.checked_mul(rows).map(|bytes| bytes as u64) != Some(section.bytes) {
            return Err(self.damaged_at(tag, 0, "its rows have another size"));
        }
        Ok(Arena::mapped(
            stride,
            rows,
            section.offset as usize,
            Arc::clone(&self.memory),
        ))
    }

    /// A bit per slot.
    fn bits(&self, tag: Tag) -> Result<Bitset, ImageError> {
        let slots = self.slots() as usize;
        let (words, _) = self.rows(tag, 8, slots.div_ceil(64))?.as_chunks::<8>();
        let words = words.iter().map(|&word| u64::from_le_bytes(word)).collect();
        Ok(Bitset::from_words(words, slots))
    }

    /// Damage at a byte of a section.
    pub(crate) fn damaged_at(&self, tag: Tag, at: usize, reason: &'static str) -> ImageError {
        let start = self.find(tag).map_or(0, |(_, section)| section.offset as usize);
        damaged(tag.0, start + at, reason)
    }

    fn find(&self, tag: Tag) -> Result<(usize, &Section), ImageError> {
        let sections = self.trailer.sections.iter().enumerate();
        sections
            .into_iter()
            .find(|(_, section)| section.tag == tag.0.as_bytes())
            .ok_or(damaged(tag.0, 0, "there is no such section"))
    }
}

pub(super) fn parse(image: &[u8]) -> Result<(Header, Trailer), ImageError> {
    if cfg!(target_endian = "big") {
        return Err(ImageError::Endianness);
    }
    Ok((Header::parse(image)?, Trailer::parse(image)?))
}

/// Where a section lies; the table was checked against the length of the image.
fn range(section: &Section) -> std::ops::Range<usize> {
    section.offset as usize..(section.offset + section.bytes) as usize
}

/// Compares the checksums of the section at a place of the table.
fn verify(image: &[u8], trailer: &Trailer, at: usize) -> Result<(), ImageError> {
    let blocks = |section: &Section| section.bytes.div_ceil(BLOCK_BYTES as u64) as usize;
    let first: usize = trailer.sections[..at].iter().map(blocks).sum();
    let section = &trailer.sections[at];
    let parts = image[range(section)].chunks(BLOCK_BYTES);
    for (block, (part, &sum)) in parts.zip(&trailer.sums[first..]).enumerate() {
        if crc32c::crc32c(part) != sum {
            return Err(damaged(
                known(section.tag),
                section.offset as usize + block * BLOCK_BYTES,
                "the checksum of this MiB is another",
            ));
        }
    }
    Ok(())
}

fn known(tag: [u8; 4]) -> &'static str {
    Tag::ALL
        .iter()
        .find(|known| known.0.as_bytes() == tag)
        .map_or("a section of another build", |known| known.0)
}

/// Compares all checksums of an image, also of the vectors and codes, which
/// [`VectorIndex::from_image`](crate::VectorIndex::from_image) takes as they are. `cancel` is asked before every MiB or
/// so; false if it said to stop.
///
/// Takes the bytes as they were written, not the memory of an index, which changes: to look at a file in the
/// background map it a second time.
pub fn verify_image(image: &[u8], cancel: &dyn Fn() -> bool) -> Result<bool, ImageError> {
    let (_, trailer) = parse(image)?;
    for at in 0..trailer.sections.len() {
        if cancel() {
            return Ok(false);
        }
        verify(image, &trailer, at)?;
    }
    Ok(true)
}

impl<S: Points> Hnsw<S> {
    /// Becomes what is in an image; `self` is new.
    pub(crate) fn load(&mut self, image: &Image) -> Result<(), ImageError> {
        let mark = image.trailer().linked;
        if mark > image.slots() {
            return Err(damaged("trailer", 0, "more slots are linked than there are"));
        }
        let (mut removed, free, waiting) = (
            image.bits(Tag::REMOVED)?,
            image.bits(Tag::FREE)?,
            image.bits(Tag::WAITING)?,
        );
        let is_apart = |slot: usize| !removed.get(slot) && !waiting.get(slot) && slot < mark as usize;
        if !free.iter().all(is_apart) {
            return Err(image.damaged_at(Tag::FREE, 0, "a free slot is something else too"));
        }
        if waiting.iter_from(mark as usize).next().is_some() {
            return Err(image.damaged_at(Tag::WAITING, 0, "a slot waits that was never linked"));
        }
        let linked = Linked {
            mark,
            free: &free,
            waiting: &waiting,
        };
        self.slack = Slack::from_bytes(image.bytes(Tag::SLACK)?).ok_or(image.damaged_at(
            Tag::SLACK,
            0,
            "no search can go by it",
        ))?;
        self.points.load(image)?;
        self.graph = links::load(image, self.params.m, &linked)?;
        let removed_count = removed.count();
        removed.or_with(&free);
        self.points.removed(removed.count());
        let slots = image.slots() as usize;
        self.removed.load(&removed, slots)?;
        self.gone.load(&free, slots)?;
        self.progress.resume(mark);
        self.vacuum
            .resume(free.iter().map(|slot| slot as u32).collect(), removed_count);
        let mut queue: Vec<u32> = waiting.iter().map(|slot| slot as u32).collect();
        if image.trailer().unsettled {
            self.unreached(&free, &waiting, &mut queue);
            if queue.len() > waiting.count() {
                // Upper levels may lead to some of them, which are then linked among themselves.
                self.vacuum.unlinked();
            }
        }
        self.waiting.load(queue, slots)?;
        Ok(())
    }

    /// Live nodes that cannot be reached from the entry: they are linked anew like new ones, and searched meanwhile.
    fn unreached(&self, free: &Bitset, waiting: &Bitset, out: &mut Vec<u32>) {
        let mut reach = Reach::of(&self.graph, self.progress.done());
        reach.expand(&self.graph, usize::MAX);
        let is_live = |&slot: &u32| {
            let at = slot as usize;
            !free.get(at) && !waiting.get(at) && !self.removed.get(slot)
        };
        out.extend(reach.missed().filter(is_live));
    }
}
