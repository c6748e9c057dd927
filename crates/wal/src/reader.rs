//! Reading entries back, from any thread, beside the writer.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU32, Ordering},
    },
};

use bytes::Bytes;

use crate::{
    Batch, DiskFile, Error, HardState, Result,
    format::{EntryKind, Kind, RECORD_HEADER_BYTES, SegmentHeader, segment_name},
    index::{Index, Point},
    scan::{Window, record_at},
};

/// An entry read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Kind.
    pub kind: EntryKind,
    /// Term.
    pub term: u64,
    /// Index.
    pub index: u64,
    /// Data, as appended.
    pub data: Bytes,
}

/// A segment that readers hold open.
pub(crate) struct Segment {
    pub header: SegmentHeader,
    pub file: Arc<dyn DiskFile>,
    /// Bytes of the file, the room reserved in it included: it has that size as long as it is a segment.
    pub bytes: u64,
}

/// What the writer shares with readers: durable records alone.
#[derive(Default)]
pub(crate) struct Shared {
    state: RwLock<State>,
    /// Salt of the segment that is appended to; a hint for those who stage.
    pub salt: AtomicU32,
}

#[derive(Default)]
pub(crate) struct State {
    pub index: Index,
    pub segments: BTreeMap<u64, Arc<Segment>>,
}

impl Shared {
    pub fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads durable entries. Cheap to clone.
#[derive(Clone)]
pub struct Reader {
    pub(crate) shared: Arc<Shared>,
}

/// A part of a read that lies in one segment.
struct Piece {
    segment: Arc<Segment>,
    start: Point,
    wanted: Range<u64>,
    term: u64,
}

impl Reader {
    /// Makes an empty batch ready for the segment that is appended to, so that its checksums are computed while records
    /// are staged and not again by the flush.
    pub fn prepare(&self, batch: &mut Batch) {
        batch.expect_salt(self.shared.salt.load(Ordering::Relaxed));
    }

    /// First index of a group; the one after the last if there are no entries.
    pub fn first_index(&self, group: u32) -> u64 {
        self.shared
            .read()
            .index
            .groups
            .get(&group)
            .map_or(1, |g| g.first())
    }

    /// Last durable index of a group; 0 if there never were entries, the one that the log begins behind if there are none.
    pub fn last_index(&self, group: u32) -> u64 {
        self.shared
            .read()
            .index
            .groups
            .get(&group)
            .map_or(0, |g| g.last())
    }

    /// Term of a durable entry, or of the one before the first where it is known.
    pub fn term(&self, group: u32, index: u64) -> Option<u64> {
        self.shared.read().index.groups.get(&group)?.term(index)
    }

    /// Bytes of all segments' files, the room reserved in them included. Asks no disk.
    pub fn bytes(&self) -> u64 {
        self.shared
            .read()
            .segments
            .values()
            .map(|segment| segment.bytes)
            .sum()
    }

    /// The durable hard state of a group.
    pub fn hard_state(&self, group: u32) -> HardState {
        let state = self.shared.read();
        state
            .index
            .groups
            .get(&group)
            .map(|g| g.hard_state)
            .unwrap_or_default()
    }

    /// Reads entries of `range`: at least one, then as many as `bytes_max` allows. Bodies are not looked into.
    ///
    /// Meant for committed entries: of others, the writer may replace some meanwhile, which is an error here.
    pub fn read(&self, group: u32, range: Range<u64>, bytes_max: usize) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        let mut bytes = 0;
        let mut next = range.start;
        while next < range.end {
            let piece = self.piece(group, next..range.end)?;
            next = piece.wanted.end;
            if !read_piece(&piece, group, bytes_max, &mut bytes, &mut entries)? {
                break;
            }
        }
        Ok(entries)
    }

    fn piece(&self, group: u32, range: Range<u64>) -> Result<Piece> {
        let state = self.shared.read();
        let index = state.index.groups.get(&group);
        let outside = || Error::OutOfRange {
            low: range.start,
            high: range.end,
            first: index.map_or(1, |g| g.first()),
            last: index.map_or(0, |g| g.last()),
        };
        let run = index.and_then(|g| g.run_of(range.start)).ok_or_else(outside)?;
        let segment = state.segments.get(&run.generation).ok_or_else(outside)?;
        Ok(Piece {
            segment: segment.clone(),
            start: run.point_before(range.start),
            wanted: range.start..range.end.min(run.last + 1),
            term: run.term,
        })
    }
}

/// Reads a piece; `false` if the budget is spent.
fn read_piece(
    piece: &Piece,
    group: u32,
    bytes_max: usize,
    bytes: &mut usize,
    out: &mut Vec<Entry>,
) -> Result<bool> {
    let header = &piece.segment.header;
    let (name, salt) = (segment_name(header.generation), header.salt());
    let mut window = Window::new(&*piece.segment.file, &name, u64::MAX);
    let Point {
        mut index,
        mut offset,
    } = piece.start;
    while index < piece.wanted.end {
        let Some(record) = record_at(&mut window, offset, salt)? else {
            return Err(Error::corruption(&name, offset, "a durable record is damaged"));
        };
        offset += (RECORD_HEADER_BYTES + record.payload.len()) as u64;
        let Kind::Entry(kind) = record.header.kind else {
            continue;
        };
        if record.header.group != group {
            continue;
        }
        if record.header.index != index || record.header.term != piece.term {
            let what = format!("entry {} stands where {index} belongs", record.header.index);
            return Err(Error::corruption(&name, record.offset, what));
        }
        if index >= piece.wanted.start {
            *bytes += record.payload.len();
            if *bytes > bytes_max && !out.is_empty() {
                return Ok(false);
            }
            out.push(Entry {
                kind,
                term: piece.term,
                index,
                data: Bytes::copy_from_slice(record.payload),
            });
        }
        index += 1;
    }
    Ok(true)
}
