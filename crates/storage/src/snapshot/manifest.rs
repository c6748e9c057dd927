//! The manifest of a snapshot, to bytes and back. Its grammar stands in [the module above](super).

use std::collections::BTreeSet;

use longbow_types::DatasetId;

use super::error::{Error, Result};
use super::names::{Name, Part};
use super::store::Sum;
use crate::Digest;
use crate::expiry::{Ages, STAMPS_MAX, Stamp};

const MAGIC: [u8; 8] = *b"LBWSNAPS";
/// Every file of columns is named by the number that its first row has.
const VERSION_IN_ORDER: u32 = 1;
/// Some are named by the number that it had when the file was written, before rows in front of it went.
const VERSION_MOVED: u32 = 2;
/// It tells the digest of the rows.
const VERSION_DIGEST: u32 = 3;
/// It tells the ages of the rows.
const VERSION_AGES: u32 = 4;
/// It lists further vector columns, and the ages of the rows, if there are any.
const VERSION: u32 = 5;
const HEAD_BYTES: usize = 16;
const CRC_BYTES: usize = 4;
/// Most bytes of the caller's section.
pub(super) const CATALOGUE_BYTES_MAX: usize = 128 << 20;
/// Most bytes of a manifest, so that a damaged length asks for no memory.
pub(super) const MANIFEST_BYTES_MAX: u64 = 512 << 20;

/// Whose rows a snapshot holds. Nothing of it is looked into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The dataset.
    pub dataset: DatasetId,
    /// The partition.
    pub partition: u32,
    /// Version of the schema the rows have.
    pub schema_version: u32,
    /// The catalogue at the snapshot's index, as the caller encodes it; at most 128 MiB.
    pub catalogue: Vec<u8>,
}

/// What a snapshot is of, and of which files it is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Counts the snapshots of a directory; the newest has the highest.
    pub generation: u64,
    /// Whose rows.
    pub owner: Owner,
    /// The state is that after this index of the log: the next entry to apply is one above.
    pub applied_index: u64,
    /// Last index that touched the partition.
    pub touched_index: u64,
    /// Slots, tombstones included.
    pub slots: u32,
    /// Live rows.
    pub live_rows: u32,
    /// Digest of the live rows; earlier builds wrote none.
    pub digest: Option<Digest>,
    /// How old the rows are, where that matters.
    pub(super) ages: Ages,
    pub(super) index: Listed,
    pub(super) live: Listed,
    /// In slot order.
    pub(super) columns: Vec<Listed>,
    /// Of further vector columns, in the order of the dataset's columns.
    pub(super) further: Vec<Listed>,
}

/// A file of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) name: Name,
    pub(super) rows: u32,
    pub(super) sum: Sum,
}

impl Manifest {
    /// All files but the manifest.
    pub(super) fn files(&self) -> impl Iterator<Item = &Listed> {
        let rows = [&self.index, &self.live].into_iter().chain(&self.columns);
        rows.chain(&self.further)
    }

    /// Bytes of all files but the manifest.
    pub fn bytes(&self) -> u64 {
        self.files().map(|file| file.sum.bytes).sum()
    }

    /// Number of files beside the manifest.
    pub fn files_len(&self) -> usize {
        self.files().count()
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let owner = &self.owner;
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&MAGIC);
        let version = match self.digest {
            Some(_) if !self.further.is_empty() => VERSION,
            Some(_) if !self.ages.0.is_empty() => VERSION_AGES,
            Some(_) => VERSION_DIGEST,
            None if self.is_in_order() => VERSION_IN_ORDER,
            None => VERSION_MOVED,
        };
        bytes.extend_from_slice(&version.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        for number in [
            self.generation,
            self.applied_index,
            self.touched_index,
            owner.dataset.0,
        ] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        let (columns, catalogue) = (self.columns.len() as u32, owner.catalogue.len() as u32);
        for number in [
            owner.partition,
            owner.schema_version,
            self.slots,
            self.live_rows,
            columns,
            catalogue,
        ] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend(self.digest.into_iter().flat_map(Digest::to_bytes));
        if version >= VERSION_AGES {
            bytes.extend_from_slice(&(self.ages.0.len() as u32).to_le_bytes());
            for stamp in &self.ages.0 {
                bytes.extend_from_slice(&stamp.before.to_le_bytes());
                bytes.extend_from_slice(&stamp.time_ms.to_le_bytes());
            }
        }
        if version >= VERSION {
            bytes.extend_from_slice(&(self.further.len() as u32).to_le_bytes());
        }
        bytes.extend_from_slice(&owner.catalogue);
        for file in self.files() {
            let slot = match file.name.part {
                Part::Columns(slot) | Part::Further(slot) => slot,
                _ => 0,
            };
            bytes.extend_from_slice(&file.name.generation.to_le_bytes());
            bytes.extend_from_slice(&file.sum.bytes.to_le_bytes());
            for word in [slot, file.rows, file.sum.crc] {
                bytes.extend_from_slice(&word.to_le_bytes());
            }
        }
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads what [`Manifest::to_bytes`] wrote, from the file of a name.
    pub(super) fn parse(name: Name, bytes: &[u8]) -> Result<Self> {
        let file = name.to_string();
        let damaged = |reason: &str| Error::damaged(&file, reason);
        if bytes.len() < HEAD_BYTES + CRC_BYTES || bytes[..8] != MAGIC {
            return Err(damaged("it does not begin as a manifest does"));
        }
        let (body, crc) = bytes.split_at(bytes.len() - CRC_BYTES);
        if crc != crc32c::crc32c(body).to_le_bytes() {
            return Err(damaged("its sum is not that of its bytes"));
        }
        let mut numbers = Numbers(&body[8..]);
        let found = numbers.u32().unwrap_or(0);
        if !(VERSION_IN_ORDER..=VERSION).contains(&found) {
            let supported = VERSION;
            return Err(Error::Version {
                file,
                found,
                supported,
            });
        }
        let contradiction = || damaged("it contradicts itself");
        let manifest = Self::body(&mut numbers, found).ok_or_else(contradiction)?;
        if found == VERSION_IN_ORDER && !manifest.is_in_order() {
            return Err(contradiction());
        }
        if manifest.generation != name.generation {
            return Err(damaged("it is the manifest of another snapshot"));
        }
        Ok(manifest)
    }

    fn body(numbers: &mut Numbers<'_>, version: u32) -> Option<Self> {
        numbers.u32()?;
        let (generation, applied_index, touched_index) = (numbers.u64()?, numbers.u64()?, numbers.u64()?);
        let dataset = DatasetId(numbers.u64()?);
        let (partition, schema_version) = (numbers.u32()?, numbers.u32()?);
        let (slots, live_rows) = (numbers.u32()?, numbers.u32()?);
        let (columns, catalogue_bytes) = (numbers.u32()?, numbers.u32()?);
        let digest = match version {
            VERSION_DIGEST.. => Some(Digest::from_bytes(numbers.bytes(16)?.try_into().ok()?)),
            _ => None,
        };
        let mut ages = Ages::default();
        if version >= VERSION_AGES {
            for _ in 0..numbers.u32()? {
                let (before, time_ms) = (numbers.u64()?, numbers.u64()?);
                ages.0.push_back(Stamp { before, time_ms });
            }
        }
        let vectors = match version {
            VERSION => numbers.u32()?,
            _ => 0,
        };
        let catalogue = numbers.bytes(catalogue_bytes as usize)?.to_vec();
        let index = numbers.listed(|_| Part::Index)?;
        let live = numbers.listed(|_| Part::Live)?;
        // Memory is asked for what is there, not for what is said to be.
        let mut listed = Vec::new();
        for _ in 0..columns {
            listed.push(numbers.listed(Part::Columns)?);
        }
        let mut further = Vec::new();
        for _ in 0..vectors {
            further.push(numbers.listed(Part::Further)?);
        }
        let manifest = Self {
            generation,
            owner: Owner {
                dataset,
                partition,
                schema_version,
                catalogue,
            },
            applied_index,
            touched_index,
            slots,
            live_rows,
            digest,
            ages,
            index,
            live,
            columns: listed,
            further,
        };
        (numbers.0.is_empty() && manifest.is_consistent()).then_some(manifest)
    }

    fn is_consistent(&self) -> bool {
        let rows = self.columns.iter().try_fold(0_u32, |rows, file| {
            (file.rows > 0).then_some(())?;
            rows.checked_add(file.rows)
        });
        let names: BTreeSet<Name> = self.columns.iter().map(|file| file.name).collect();
        rows == Some(self.slots)
            && names.len() == self.columns.len()
            && self.index.rows == self.slots
            && self.live.rows == self.slots
            && self.live_rows <= self.slots
            && self.touched_index <= self.applied_index
            && self.files().all(|file| file.name.generation <= self.generation)
            && self.are_ages_consistent()
            && self
                .further
                .is_sorted_by(|one, next| one.name.part < next.name.part)
            && self.further.iter().all(|file| file.rows <= self.slots)
    }

    fn are_ages_consistent(&self) -> bool {
        let stamps = &self.ages.0;
        let ascend = stamps
            .iter()
            .zip(stamps.iter().skip(1))
            .all(|(one, next)| one.before < next.before && one.time_ms <= next.time_ms);
        let newest = stamps.back().map_or(0, |stamp| stamp.before);
        ascend && newest <= self.applied_index && stamps.len() <= STAMPS_MAX
    }

    /// Whether every file of columns is named by the number of its first row.
    fn is_in_order(&self) -> bool {
        let mut rows = 0_u32;
        self.columns.iter().all(|file| {
            let first = rows;
            rows = rows.saturating_add(file.rows);
            file.name.part == Part::Columns(first)
        })
    }
}

/// Reads numbers one after the other.
struct Numbers<'a>(&'a [u8]);

impl<'a> Numbers<'a> {
    fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.bytes(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.bytes(8)?.try_into().ok().map(u64::from_le_bytes)
    }

    fn listed(&mut self, part: impl FnOnce(u32) -> Part) -> Option<Listed> {
        let (generation, bytes, slot) = (self.u64()?, self.u64()?, self.u32()?);
        let (rows, crc) = (self.u32()?, self.u32()?);
        let name = Name {
            generation,
            part: part(slot),
        };
        let sum = Sum { bytes, crc };
        Some(Listed { name, rows, sum })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(generation: u64, part: Part, rows: u32) -> Listed {
        let name = Name { generation, part };
        let sum = Sum {
            bytes: 1 << 33,
            crc: 0xfedc_ba98,
        };
        Listed { name, rows, sum }
    }

    fn manifest() -> Manifest {
        Manifest {
            generation: 9,
            owner: Owner {
                dataset: DatasetId(3),
                partition: 2,
                schema_version: 5,
                catalogue: b"catalogue".to_vec(),
            },
            applied_index: 1 << 40,
            touched_index: 77,
            slots: 30,
            live_rows: 11,
            digest: Some(Digest::from_bytes(*b"sixteen bytes it")),
            ages: [(3, 1_000), (9, 1_000), (40, 1_001)]
                .map(|(before, time_ms)| Stamp { before, time_ms })
                .into_iter()
                .collect(),
            index: listed(9, Part::Index, 30),
            live: listed(9, Part::Live, 30),
            columns: vec![listed(4, Part::Columns(0), 20), listed(9, Part::Columns(20), 10)],
            further: Vec::new(),
        }
    }

    /// Puts the right sum behind bytes that were changed.
    fn signed(mut body: Vec<u8>) -> Vec<u8> {
        let crc = crc32c::crc32c(&body).to_le_bytes();
        body.extend_from_slice(&crc);
        body
    }

    #[test]
    fn it_is_read_as_it_was_written() {
        let manifest = manifest();
        let parsed = Manifest::parse(Name::manifest(9), &manifest.to_bytes()).unwrap();
        assert_eq!(parsed, manifest);
    }

    #[test]
    fn every_changed_bit_and_every_cut_is_found() {
        let bytes = manifest().to_bytes();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                let error = Manifest::parse(Name::manifest(9), &changed).unwrap_err();
                assert!(error.is_damage(), "{error}");
            }
            assert!(Manifest::parse(Name::manifest(9), &bytes[..at]).is_err());
        }
    }

    #[test]
    fn lies_under_a_right_sum_are_found() {
        let bytes = manifest().to_bytes();
        let body = &bytes[..bytes.len() - CRC_BYTES];
        for at in HEAD_BYTES..body.len() {
            for value in [0, 0x7f, 0xff] {
                let mut changed = body.to_vec();
                changed[at] = value;
                // What it says may differ; it must not panic, nor ask for memory.
                let _ = Manifest::parse(Name::manifest(9), &signed(changed));
            }
        }
        // Column files and bytes of the catalogue without end.
        for at in [HEAD_BYTES + 48, HEAD_BYTES + 52] {
            let mut changed = body.to_vec();
            changed[at..at + 4].fill(0xff);
            let error = Manifest::parse(Name::manifest(9), &signed(changed)).unwrap_err();
            assert!(error.to_string().contains("contradicts"), "{error}");
        }
    }

    #[test]
    fn ages_that_cannot_be_are_found() {
        for stamps in [[(9, 5), (9, 6)], [(8, 6), (9, 5)], [(8, 5), ((1 << 40) + 1, 6)]] {
            let stamps = stamps.map(|(before, time_ms)| Stamp { before, time_ms });
            let spoilt = Manifest {
                ages: stamps.into_iter().collect(),
                ..manifest()
            };
            let error = Manifest::parse(Name::manifest(9), &spoilt.to_bytes()).unwrap_err();
            assert!(error.to_string().contains("contradicts"), "{error}");
        }
    }

    #[test]
    fn files_keep_the_names_they_were_written_under() {
        let mut moved = Manifest {
            digest: None,
            ages: Ages::default(),
            ..manifest()
        };
        let in_order = moved.clone();
        assert_eq!(moved.to_bytes()[8], 1);
        // Ten rows in front of the second file went.
        moved.columns[0] = listed(9, Part::Columns(0), 10);
        moved.columns[1] = listed(4, Part::Columns(20), 20);
        let bytes = moved.to_bytes();
        assert_eq!(bytes[8], 2);
        assert_eq!(Manifest::parse(Name::manifest(9), &bytes).unwrap(), moved);
        let as_version = |bytes: &[u8], version| {
            let mut bytes = bytes[..bytes.len() - CRC_BYTES].to_vec();
            bytes[8] = version;
            Manifest::parse(Name::manifest(9), &signed(bytes))
        };
        assert!(as_version(&bytes, 1).is_err(), "version 1 has no such names");
        assert_eq!(as_version(&in_order.to_bytes(), 2).unwrap(), in_order);
        let told = Manifest {
            ages: Ages::default(),
            ..manifest()
        };
        let told = told.to_bytes();
        assert_eq!(told[8], 3);
        assert!(as_version(&told, 2).is_err() && as_version(&bytes, 3).is_err());
        let aged = manifest().to_bytes();
        assert_eq!(aged[8], 4);
        assert!(as_version(&aged, 3).is_err() && as_version(&told, 4).is_err());
        moved.columns[1] = moved.columns[0];
        assert!(Manifest::parse(Name::manifest(9), &moved.to_bytes()).is_err());
    }

    #[test]
    fn further_vector_columns_are_listed_in_their_order() {
        let with = |further: Vec<Listed>| Manifest {
            further,
            ..manifest()
        };
        let listed = |column, rows| listed(9, Part::Further(column), rows);
        let both = with(vec![listed(2, 30), listed(7, 0)]);
        let bytes = both.to_bytes();
        assert_eq!(bytes[8], 5);
        assert_eq!(Manifest::parse(Name::manifest(9), &bytes).unwrap(), both);
        let without_ages = Manifest {
            ages: Ages::default(),
            ..both
        };
        let parsed = Manifest::parse(Name::manifest(9), &without_ages.to_bytes());
        assert_eq!(parsed.unwrap(), without_ages);
        for wrong in [
            vec![listed(7, 0), listed(2, 0)],
            vec![listed(2, 0), listed(2, 0)],
            vec![listed(2, 31)],
        ] {
            let error = Manifest::parse(Name::manifest(9), &with(wrong).to_bytes()).unwrap_err();
            assert!(error.to_string().contains("contradicts"), "{error}");
        }
    }

    #[test]
    fn another_version_is_named() {
        let mut bytes = manifest().to_bytes();
        bytes.truncate(bytes.len() - CRC_BYTES);
        bytes[8] = 6;
        let error = Manifest::parse(Name::manifest(9), &signed(bytes)).unwrap_err();
        assert!(matches!(error, Error::Version { found: 6, .. }), "{error}");
        assert!(!error.is_damage());
    }
}
