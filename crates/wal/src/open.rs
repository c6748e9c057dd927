//! Finding the log again: what is durable stays, a torn tail is cut, anything else is refused.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;

use crate::{
    Disk, Error, HardState, Reader, Result, Writer,
    disk::{is_full, write_full},
    format::{FLUSH_BYTES, Kind, NEW_SEGMENT_NAME, SegmentHeader, flush_record, segment_name},
    found::{Found, Last, Tail, generations, list},
    reader::{Segment, Shared},
    segment::{MakeError, NewSegment, head, make_segment},
    spares::{NEW_SPARE_NAME, Spares},
};

/// Sizes of the log.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Bytes reserved for a segment.
    pub segment_bytes: u64,
    /// Files that may wait to become segments: made ahead, or left over from segments that were trimmed.
    pub spares: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            spares: 1,
        }
    }
}

/// A log just opened.
pub struct Log {
    /// Appends.
    pub writer: Writer,
    /// Reads.
    pub reader: Reader,
    /// What was found.
    pub recovered: Recovered,
}

/// What was found on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// Identity of the log, chosen when it was created.
    pub log_id: u64,
    /// Groups with at least one record.
    pub groups: BTreeMap<u32, RecoveredGroup>,
    /// The tail that was cut, if one was torn.
    pub torn: Option<TornTail>,
    /// Records that were not known to be synced, written anew and synced.
    pub rewritten: usize,
}

/// What was found of one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveredGroup {
    /// The last hard state.
    pub hard_state: HardState,
    /// The last membership.
    pub conf_state: Option<Bytes>,
    /// First index; the one after the last if there are no entries.
    pub first_index: u64,
    /// Last index; 0 if there never were entries, the one that the log begins behind if there are none.
    pub last_index: u64,
}

/// Bytes after the last durable offset that are no sound record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornTail {
    /// File name.
    pub file: String,
    /// Where the sound records end.
    pub offset: u64,
}

impl Log {
    /// Whether the disk holds a log.
    pub fn exists(disk: &dyn Disk) -> Result<bool> {
        Ok(!generations(&list(disk)?)?.is_empty())
    }

    /// Creates a log on a disk that holds none.
    pub fn create(disk: Arc<dyn Disk>, options: Options, log_id: u64) -> Result<Log> {
        if Self::exists(&*disk)? {
            return Err(Error::Invalid("the disk holds a log already".to_owned()));
        }
        let names = tidied(&*disk)?;
        let spares = Spares::load(disk.clone(), options, &names, 0)?;
        let header = SegmentHeader {
            log_id,
            generation: 1,
            previous: 0,
            previous_end: 0,
            filled: 0,
            recycled: false,
        };
        Self::start(disk, spares, Found::default(), header, &[])
    }

    /// Opens the log on a disk.
    pub fn open(disk: Arc<dyn Disk>, options: Options) -> Result<Log> {
        let names = tidied(&*disk)?;
        let generations = generations(&names)?;
        let (found, last) = Found::scan(&*disk, &generations, &mut |_, _| Ok(()))?;
        let Some(last) = last else {
            return Err(Error::Invalid("the disk holds no log".to_owned()));
        };
        let spares = Spares::load(disk.clone(), options, &names, last.generation)?;
        if last.closed
            && let Some(reopened) = reopen(&found, &last)?
        {
            return Ok(Self::ready(disk, spares, found, reopened, 0));
        }
        let header = SegmentHeader {
            log_id: found.segments[&last.generation].header.log_id,
            generation: last.generation + 1,
            previous: last.generation,
            previous_end: last.durable,
            filled: 0,
            recycled: false,
        };
        Self::start(disk, spares, found, header, &last.tail)
    }

    /// Makes the segment that appends go to, with the records that were not known to be synced.
    fn start(
        disk: Arc<dyn Disk>,
        spares: Spares,
        mut found: Found,
        header: SegmentHeader,
        tail: &[Tail],
    ) -> Result<Log> {
        let salt = header.salt();
        let mut bytes = head(&found.index.groups, salt);
        for record in tail {
            record.encode(salt, &mut bytes);
        }
        let made = make_segment(&*disk, &spares, header, &mut bytes);
        let made = made.map_err(|error| match error {
            MakeError::Full(error) => error,
            MakeError::Fatal(cause) => Error::Failed { cause },
        })?;
        // Gives unused room back. Failing to costs space alone.
        if let Some(previous) = found.segments.get(&header.previous)
            && previous.file.truncate(header.previous_end).is_ok()
        {
            let shorter = Segment {
                header: previous.header,
                file: previous.file.clone(),
                bytes: header.previous_end,
            };
            found.segments.insert(header.previous, Arc::new(shorter));
        }
        found.segments.insert(header.generation, made.segment.clone());
        found.scan_new(header.generation, made.end)?;
        Ok(Self::ready(disk, spares, found, made, tail.len()))
    }

    fn ready(disk: Arc<dyn Disk>, spares: Spares, found: Found, at: NewSegment, rewritten: usize) -> Log {
        let recovered = Recovered {
            log_id: at.segment.header.log_id,
            groups: found.groups(),
            torn: found.torn,
            rewritten,
        };
        let shared = Arc::new(Shared::default());
        {
            let mut state = shared.write();
            state.index = found.index;
            state.segments = found.segments;
        }
        let writer = Writer::new(disk, shared, spares, at);
        Log {
            reader: writer.reader(),
            writer,
            recovered,
        }
    }
}

/// Goes on in the segment that the log was closed in. `None`: there is no room in it.
///
/// A flush record behind the close record says, durably and before anything else is written, that it is open again. Only
/// so does a close record at the end of a segment prove that nothing was ever written behind it. The close record
/// is written once more, because a failed sync may have left it in the page cache alone.
fn reopen(found: &Found, last: &Last) -> Result<Option<NewSegment>> {
    let segment = found.segments[&last.generation].clone();
    let (name, capacity) = (segment_name(last.generation), segment.bytes);
    let (behind, end) = (last.end, last.end + FLUSH_BYTES as u64);
    if end + 2 * FLUSH_BYTES as u64 > capacity {
        return Ok(None);
    }
    let salt = segment.header.salt();
    let mut bytes = [0; 2 * FLUSH_BYTES];
    bytes[..FLUSH_BYTES].copy_from_slice(&flush_record(Kind::Close, last.durable, salt));
    bytes[FLUSH_BYTES..].copy_from_slice(&flush_record(Kind::Flush, behind, salt));
    let written = write_full(&*segment.file, &bytes, last.durable);
    written.map_err(|source| match is_full(&source) {
        true => Error::Full {
            operation: "write",
            source,
        },
        false => Error::Failed {
            cause: format!("write {name}: {source}"),
        },
    })?;
    segment.file.sync_data().map_err(|error| Error::Failed {
        cause: format!("fdatasync {name}: {error}"),
    })?;
    Ok(Some(NewSegment {
        segment,
        capacity,
        end,
    }))
}

/// Names of all files, without what a crash left of files that were being made: those are removed.
fn tidied(disk: &dyn Disk) -> Result<Vec<String>> {
    let mut names = list(disk)?;
    for left in [NEW_SEGMENT_NAME, NEW_SPARE_NAME] {
        if names.iter().any(|name| name == left) {
            disk.remove(left).map_err(|e| Error::io("remove", left, e))?;
            names.retain(|name| name != left);
        }
    }
    Ok(names)
}
