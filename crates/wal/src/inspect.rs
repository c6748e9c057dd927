//! Looking at a log without changing it, for a person: what `longbow wal` shows.
//!
//! The disk is only listed and read. Give it [`FsDisk::open_to_read`](crate::FsDisk::open_to_read) and it cannot be more.

use std::{collections::BTreeMap, ops::RangeInclusive};

use crate::{
    Disk, EntryKind, Error, HardState, RecoveredGroup, Result, TornTail,
    format::{Kind, SegmentHeader, decode_hard_state, segment_name},
    found::{Found, Tail, generations, list},
    scan::{Record, Window, read_header, walk},
    spares::parse_spare_name,
};

/// What a log holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Identity of the log; `None` if there are no segments.
    pub log_id: Option<u64>,
    /// Oldest first.
    pub segments: Vec<SegmentReport>,
    /// Files that wait to become segments.
    pub spares: Vec<String>,
    /// What a start would find of each group, but for records behind the last durable offset.
    pub groups: BTreeMap<u32, RecoveredGroup>,
    /// Bytes behind the last sound record that a start would cut.
    pub torn: Option<TornTail>,
    /// Sound records behind the last durable offset: a start rewrites them.
    pub unproven: usize,
    /// The log was closed: a start goes on in the last segment.
    pub closed: bool,
}

/// What one segment holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentReport {
    /// File name.
    pub file: String,
    /// Number of the segment.
    pub generation: u64,
    /// Length of the file.
    pub bytes: u64,
    /// Where sound records end.
    pub end: u64,
    /// Everything before this offset is known to have been durable.
    pub durable: u64,
    /// The file had a former life.
    pub recycled: bool,
    /// Records of all kinds.
    pub records: u64,
    /// Flushes begun.
    pub flushes: u64,
    /// Entries, replaced ones included.
    pub entries: u64,
    /// Bytes of their data.
    pub entry_bytes: u64,
    /// Smallest and largest index of each group's entries.
    pub indexes: BTreeMap<u32, RangeInclusive<u64>>,
}

/// A record as it stands in a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordReport {
    /// File name.
    pub file: String,
    /// Where it starts.
    pub offset: u64,
    /// Log group.
    pub group: u32,
    /// What it is.
    pub content: Content,
}

/// What a record is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// An entry.
    Entry {
        /// Kind.
        kind: EntryKind,
        /// Term.
        term: u64,
        /// Index.
        index: u64,
        /// Data.
        data: Vec<u8>,
    },
    /// What raft must remember beside its log.
    HardState(HardState),
    /// A membership, opaque here.
    ConfState(Vec<u8>),
    /// The group's log begins behind this entry: it came as a snapshot.
    Start {
        /// Term of that entry.
        term: u64,
        /// Its index.
        index: u64,
    },
    /// A flush began here: everything before was durable.
    Flush,
    /// The log was closed here: everything before was durable, and nothing was written behind.
    Close,
}

/// Checks everything that a start would check, and counts. The first bad byte is an [`Error::Corruption`].
pub fn verify(disk: &dyn Disk) -> Result<Report> {
    let names = list(disk)?;
    let generations = generations(&names)?;
    let mut spares: Vec<String> = names;
    spares.retain(|name| parse_spare_name(name).is_some());
    spares.sort_unstable();
    let mut segments: BTreeMap<u64, SegmentReport> = BTreeMap::new();
    let mut count = |generation: u64, record: &Record<'_>| {
        let name = segment_name(generation);
        let report = segments
            .entry(generation)
            .or_insert_with(|| SegmentReport::new(name));
        report.count(record);
        Ok(())
    };
    let (found, last) = Found::scan(disk, &generations, &mut count)?;
    for (&generation, segment) in &found.segments {
        let name = segment_name(generation);
        let report = segments
            .entry(generation)
            .or_insert_with(|| SegmentReport::new(name.clone()));
        report.generation = generation;
        report.recycled = segment.header.recycled;
        report.bytes = segment.bytes;
        let next = found.segments.get(&(generation + 1));
        if let Some(next) = next {
            (report.durable, report.end) = (next.header.previous_end, next.header.previous_end);
        } else if let Some(last) = &last {
            (report.durable, report.end) = (last.durable, last.end);
        }
    }
    Ok(Report {
        log_id: found.segments.values().next().map(|s| s.header.log_id),
        segments: segments.into_values().collect(),
        spares,
        groups: found.groups(),
        torn: found.torn,
        unproven: last.as_ref().map_or(0, |last| last.tail.len()),
        closed: last.is_some_and(|last| last.closed),
    })
}

impl SegmentReport {
    fn new(file: String) -> Self {
        Self {
            file,
            generation: 0,
            bytes: 0,
            end: 0,
            durable: 0,
            recycled: false,
            records: 0,
            flushes: 0,
            entries: 0,
            entry_bytes: 0,
            indexes: BTreeMap::new(),
        }
    }

    fn count(&mut self, record: &Record<'_>) {
        self.records += 1;
        match record.header.kind {
            Kind::Flush => self.flushes += 1,
            Kind::Entry(_) => {
                self.entries += 1;
                self.entry_bytes += record.payload.len() as u64;
                let index = record.header.index;
                let seen = self.indexes.entry(record.header.group).or_insert(index..=index);
                *seen = index.min(*seen.start())..=index.max(*seen.end());
            }
            Kind::HardState | Kind::ConfState | Kind::Start | Kind::Close => {}
        }
    }
}

/// Visits every sound record of every segment, oldest first, the replaced and the unproven ones included.
///
/// Ends with the first bad record below a durable offset of a segment that has a successor, as [`Error::Corruption`], or
/// with the first error of `visit`.
pub fn dump<E: From<Error>>(
    disk: &dyn Disk,
    mut visit: impl FnMut(RecordReport) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    let generations = generations(&list(disk)?)?;
    for (at, &generation) in generations.iter().enumerate() {
        let name = segment_name(generation);
        let file = disk.open(&name).map_err(|e| Error::io("open", &name, e))?;
        let header = read_header(&*file, generation)?;
        let len = file.len().map_err(|e| Error::io("stat", &name, e))?;
        // Behind a successor's word nothing counts.
        let sealed = sealed_end(disk, generations.get(at + 1))?;
        let end = sealed.map_or(len, |end| end.min(len));
        let mut window = Window::new(&*file, &name, end);
        let mut ended = None;
        let stopped = walk(&mut window, header.salt(), |record| {
            if ended.is_none()
                && let Err(error) = visit(RecordReport::of(&name, &record)?)
            {
                ended = Some(error);
                return Err(Error::Invalid("the visit was ended".to_owned()));
            }
            Ok(())
        });
        if let Some(error) = ended {
            return Err(error);
        }
        let stopped = stopped?;
        if let Some(sealed) = sealed.filter(|&sealed| stopped != sealed) {
            let what = format!("a bad record below the durable offset {sealed}");
            return Err(Error::corruption(&name, stopped, what).into());
        }
    }
    Ok(())
}

/// Where the segment before this one ends.
fn sealed_end(disk: &dyn Disk, next: Option<&u64>) -> Result<Option<u64>> {
    let Some(&next) = next else {
        return Ok(None);
    };
    let name = segment_name(next);
    let file = disk.open(&name).map_err(|e| Error::io("open", &name, e))?;
    let header: SegmentHeader = read_header(&*file, next)?;
    Ok(Some(header.previous_end))
}

impl RecordReport {
    fn of(name: &str, record: &Record<'_>) -> Result<Self> {
        let Tail {
            kind,
            group,
            term,
            index,
            payload,
        } = Tail::of(record);
        let content = match kind {
            Kind::Entry(kind) => Content::Entry {
                kind,
                term,
                index,
                data: payload,
            },
            Kind::HardState => match decode_hard_state(term, &payload) {
                Some(state) => Content::HardState(state),
                None => {
                    let what = "a hard state of the wrong size";
                    return Err(Error::corruption(name, record.offset, what));
                }
            },
            Kind::ConfState => Content::ConfState(payload),
            Kind::Start => Content::Start { term, index },
            Kind::Flush => Content::Flush,
            Kind::Close => Content::Close,
        };
        Ok(Self {
            file: name.to_owned(),
            offset: record.offset,
            group,
            content,
        })
    }
}
