//! The bytes of a segment: header and records. The grammar is in the README; nothing else writes or reads bytes.

use crate::{Error, HardState, Result};

pub(crate) const MAGIC: [u8; 8] = *b"LONGBWAL";
/// Version 2 adds the close record and the flag for recycled files, version 3 the start record; both older ones are
/// still read.
pub(crate) const VERSION: u32 = 3;
const FLAG_RECYCLED: u32 = 1;
pub(crate) const SEGMENT_HEADER_BYTES: usize = 64;
pub(crate) const RECORD_HEADER_BYTES: usize = 32;
pub(crate) const FLUSH_MAGIC: [u8; 8] = *b"LBWFLUSH";
pub(crate) const FLUSH_BYTES: usize = RECORD_HEADER_BYTES + 16;

/// Largest payload of a record: a log command with its header fits with room to spare.
pub const RECORD_BYTES_MAX: usize = 16 << 20;

/// Kind of a raft entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A command, or empty.
    Normal,
    /// A membership change of one node.
    ConfChange,
    /// A joint membership change.
    ConfChangeV2,
}

/// Kind of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Entry(EntryKind),
    HardState,
    ConfState,
    /// The group's log begins behind this index, whatever stood in it before.
    Start,
    Flush,
    /// A flush record that nothing was ever written behind, until a start says otherwise.
    Close,
}

impl Kind {
    fn to_byte(self) -> u8 {
        match self {
            Kind::Entry(EntryKind::Normal) => 1,
            Kind::Entry(EntryKind::ConfChange) => 2,
            Kind::Entry(EntryKind::ConfChangeV2) => 3,
            Kind::HardState => 4,
            Kind::ConfState => 5,
            Kind::Flush => 6,
            Kind::Close => 7,
            Kind::Start => 8,
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Kind::Entry(EntryKind::Normal),
            2 => Kind::Entry(EntryKind::ConfChange),
            3 => Kind::Entry(EntryKind::ConfChangeV2),
            4 => Kind::HardState,
            5 => Kind::ConfState,
            6 => Kind::Flush,
            7 => Kind::Close,
            8 => Kind::Start,
            _ => return None,
        })
    }
}

/// First bytes of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    /// Identity of the log, chosen at random when it was created.
    pub log_id: u64,
    /// Number of the segment in its log, from 1; never used again.
    pub generation: u64,
    /// The segment before; 0 for none.
    pub previous: u64,
    /// Where the segment before ends: everything up to there is durable.
    pub previous_end: u64,
    /// Where the records end that the segment was made with. They were durable before it got its name.
    pub filled: u64,
    /// The file had a former life: what stands behind its records is not zeros.
    pub recycled: bool,
}

impl SegmentHeader {
    pub fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        let flags = if self.recycled { FLAG_RECYCLED } else { 0 };
        bytes[12..16].copy_from_slice(&flags.to_le_bytes());
        let fields = [
            self.log_id,
            self.generation,
            self.previous,
            self.previous_end,
            self.filled,
        ];
        for (at, value) in fields.into_iter().enumerate() {
            bytes[16 + 8 * at..][..8].copy_from_slice(&value.to_le_bytes());
        }
        let crc = crc32c::crc32c(&bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub fn decode(bytes: &[u8; SEGMENT_HEADER_BYTES]) -> Result<Self, String> {
        if bytes[..8] != MAGIC {
            return Err("this is no log segment".to_owned());
        }
        if u32_at(bytes, 60) != crc32c::crc32c(&bytes[..60]) {
            return Err("the segment header's checksum is wrong".to_owned());
        }
        let version = u32_at(bytes, 8);
        if !(1..=VERSION).contains(&version) {
            return Err(format!(
                "format version {version}, this software knows 1 to {VERSION}"
            ));
        }
        let flags = u32_at(bytes, 12);
        if flags & !FLAG_RECYCLED != 0 {
            return Err(format!("flags {flags:#x}, which this software does not know"));
        }
        Ok(Self {
            log_id: u64_at(bytes, 16),
            generation: u64_at(bytes, 24),
            previous: u64_at(bytes, 32),
            previous_end: u64_at(bytes, 40),
            filled: u64_at(bytes, 48),
            recycled: flags & FLAG_RECYCLED != 0,
        })
    }

    /// What each checksum in the segment starts from: a record of another life of the file never fits.
    pub fn salt(&self) -> u32 {
        salt_of(self.log_id, self.generation)
    }
}

/// The same, of a segment whose header cannot be read.
pub(crate) fn salt_of(log_id: u64, generation: u64) -> u32 {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&log_id.to_le_bytes());
    bytes[8..].copy_from_slice(&generation.to_le_bytes());
    crc32c::crc32c(&bytes)
}

/// First bytes of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordHeader {
    pub kind: Kind,
    pub group: u32,
    pub term: u64,
    pub index: u64,
    /// Bytes of the payload.
    pub len: usize,
}

/// Appends a record with its checksum.
pub(crate) fn encode_record(
    kind: Kind,
    group: u32,
    term: u64,
    index: u64,
    payload: &[u8],
    salt: u32,
    out: &mut Vec<u8>,
) {
    let start = out.len();
    let len = u32::try_from(payload.len()).expect("payloads are checked to be small");
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&[kind.to_byte(), 0, 0, 0]);
    out.extend_from_slice(&group.to_le_bytes());
    out.extend_from_slice(&term.to_le_bytes());
    out.extend_from_slice(&index.to_le_bytes());
    out.extend_from_slice(payload);
    let crc = checksum(&out[start..], salt);
    out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
}

/// The record that starts a flush at `position`, or that ends the log there.
pub(crate) fn flush_record(kind: Kind, position: u64, salt: u32) -> [u8; FLUSH_BYTES] {
    let mut record = [0; FLUSH_BYTES];
    record[..4].copy_from_slice(&((FLUSH_BYTES - RECORD_HEADER_BYTES) as u32).to_le_bytes());
    record[8] = kind.to_byte();
    record[RECORD_HEADER_BYTES..].copy_from_slice(&flush_payload(position));
    let crc = checksum(&record, salt);
    record[4..8].copy_from_slice(&crc.to_le_bytes());
    record
}

/// Payload of the record that starts a flush at `position`.
pub(crate) fn flush_payload(position: u64) -> [u8; 16] {
    let mut payload = [0; 16];
    payload[..8].copy_from_slice(&FLUSH_MAGIC);
    payload[8..].copy_from_slice(&position.to_le_bytes());
    payload
}

pub(crate) fn hard_state_payload(state: &HardState) -> [u8; 16] {
    let mut payload = [0; 16];
    payload[..8].copy_from_slice(&state.vote.to_le_bytes());
    payload[8..].copy_from_slice(&state.commit.to_le_bytes());
    payload
}

pub(crate) fn decode_hard_state(term: u64, payload: &[u8]) -> Option<HardState> {
    (payload.len() == 16).then(|| HardState {
        term,
        vote: u64_at(payload, 0),
        commit: u64_at(payload, 8),
    })
}

/// Puts the checksums for another segment's salt into a run of encoded records.
///
/// A CRC is linear: what another salt makes of it depends on the record's length alone, so that of records of one length, one
/// after the other, only the first is looked through.
pub(crate) fn reseal(records: &mut [u8], salt: u32) {
    let (mut at, mut change) = (0, None);
    while at < records.len() {
        let len = RECORD_HEADER_BYTES + u32_at(records, at) as usize;
        let record = &mut records[at..at + len];
        let old = u32_at(record, 4);
        let crc = match change {
            Some((of, change)) if of == len => old ^ change,
            _ => checksum(record, salt),
        };
        record[4..8].copy_from_slice(&crc.to_le_bytes());
        change = Some((len, old ^ crc));
        at += len;
    }
}

fn checksum(record: &[u8], salt: u32) -> u32 {
    let crc = crc32c::crc32c_append(salt, &record[..4]);
    crc32c::crc32c_append(crc, &record[8..])
}

/// Reads a record's header. `None`: these bytes start no record (zeros do not, either).
pub(crate) fn decode_record_header(bytes: &[u8; RECORD_HEADER_BYTES]) -> Option<RecordHeader> {
    let len = u32_at(bytes, 0) as usize;
    let kind = Kind::from_byte(bytes[8])?;
    (len <= RECORD_BYTES_MAX && bytes[9..12] == [0; 3]).then(|| RecordHeader {
        kind,
        group: u32_at(bytes, 12),
        term: u64_at(bytes, 16),
        index: u64_at(bytes, 24),
        len,
    })
}

/// Whether the checksum of a whole record is right.
pub(crate) fn is_sound(record: &[u8], salt: u32) -> bool {
    u32_at(record, 4) == checksum(record, salt)
}

/// Whether the bytes are the flush record that belongs at `position`.
pub(crate) fn is_flush_at(record: &[u8; FLUSH_BYTES], position: u64, salt: u32) -> bool {
    let header = record.first_chunk().and_then(decode_record_header);
    header.is_some_and(|h| {
        matches!(h.kind, Kind::Flush | Kind::Close) && h.len == FLUSH_BYTES - RECORD_HEADER_BYTES
    }) && record[RECORD_HEADER_BYTES..] == flush_payload(position)
        && is_sound(record, salt)
}

/// Checks a payload's length.
pub(crate) fn check_payload(len: usize) -> Result<()> {
    if len > RECORD_BYTES_MAX {
        return Err(Error::Invalid(format!(
            "a record of {len} bytes exceeds the limit of {RECORD_BYTES_MAX}"
        )));
    }
    Ok(())
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let chunk = bytes[at..]
        .first_chunk()
        .expect("callers hold fixed-size headers");
    u32::from_le_bytes(*chunk)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let chunk = bytes[at..]
        .first_chunk()
        .expect("callers hold fixed-size headers");
    u64::from_le_bytes(*chunk)
}

/// Name of a segment's file.
pub(crate) fn segment_name(generation: u64) -> String {
    format!("{generation:016x}.wal")
}

/// Generation in a segment's file name.
pub(crate) fn parse_segment_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".wal")?;
    let generation = u64::from_str_radix(digits, 16).ok()?;
    (segment_name(generation) == name).then_some(generation)
}

/// Name of a segment that is being made. Found on start, it is left over and removed.
pub(crate) const NEW_SEGMENT_NAME: &str = "new.wal.tmp";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn records_resealed_are_those_encoded_so(
            lens in prop::collection::vec(prop_oneof![Just(0usize), Just(40), 0usize..200], 0..30),
            old: u32, new: u32,
        ) {
            let encoded = |salt| {
                let mut out = Vec::new();
                for (index, &len) in (1..).zip(&lens) {
                    let payload: Vec<u8> = (0..len).map(|at| (at * 7 + len) as u8 ^ index as u8).collect();
                    encode_record(Kind::Entry(EntryKind::Normal), 3, 5, index, &payload, salt, &mut out);
                }
                out
            };
            let mut records = encoded(old);
            reseal(&mut records, new);
            prop_assert_eq!(records, encoded(new));
        }
    }
}
