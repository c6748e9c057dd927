//! Header, trailer and footer of an image, to bytes and back.

use longbow_kernels::{Element, Metric};

use crate::{
    error::Error,
    key::SLOTS_MAX,
    params::{Params, Quantization, REALS_MAX},
};

/// Why bytes are not an index.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// The bytes do not begin as an image does.
    #[error("not an index image")]
    NotAnImage,
    /// Written by another version of the format.
    #[error("an index image of version {found}; this build reads version {supported}")]
    Version {
        /// Version of the image.
        found: u32,
        /// Version that can be read.
        supported: u32,
    },
    /// Images are used where they lie, so byte orders must agree.
    #[error("index images are little-endian, this machine is not")]
    Endianness,
    /// The memory does not begin on a multiple of 64.
    #[error("the memory of an index image must begin on a multiple of 64 bytes")]
    Misaligned,
    /// Bytes are not what was written, or were never an index.
    #[error("the index image is damaged in {section} at byte {offset}: {reason}")]
    Damaged {
        /// Tag of the section, or `header`, `trailer`, `footer`.
        section: &'static str,
        /// Byte of the image, as near as is known.
        offset: u64,
        /// What is wrong.
        reason: &'static str,
    },
    /// Making the index failed.
    #[error(transparent)]
    Index(#[from] Error),
}

pub(crate) const VERSION: u32 = 1;
const MAGIC: [u8; 8] = *b"LBWINDEX";
const END: [u8; 4] = *b"LEND";
pub(crate) const HEADER_BYTES: usize = 64;
pub(crate) const FOOTER_BYTES: usize = 32;
const TRAILER_BYTES_MIN: usize = 24;
const ENTRY_BYTES: usize = 24;
/// Bytes of a section with a checksum of their own.
pub(crate) const BLOCK_BYTES: usize = 1 << 20;
/// Multiple on which sections begin: lines for small ones, pages where the gap does not matter.
const LINE: u64 = 64;
const PAGE: u64 = 4096;
const PAGED_BYTES_MIN: u64 = 64 << 10;
const UNSETTLED: u32 = 1;
/// Most sections, so that looking for one takes no time.
const SECTIONS_MAX: usize = 256;

/// Name of a section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tag(pub(crate) &'static str);

impl Tag {
    pub(crate) const VECTORS: Tag = Tag("VECS");
    pub(crate) const SCALES: Tag = Tag("SCAL");
    pub(crate) const CODES: Tag = Tag("CODE");
    pub(crate) const FACTORS: Tag = Tag("FACT");
    pub(crate) const CENTRE: Tag = Tag("CNTR");
    pub(crate) const MOMENTS: Tag = Tag("MOMT");
    pub(crate) const BASE: Tag = Tag("BASE");
    pub(crate) const NODES: Tag = Tag("NODE");
    pub(crate) const UPPER: Tag = Tag("UPPR");
    pub(crate) const REMOVED: Tag = Tag("RMVD");
    pub(crate) const FREE: Tag = Tag("FREE");
    pub(crate) const WAITING: Tag = Tag("WAIT");
    pub(crate) const SLACK: Tag = Tag("SLCK");

    /// Those that errors can name.
    pub(crate) const ALL: [Tag; 13] = [
        Tag::VECTORS,
        Tag::SCALES,
        Tag::CODES,
        Tag::FACTORS,
        Tag::CENTRE,
        Tag::MOMENTS,
        Tag::BASE,
        Tag::NODES,
        Tag::UPPER,
        Tag::REMOVED,
        Tag::FREE,
        Tag::WAITING,
        Tag::SLACK,
    ];
}

/// What an image says at its beginning.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Header {
    pub(crate) params: Params,
    pub(crate) quantization: Quantization,
    pub(crate) slots: u32,
}

/// A section and where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Section {
    pub(crate) tag: [u8; 4],
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
}

/// What an image says at its end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Trailer {
    /// Slots below were linked, but for those that are free or wait.
    pub(crate) linked: u32,
    pub(crate) entry_level: u32,
    /// Zero for none.
    pub(crate) entry_slot_plus_one: u32,
    pub(crate) upper_lists: u32,
    /// Links were changed while they were written, or left out: nodes may have lost the way to them.
    pub(crate) unsettled: bool,
    pub(crate) sections: Vec<Section>,
    /// Of the blocks of the first section, then the second, …
    pub(crate) sums: Vec<u32>,
}

/// Append only, as the next two: an image holds the position.
const ELEMENTS: [Element; 14] = [
    Element::F16,
    Element::BF16,
    Element::F32,
    Element::F64,
    Element::I8,
    Element::I16,
    Element::I32,
    Element::I64,
    Element::U8,
    Element::U16,
    Element::U32,
    Element::U64,
    Element::Complex64,
    Element::Complex128,
];
const METRICS: [Metric; 3] = [Metric::Cosine, Metric::L2, Metric::Dot];
const QUANTIZATIONS: [Quantization; 4] = [
    Quantization::None,
    Quantization::Sq8,
    Quantization::Sq4,
    Quantization::Bit1,
];

fn code_of<T: PartialEq>(all: &[T], one: &T) -> Option<u8> {
    all.iter().position(|other| other == one).map(|at| at as u8)
}

/// Damage in a part that is not a section.
pub(crate) fn damaged(section: &'static str, offset: usize, reason: &'static str) -> ImageError {
    ImageError::Damaged {
        section,
        offset: offset as u64,
        reason,
    }
}

/// Multiple on which a section of so many bytes begins.
pub(crate) fn alignment(bytes: u64) -> u64 {
    if bytes >= PAGED_BYTES_MIN { PAGE } else { LINE }
}

/// Reads numbers one after the other; the caller has looked at the length.
struct Numbers<'a>(&'a [u8]);

impl Numbers<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (number, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*number)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take().map(u8::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }
}

impl Header {
    /// Nothing if there is no way to write it: too many dimensions.
    pub(crate) fn to_bytes(self) -> Option<[u8; HEADER_BYTES]> {
        let Params {
            element,
            metric,
            dimension,
            m,
            ef_construction,
            seed,
        } = self.params;
        if dimension.checked_mul(element.reals())? > REALS_MAX {
            return None;
        }
        let cut = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.push(code_of(&ELEMENTS, &element)?);
        bytes.push(code_of(&METRICS, &metric)?);
        bytes.push(code_of(&QUANTIZATIONS, &self.quantization)?);
        bytes.push(0);
        for number in [cut(dimension), cut(m), cut(ef_construction), self.slots] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&seed.to_le_bytes());
        bytes.resize(HEADER_BYTES - 4, 0);
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        bytes.try_into().ok()
    }

    pub(crate) fn parse(image: &[u8]) -> Result<Self, ImageError> {
        if !image.starts_with(&MAGIC) {
            return Err(ImageError::NotAnImage);
        }
        let short = || damaged("header", 0, "it is cut off");
        let header = image.get(..HEADER_BYTES).ok_or_else(short)?;
        let (body, sum) = header.split_at(HEADER_BYTES - 4);
        let mut numbers = Numbers(&body[MAGIC.len()..]);
        let version = numbers.u32().ok_or_else(short)?;
        if version != VERSION {
            return Err(ImageError::Version {
                found: version,
                supported: VERSION,
            });
        }
        if crc32c::crc32c(body).to_le_bytes() != sum {
            return Err(damaged("header", HEADER_BYTES - 4, "the checksum is another"));
        }
        Self::fields(&mut numbers).ok_or(damaged("header", 12, "a parameter is out of range"))
    }

    fn fields(numbers: &mut Numbers<'_>) -> Option<Self> {
        let element = *ELEMENTS.get(usize::from(numbers.u8()?))?;
        let metric = *METRICS.get(usize::from(numbers.u8()?))?;
        let quantization = *QUANTIZATIONS.get(usize::from(numbers.u8()?))?;
        numbers.u8()?;
        let params = Params {
            element,
            metric,
            dimension: numbers.u32()? as usize,
            m: numbers.u32()? as usize,
            ef_construction: numbers.u32()? as usize,
            seed: 0,
        };
        let slots = numbers.u32()?;
        let seed = numbers.u64()?;
        let fits = params.dimension.checked_mul(element.reals())? <= REALS_MAX && slots <= SLOTS_MAX;
        fits.then_some(Self {
            params: Params { seed, ..params },
            quantization,
            slots,
        })
    }
}

impl Trailer {
    /// Trailer and footer of an image whose sections end at `offset`.
    pub(crate) fn to_bytes(&self, offset: u64, header: &[u8; HEADER_BYTES]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let numbers = [
            self.linked,
            self.entry_level,
            self.entry_slot_plus_one,
            self.upper_lists,
            if self.unsettled { UNSETTLED } else { 0 },
            self.sections.len() as u32,
        ];
        numbers
            .iter()
            .for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
        for section in &self.sections {
            bytes.extend_from_slice(&section.tag);
            bytes.extend_from_slice(&[0; 4]);
            bytes.extend_from_slice(&section.offset.to_le_bytes());
            bytes.extend_from_slice(&section.bytes.to_le_bytes());
        }
        self.sums
            .iter()
            .for_each(|sum| bytes.extend_from_slice(&sum.to_le_bytes()));

        let mut footer = Vec::with_capacity(FOOTER_BYTES);
        footer.extend_from_slice(&offset.to_le_bytes());
        footer.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        footer.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        footer.extend_from_slice(&header[HEADER_BYTES - 4..]);
        footer.extend_from_slice(&END);
        footer.extend_from_slice(&crc32c::crc32c(&footer).to_le_bytes());
        bytes.extend_from_slice(&footer);
        bytes
    }

    /// The trailer of an image whose header is in order.
    pub(crate) fn parse(image: &[u8]) -> Result<Self, ImageError> {
        let start = image.len().saturating_sub(FOOTER_BYTES).max(HEADER_BYTES);
        let footer = image.get(start..).unwrap_or_default();
        let bad = |reason| damaged("footer", start, reason);
        let (body, sum) = footer
            .split_last_chunk::<4>()
            .filter(|(body, _)| body.len() + 4 == FOOTER_BYTES)
            .ok_or(bad("the image is cut off"))?;
        if crc32c::crc32c(body) != u32::from_le_bytes(*sum) {
            return Err(bad("the checksum is another: the image is cut off or damaged"));
        }
        let mut numbers = Numbers(body);
        let mut next = || numbers.u64().ok_or(bad("it is cut off"));
        let (offset, bytes) = (next()?, next()?);
        let trailer_sum = numbers.u32();
        if numbers.take::<4>().as_ref() != image[..HEADER_BYTES].last_chunk::<4>() {
            return Err(bad("it belongs to another header"));
        }
        if numbers.take() != Some(END) {
            return Err(bad("it does not end as an image does"));
        }
        let trailer = usize::try_from(offset)
            .ok()
            .filter(|&offset| offset >= HEADER_BYTES)
            .and_then(|offset| image.get(offset..start))
            .filter(|trailer| trailer.len() as u64 == bytes)
            .ok_or(bad("the trailer is not where it says"))?;
        let offset = offset as usize;
        if Some(crc32c::crc32c(trailer)) != trailer_sum {
            return Err(damaged("trailer", offset, "the checksum is another"));
        }
        Self::fields(trailer, offset as u64).ok_or(damaged("trailer", offset, "the section table is wrong"))
    }

    fn fields(trailer: &[u8], end: u64) -> Option<Self> {
        let mut numbers = Numbers(trailer);
        let mut parsed = Self {
            linked: numbers.u32()?,
            entry_level: numbers.u32()?,
            entry_slot_plus_one: numbers.u32()?,
            upper_lists: numbers.u32()?,
            unsettled: numbers.u32()? & UNSETTLED != 0,
            ..Self::default()
        };
        let sections = numbers.u32()? as usize;
        let room = trailer.len().checked_sub(TRAILER_BYTES_MIN)?;
        if sections > SECTIONS_MAX.min(room / ENTRY_BYTES) {
            return None;
        }
        let (mut blocks, mut free_from) = (0u64, HEADER_BYTES as u64);
        for _ in 0..sections {
            let tag = numbers.take()?;
            numbers.u32()?;
            let section = Section {
                tag,
                offset: numbers.u64()?,
                bytes: numbers.u64()?,
            };
            let is_aligned = section.offset.is_multiple_of(alignment(section.bytes));
            let is_new = parsed.sections.iter().all(|other| other.tag != tag);
            if section.offset < free_from || !is_aligned || !is_new {
                return None;
            }
            free_from = section.offset.checked_add(section.bytes)?;
            blocks += section.bytes.div_ceil(BLOCK_BYTES as u64);
            parsed.sections.push(section);
        }
        let sums = numbers.0.chunks_exact(4);
        if free_from > end || sums.len() as u64 != blocks || !sums.remainder().is_empty() {
            return None;
        }
        parsed.sums = sums
            .map(|sum| u32::from_le_bytes([sum[0], sum[1], sum[2], sum[3]]))
            .collect();
        Some(parsed)
    }
}
