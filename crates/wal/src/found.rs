//! What is found in a log's files: records are taken into the index, and nothing on the disk is changed.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;

use crate::{
    Disk, Error, RecoveredGroup, Result, TornTail,
    format::{
        FLUSH_BYTES, Kind, RECORD_HEADER_BYTES, decode_hard_state, encode_record, flush_payload,
        parse_segment_name, segment_name,
    },
    index::Index,
    reader::Segment,
    scan::{Record, Window, find_flush, read_header, walk},
};

/// A record that stands behind the last durable offset.
pub(crate) struct Tail {
    pub kind: Kind,
    pub group: u32,
    pub term: u64,
    pub index: u64,
    pub payload: Vec<u8>,
}

/// What the last segment, which has no successor, says.
pub(crate) struct Last {
    pub generation: u64,
    /// Everything before was durable.
    pub durable: u64,
    /// Where the sound records end.
    pub end: u64,
    /// Sound records behind the durable offset.
    pub tail: Vec<Tail>,
    /// The last record is a close record: nothing was written behind it.
    pub closed: bool,
}

#[derive(Default)]
pub(crate) struct Found {
    pub index: Index,
    pub segments: BTreeMap<u64, Arc<Segment>>,
    pub torn: Option<TornTail>,
}

/// Generations of the segments among names of files, without gaps.
pub(crate) fn generations(names: &[String]) -> Result<Vec<u64>> {
    let mut generations: Vec<u64> = names.iter().filter_map(|name| parse_segment_name(name)).collect();
    generations.sort_unstable();
    if let Some(pair) = generations.windows(2).find(|pair| pair[1] != pair[0] + 1) {
        let missing = segment_name(pair[0] + 1);
        return Err(Error::corruption(&missing, 0, "the segment is missing"));
    }
    Ok(generations)
}

/// Names of all files.
pub(crate) fn list(disk: &dyn Disk) -> Result<Vec<String>> {
    disk.list().map_err(|e| Error::io("list", ".", e))
}

pub(crate) fn open_segments(disk: &dyn Disk, generations: &[u64]) -> Result<BTreeMap<u64, Arc<Segment>>> {
    let mut segments: BTreeMap<u64, Arc<Segment>> = BTreeMap::new();
    for &generation in generations {
        let name = segment_name(generation);
        let file = disk.open(&name).map_err(|e| Error::io("open", &name, e))?;
        let header = read_header(&*file, generation)?;
        if let Some((&before, previous)) = segments.last_key_value()
            && (header.previous != before || header.log_id != previous.header.log_id)
        {
            return Err(Error::corruption(&name, 0, "the segment belongs to another log"));
        }
        let bytes = file.len().map_err(|e| Error::io("stat", &name, e))?;
        segments.insert(generation, Arc::new(Segment { header, file, bytes }));
    }
    Ok(segments)
}

impl Found {
    /// Opens and scans a whole log. `seen` is called for each record in a place where it counts, in order.
    pub fn scan(
        disk: &dyn Disk,
        generations: &[u64],
        seen: &mut dyn FnMut(u64, &Record<'_>) -> Result<()>,
    ) -> Result<(Self, Option<Last>)> {
        let mut found = Found {
            segments: open_segments(disk, generations)?,
            ..Found::default()
        };
        let mut last = None;
        for (at, &generation) in generations.iter().enumerate() {
            match generations.get(at + 1) {
                Some(next) => {
                    let end = found.segments[next].header.previous_end;
                    found.scan_sealed(generation, end, seen)?;
                }
                None => last = Some(found.scan_last(generation, seen)?),
            }
        }
        Ok((found, last))
    }

    /// Scans a segment that has a successor: everything up to `end` was durable.
    fn scan_sealed(
        &mut self,
        generation: u64,
        end: u64,
        seen: &mut dyn FnMut(u64, &Record<'_>) -> Result<()>,
    ) -> Result<()> {
        let segment = self.segments[&generation].clone();
        let name = segment_name(generation);
        let mut window = Window::new(&*segment.file, &name, end);
        let stopped = walk(&mut window, segment.header.salt(), |record| {
            self.take(&name, generation, &record)?;
            seen(generation, &record)
        })?;
        if stopped != end {
            return Err(Error::corruption(
                &name,
                stopped,
                format!("a bad record below the durable offset {end}"),
            ));
        }
        Ok(())
    }

    /// Scans the last segment.
    fn scan_last(
        &mut self,
        generation: u64,
        seen: &mut dyn FnMut(u64, &Record<'_>) -> Result<()>,
    ) -> Result<Last> {
        let segment = self.segments[&generation].clone();
        let name = segment_name(generation);
        let salt = segment.header.salt();
        let len = segment.bytes;
        let mut window = Window::new(&*segment.file, &name, len);
        let mut durable = segment.header.filled;
        let mut tail: Vec<Tail> = Vec::new();
        let mut closed = false;
        let end = walk(&mut window, salt, |record| {
            closed = record.header.kind == Kind::Close;
            if !matches!(record.header.kind, Kind::Flush | Kind::Close) {
                if record.offset >= durable {
                    tail.push(Tail::of(&record));
                }
                return Ok(());
            }
            check_flush(&name, &record)?;
            // The flush that starts here found everything before it durable. The first may stand below `filled`.
            durable = durable.max(record.offset);
            tail.clear();
            Ok(())
        })?;
        let later = find_flush(&mut window, end, len, salt)?;
        if let Some(flush) = later.or((end < durable).then_some(durable)) {
            let what = format!("a bad record below the durable offset {flush}");
            return Err(Error::corruption(&name, end, what));
        }
        // In a recycled file, what a torn flush left cannot be told from what stood there before.
        if !segment.header.recycled
            && window
                .get(end, RECORD_HEADER_BYTES)?
                .is_some_and(|bytes| bytes.iter().any(|&b| b != 0))
        {
            self.torn = Some(TornTail {
                file: name.clone(),
                offset: end,
            });
        }
        // Second walk: only now is it known up to where records are to be taken from this segment.
        let mut window = Window::new(&*segment.file, &name, durable);
        walk(&mut window, salt, |record| {
            self.take(&name, generation, &record)?;
            seen(generation, &record)
        })?;
        Ok(Last {
            generation,
            durable,
            end,
            tail,
            closed,
        })
    }

    /// Takes in a segment just made, up to its end.
    pub fn scan_new(&mut self, generation: u64, end: u64) -> Result<()> {
        self.scan_sealed(generation, end, &mut |_, _| Ok(()))
    }

    /// Takes a record into the index.
    pub fn take(&mut self, name: &str, generation: u64, record: &Record<'_>) -> Result<()> {
        let header = &record.header;
        let wrong = |what: &str| Err(Error::corruption(name, record.offset, what));
        match header.kind {
            Kind::Flush | Kind::Close => check_flush(name, record)?,
            Kind::Entry(_) => {
                let group = self.index.groups.entry(header.group).or_default();
                if !group.insert(header.index, header.term, generation, record.offset) {
                    return wrong("an entry leaves a gap before it");
                }
            }
            Kind::HardState => match decode_hard_state(header.term, record.payload) {
                Some(state) => self.index.groups.entry(header.group).or_default().hard_state = state,
                None => return wrong("a hard state of the wrong size"),
            },
            Kind::Start => {
                let group = self.index.groups.entry(header.group).or_default();
                group.restart(header.index, header.term);
            }
            Kind::ConfState => {
                let group = self.index.groups.entry(header.group).or_default();
                group.conf_state = Some(record.payload.to_vec());
            }
        }
        Ok(())
    }

    pub fn groups(&self) -> BTreeMap<u32, RecoveredGroup> {
        let group = |(&id, held): (&u32, &crate::index::GroupIndex)| {
            let recovered = RecoveredGroup {
                hard_state: held.hard_state,
                conf_state: held.conf_state.clone().map(Bytes::from),
                first_index: held.first(),
                last_index: held.last(),
            };
            (id, recovered)
        };
        self.index.groups.iter().map(group).collect()
    }
}

fn check_flush(name: &str, record: &Record<'_>) -> Result<()> {
    if record.payload != flush_payload(record.offset)
        || record.payload.len() + RECORD_HEADER_BYTES != FLUSH_BYTES
    {
        let what = "a flush record in the wrong place";
        return Err(Error::corruption(name, record.offset, what));
    }
    Ok(())
}

impl Tail {
    /// Writes the record anew, for the segment of this salt.
    pub fn encode(&self, salt: u32, out: &mut Vec<u8>) {
        let payload = &self.payload;
        encode_record(self.kind, self.group, self.term, self.index, payload, salt, out);
    }

    pub fn of(record: &Record<'_>) -> Self {
        Self {
            kind: record.header.kind,
            group: record.header.group,
            term: record.header.term,
            index: record.header.index,
            payload: record.payload.to_vec(),
        }
    }
}
