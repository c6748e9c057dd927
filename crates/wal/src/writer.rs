//! Appending: batches are made durable one after the other, each with one write and one sync.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
};

use crate::{
    Batch, Disk, EntryKind, Error, HardState, Reader, Result,
    batch::Staged,
    disk::{is_full, write_full},
    format::{FLUSH_BYTES, Kind, SegmentHeader, flush_record, segment_name},
    reader::{Segment, Shared},
    segment::{MakeError, NewSegment, head, make_segment},
    spares::Spares,
};

/// What a flush wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flushed {
    /// Bytes written, framing included.
    pub bytes: usize,
    /// Records made durable.
    pub records: usize,
}

/// Appends to the log. One thread owns it.
pub struct Writer {
    disk: Arc<dyn Disk>,
    shared: Arc<Shared>,
    spares: Spares,
    segment: Arc<Segment>,
    /// Bytes that the current segment has room for.
    capacity: u64,
    /// Where the next flush goes; everything before is durable.
    end: u64,
    /// What is staged by way of the writer itself.
    batch: Batch,
    failed: Option<String>,
}

impl Writer {
    pub(crate) fn new(disk: Arc<dyn Disk>, shared: Arc<Shared>, spares: Spares, at: NewSegment) -> Self {
        let mut writer = Self {
            disk,
            shared,
            spares,
            segment: at.segment,
            capacity: at.capacity,
            end: at.end,
            batch: Batch::new(),
            failed: None,
        };
        writer.entered();
        writer
    }

    /// A reader of what is durable.
    pub fn reader(&self) -> Reader {
        Reader {
            shared: self.shared.clone(),
        }
    }

    /// The spare segments, for a thread that makes some.
    pub fn spares(&self) -> Spares {
        self.spares.clone()
    }

    /// Stages an entry. One at or below the last index replaces everything from there on.
    pub fn entry(&mut self, group: u32, kind: EntryKind, term: u64, index: u64, data: &[u8]) -> Result<()> {
        self.batch.entry(group, kind, term, index, data)
    }

    /// Stages a hard state.
    pub fn hard_state(&mut self, group: u32, state: HardState) {
        self.batch.hard_state(group, state);
    }

    /// Stages a membership, opaque here.
    pub fn conf_state(&mut self, group: u32, payload: &[u8]) -> Result<()> {
        self.batch.conf_state(group, payload)
    }

    /// Stages that the group's log begins behind an index, whose entry had this term: all that stands in it is forgotten.
    pub fn start(&mut self, group: u32, term: u64, index: u64) {
        self.batch.start(group, term, index);
    }

    /// Bytes staged.
    pub fn staged_bytes(&self) -> usize {
        self.batch.bytes()
    }

    /// Makes everything staged durable: one write, one sync.
    ///
    /// After [`Error::Full`] the same records are still staged, and the flush may be tried again. After any other
    /// error the writer is dead; readers go on with what was durable before.
    pub fn flush(&mut self) -> Result<Flushed> {
        let mut batch = std::mem::take(&mut self.batch);
        let flushed = self.commit(&mut batch);
        self.batch = batch;
        flushed
    }

    /// Makes a batch durable, as [`flush`](Self::flush) does with what the writer holds, and empties it.
    ///
    /// Meanwhile another thread may fill the next one.
    pub fn commit(&mut self, batch: &mut Batch) -> Result<Flushed> {
        if let Some(cause) = &self.failed {
            return Err(Error::Failed { cause: cause.clone() });
        }
        if batch.is_empty() {
            return Ok(Flushed { bytes: 0, records: 0 });
        }
        // The close record of a clean end must still fit behind.
        if self.end + (batch.flush_bytes() + FLUSH_BYTES) as u64 > self.capacity {
            self.roll(batch)?;
        } else {
            let salt = self.salt();
            let bytes = batch.seal(&flush_record(Kind::Flush, self.end, salt), salt);
            if let Err(error) = write_full(&*self.segment.file, bytes, self.end) {
                return Err(self.fail_unless_full("write", error));
            }
            if let Err(error) = self.segment.file.sync_data() {
                return Err(self.fail("fdatasync", &error));
            }
        }
        let flushed = self.publish(batch);
        if self.end > self.capacity / 2 {
            self.spares.set_due();
        }
        Ok(flushed)
    }

    /// Records that everything is durable and that nothing is written behind, so that the next start need not rewrite
    /// the last flush nor begin a segment, and ends.
    pub fn close(mut self) -> Result<()> {
        self.flush()?;
        let record = flush_record(Kind::Close, self.end, self.salt());
        let written = write_full(&*self.segment.file, &record, self.end);
        let synced = written.and_then(|()| self.segment.file.sync_data());
        synced.map_err(|error| self.fail("closing", &error))
    }

    /// Gives up segments all of whose entries stand before `first_kept` of their group, oldest first and `max` at most. The
    /// last entry of a group is always kept. Files become spares, or are removed. Returns how many segments went.
    ///
    /// An error leaves the writer usable: what went is gone, the rest is still there.
    pub fn trim(&mut self, first_kept: impl Fn(u32) -> u64, max: usize) -> Result<usize> {
        let kept = {
            let mut state = self.shared.write();
            let kept = state.index.groups.iter();
            let kept = kept.filter_map(|(&group, held)| held.generation_of(first_kept(group)));
            let kept = kept.min().unwrap_or(0).min(self.segment.header.generation);
            let oldest = state
                .segments
                .first_key_value()
                .map_or(kept, |(&oldest, _)| oldest);
            let kept = kept.min(oldest.saturating_add(max as u64));
            for held in state.index.groups.values_mut() {
                held.forget_before(kept);
            }
            kept
        };
        let mut count = 0;
        while let Some(segment) = self.take_before(kept) {
            let generation = segment.header.generation;
            let name = segment_name(generation);
            // A file that a reader holds must not change under it.
            let reuse = Arc::strong_count(&segment) == 1;
            if let Err(error) = self.spares.recycle(&name, generation, reuse) {
                // It is there, and goes another time.
                self.shared.write().segments.insert(generation, segment);
                return Err(Error::io("trim", &name, error));
            }
            // Before the next one goes: a power cut must not leave a gap between segments.
            self.disk
                .sync_dir()
                .map_err(|error| Error::io("sync names in", ".", error))?;
            count += 1;
        }
        Ok(count)
    }

    /// Takes the oldest segment out of those that readers see, if it is older than a generation.
    fn take_before(&self, kept: u64) -> Option<Arc<Segment>> {
        let mut state = self.shared.write();
        let oldest = state
            .segments
            .first_entry()
            .filter(|oldest| *oldest.key() < kept)?;
        Some(oldest.remove())
    }

    /// Lets readers see what has just become durable.
    fn publish(&mut self, batch: &mut Batch) -> Flushed {
        let flushed = Flushed {
            bytes: batch.flush_bytes(),
            records: batch.records(),
        };
        let generation = self.segment.header.generation;
        let mut state = self.shared.write();
        for staged in batch.staged.drain(..) {
            match staged {
                Staged::Entry {
                    group,
                    term,
                    index,
                    at,
                } => {
                    let group = state.index.groups.entry(group).or_default();
                    let fits = group.insert(index, term, generation, self.end + at as u64);
                    debug_assert!(fits, "raft appends without gaps");
                }
                Staged::HardState(group, hard) => {
                    state.index.groups.entry(group).or_default().hard_state = hard;
                }
                Staged::Start { group, term, index } => {
                    state.index.groups.entry(group).or_default().restart(index, term);
                }
                Staged::ConfState(group, payload) => {
                    state.index.groups.entry(group).or_default().conf_state = Some(payload);
                }
            }
        }
        drop(state);
        self.end += batch.flush_bytes() as u64;
        batch.clear();
        batch.expect_salt(self.salt());
        flushed
    }

    /// Goes on in a fresh segment, which is made with this flush in it: its one write and one sync are the flush's.
    fn roll(&mut self, batch: &mut Batch) -> Result<()> {
        let header = SegmentHeader {
            log_id: self.segment.header.log_id,
            generation: self.segment.header.generation + 1,
            previous: self.segment.header.generation,
            previous_end: self.end,
            filled: 0,
            recycled: false,
        };
        let salt = header.salt();
        let head = head(&self.shared.read().index.groups, salt);
        let mut long = Vec::new();
        let position = head.len() as u64;
        let flush = flush_record(Kind::Flush, position, salt);
        let bytes = batch.seal_behind(&head, &mut long, &flush, salt);
        let made = make_segment(&*self.disk, &self.spares, header, bytes);
        let made = made.map_err(|error| match error {
            MakeError::Full(error) => error,
            MakeError::Fatal(cause) => {
                self.failed = Some(cause.clone());
                Error::Failed { cause }
            }
        })?;
        let full = std::mem::replace(&mut self.segment, made.segment);
        if !self.spares.is_kept() || self.end < self.capacity / 4 * 3 {
            // Gives unused room back. Failing to costs space alone.
            let _ = full.file.truncate(self.end);
        }
        (self.capacity, self.end) = (made.capacity, position);
        self.shared
            .write()
            .segments
            .insert(header.generation, self.segment.clone());
        self.entered();
        Ok(())
    }

    /// Tells others which segment is appended to.
    fn entered(&mut self) {
        let salt = self.salt();
        self.shared.salt.store(salt, Ordering::Relaxed);
        self.batch.expect_salt(salt);
        self.spares.set_current(self.segment.header.generation);
    }

    fn salt(&self) -> u32 {
        self.segment.header.salt()
    }

    fn fail_unless_full(&mut self, operation: &'static str, error: io::Error) -> Error {
        if is_full(&error) {
            return Error::Full {
                operation,
                source: error,
            };
        }
        self.fail(operation, &error)
    }

    fn fail(&mut self, operation: &str, error: &io::Error) -> Error {
        let name = segment_name(self.segment.header.generation);
        let cause = format!("{operation} {name}: {error}");
        self.failed = Some(cause.clone());
        Error::Failed { cause }
    }
}
