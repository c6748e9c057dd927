//! Records on their way to the disk: what one flush writes, encoded and checksummed while another flush is under way.

use crate::{
    EntryKind, HardState, Result,
    format::{FLUSH_BYTES, Kind, check_payload, encode_record, hard_state_payload, reseal},
};

/// A batch keeps this much between flushes; more is given back.
const BUFFER_KEPT_BYTES: usize = 16 << 20;

/// Room before the flush, for what a segment begins with: nearly always enough.
const HEAD_BYTES: usize = 4096;

/// A staged record: what the index must learn once it is durable.
#[derive(Debug)]
pub(crate) enum Staged {
    Entry {
        group: u32,
        term: u64,
        index: u64,
        /// Offset in the flush.
        at: usize,
    },
    HardState(u32, HardState),
    ConfState(u32, Vec<u8>),
    Start {
        group: u32,
        term: u64,
        index: u64,
    },
}

/// Records that are to become durable together. Used again and again, it stops allocating.
#[derive(Debug)]
pub struct Batch {
    /// Room for the beginning of a segment and for the flush record, then staged records.
    buffer: Vec<u8>,
    pub(crate) staged: Vec<Staged>,
    /// Salt of the checksums in the buffer: that of the segment expected to take them.
    salt: u32,
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self {
            buffer: vec![0; HEAD_BYTES + FLUSH_BYTES],
            staged: Vec::new(),
            salt: 0,
        }
    }

    /// Stages an entry. One at or below the last index replaces everything from there on.
    pub fn entry(&mut self, group: u32, kind: EntryKind, term: u64, index: u64, data: &[u8]) -> Result<()> {
        check_payload(data.len())?;
        let at = self.flush_bytes();
        let kind = Kind::Entry(kind);
        encode_record(kind, group, term, index, data, self.salt, &mut self.buffer);
        self.staged.push(Staged::Entry {
            group,
            term,
            index,
            at,
        });
        Ok(())
    }

    /// Stages a hard state.
    pub fn hard_state(&mut self, group: u32, state: HardState) {
        let payload = hard_state_payload(&state);
        let (kind, term) = (Kind::HardState, state.term);
        encode_record(kind, group, term, 0, &payload, self.salt, &mut self.buffer);
        self.staged.push(Staged::HardState(group, state));
    }

    /// Stages a membership, opaque here.
    pub fn conf_state(&mut self, group: u32, payload: &[u8]) -> Result<()> {
        check_payload(payload.len())?;
        encode_record(Kind::ConfState, group, 0, 0, payload, self.salt, &mut self.buffer);
        self.staged.push(Staged::ConfState(group, payload.to_vec()));
        Ok(())
    }

    /// Stages that the group's log begins behind an index, whose entry had this term: all that stands in it is forgotten.
    pub fn start(&mut self, group: u32, term: u64, index: u64) {
        encode_record(Kind::Start, group, term, index, &[], self.salt, &mut self.buffer);
        self.staged.push(Staged::Start { group, term, index });
    }

    /// Bytes staged.
    pub fn bytes(&self) -> usize {
        self.flush_bytes() - FLUSH_BYTES
    }

    /// Records staged.
    pub fn records(&self) -> usize {
        self.staged.len()
    }

    /// Whether nothing is staged.
    pub fn is_empty(&self) -> bool {
        self.staged.is_empty()
    }

    /// Forgets what is staged; keeps the room.
    pub fn clear(&mut self) {
        self.buffer.truncate(HEAD_BYTES + FLUSH_BYTES);
        self.buffer.shrink_to(BUFFER_KEPT_BYTES);
        self.staged.clear();
    }

    /// Bytes that the whole flush writes.
    pub(crate) fn flush_bytes(&self) -> usize {
        self.buffer.len() - HEAD_BYTES
    }

    /// Says which segment is expected to take what is staged from now on. A wrong guess costs time alone.
    pub(crate) fn expect_salt(&mut self, salt: u32) {
        if self.is_empty() {
            self.salt = salt;
        }
    }

    /// The bytes of the flush, for the segment of this salt.
    pub(crate) fn seal(&mut self, flush_record: &[u8; FLUSH_BYTES], salt: u32) -> &[u8] {
        let (_, flush) = self.buffer.split_at_mut(HEAD_BYTES);
        if self.salt != salt {
            reseal(&mut flush[FLUSH_BYTES..], salt);
            self.salt = salt;
        }
        flush[..FLUSH_BYTES].copy_from_slice(flush_record);
        flush
    }

    /// As [`seal`](Self::seal), behind what its segment begins with. `long` takes all of it where there is too much of that.
    pub(crate) fn seal_behind<'a>(
        &'a mut self,
        head: &[u8],
        long: &'a mut Vec<u8>,
        flush_record: &[u8; FLUSH_BYTES],
        salt: u32,
    ) -> &'a mut [u8] {
        let flush = self.seal(flush_record, salt);
        let Some(start) = HEAD_BYTES.checked_sub(head.len()) else {
            long.extend_from_slice(head);
            long.extend_from_slice(flush);
            return long;
        };
        self.buffer[start..HEAD_BYTES].copy_from_slice(head);
        &mut self.buffer[start..]
    }
}
