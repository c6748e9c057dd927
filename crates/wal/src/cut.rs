//! Cutting a log knowingly where it is damaged, for a person who has nothing else left: what `longbow wal cut` does.
//!
//! Everything before the first bad record stays. What stands behind it is set aside under other names, for whoever wants to
//! look at it, and is no part of the log any more. How many entries it may have held is bounded by its bytes, so that
//! none of their indexes need be given again.
//!
//! A cut that is broken off leaves a log that is still damaged, and is to be done once more: it is the last step that
//! makes the log sound again, and that one is done whole or not at all.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    Disk, EntryKind, Error, HardState, Options, Reader, Result,
    disk::{read_full, write_full},
    format::{
        Kind, RECORD_HEADER_BYTES, RecordHeader, SEGMENT_HEADER_BYTES, SegmentHeader, encode_record,
        hard_state_payload, parse_segment_name, salt_of, segment_name,
    },
    found::{Found, list},
    index::GroupIndex,
    reader::{Segment, Shared},
    scan::{Window, find_flush, read_header, record_at, walk},
    segment::{MakeError, carry, header_room, make_segment},
    spares::Spares,
};

const COPY_BYTES: usize = 1 << 20;
/// Most indexes that a cut passes over: an empty entry is written for each.
const FILL_MAX: u64 = 1 << 24;

/// What a cut would do.
pub struct Cut {
    /// The first bad record.
    pub damage: Error,
    /// What stays of each group.
    pub groups: BTreeMap<u32, Kept>,
    /// Reads what stays.
    pub reader: Reader,
    /// The last segment that stays.
    last: u64,
    /// Where it ends.
    end: u64,
    /// Segments that do not stay.
    behind: Vec<u64>,
}

/// What stays of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// First index; the one after the last if there are no entries.
    pub first: u64,
    /// Last index that stays.
    pub last: u64,
    /// No entry behind this index was ever in the files that there are.
    pub bound: u64,
    /// The highest term found, in what is cut off, too.
    pub term: u64,
}

/// What a group goes on with behind a cut.
#[derive(Debug, Clone)]
pub struct Resume {
    /// Data of the first entry.
    pub first: Vec<u8>,
    /// The last entry: those between, and this one, are empty.
    pub last: u64,
    /// Term of these entries.
    pub term: u64,
}

impl Cut {
    /// What would be cut off. `None`: nothing, the log is sound. Nothing on the disk is changed.
    ///
    /// # Errors
    /// [`Error::Invalid`] where nothing is sound enough to stay, [`Error::Io`].
    pub fn plan(disk: &dyn Disk) -> Result<Option<Self>> {
        let mut generations: Vec<u64> = list(disk)?
            .iter()
            .filter_map(|name| parse_segment_name(name))
            .collect();
        generations.sort_unstable();
        let mut scan = Scan::default();
        let Some(damage) = scan.damage(disk, &generations)? else {
            return Ok(None);
        };
        let ends = scan.ends.filter(|_| !scan.found.index.groups.is_empty());
        let Some((last, end)) = ends else {
            return Err(Error::Invalid(format!(
                "nothing of the log can be kept: {damage}"
            )));
        };
        let log_id = scan.found.segments[&last].header.log_id;
        let mut rest = Rest::behind(&scan.found);
        rest.look(disk, last, log_id, end)?;
        let behind: Vec<u64> = generations.into_iter().filter(|&at| at > last).collect();
        let mut before = last;
        for &generation in &behind {
            rest.miss(generation - before - 1);
            rest.look(disk, generation, log_id, SEGMENT_HEADER_BYTES as u64)?;
            before = generation;
        }
        let shared = Arc::new(Shared::default());
        {
            let mut state = shared.write();
            (state.segments, state.index) = (scan.found.segments, scan.found.index);
        }
        Ok(Some(Self {
            damage,
            groups: rest.groups,
            reader: Reader { shared },
            last,
            end,
            behind,
        }))
    }

    /// Files that are set aside: the damaged one, of which the beginning stays, and all behind it.
    pub fn set_aside(&self) -> Vec<String> {
        let all = std::iter::once(&self.last).chain(&self.behind);
        all.map(|&generation| segment_name(generation)).collect()
    }

    /// Cuts, and goes on with `resume` in each group.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a group that is not named or that would go on before its bound: nothing is changed then. After
    /// any other the log is damaged still, or again, and is to be looked at once more.
    pub fn perform(self, disk: &Arc<dyn Disk>, resume: &BTreeMap<u32, Resume>) -> Result<()> {
        for (group, kept) in &self.groups {
            let fits = |resume: &&Resume| {
                resume.last > kept.last
                    && resume.last >= kept.bound
                    && resume.last - kept.last <= FILL_MAX
                    && resume.term > kept.term
            };
            if resume.get(group).filter(fits).is_none() {
                let message = format!(
                    "group {group} cannot go on behind entry {} of term {}: there may have been {} entries, and at most \
                     {FILL_MAX} are passed over",
                    kept.last, kept.term, kept.bound
                );
                return Err(Error::Invalid(message));
            }
        }
        // Whatever of the damage is still there tells a start that this is not done. So the segment behind the damaged one
        // stays until it is replaced, and the last one of all until nothing else is left to do.
        copy_aside(&**disk, self.last)?;
        let (next, beyond) = match self.behind.split_first() {
            Some((&next, beyond)) if next == self.last + 1 => (Some(next), beyond),
            _ => (None, &self.behind[..]),
        };
        if let Some(next) = next {
            copy_aside(&**disk, next)?;
        }
        let (final_one, beyond) = match beyond.split_last() {
            Some((&final_one, beyond)) => (Some(final_one), beyond),
            None => (None, beyond),
        };
        for &generation in beyond {
            move_aside(&**disk, generation)?;
        }
        self.go_on(disk, resume)?;
        final_one.map_or(Ok(()), |generation| move_aside(&**disk, generation))
    }

    /// Makes the segment that follows what stays.
    fn go_on(&self, disk: &Arc<dyn Disk>, resume: &BTreeMap<u32, Resume>) -> Result<()> {
        let state = self.reader.shared.read();
        let last = &state.segments[&self.last];
        // All that stays of the damaged one counts as durable from here on.
        let synced = last.file.sync_data();
        synced.map_err(|error| Error::io("sync", &segment_name(self.last), error))?;
        let header = SegmentHeader {
            log_id: last.header.log_id,
            generation: self.last + 1,
            previous: self.last,
            previous_end: self.end,
            filled: 0,
            recycled: false,
        };
        let (salt, mut bytes) = (header.salt(), header_room());
        for (&group, held) in &state.index.groups {
            let (kept, resume) = (self.groups[&group], &resume[&group]);
            carry(group, held, salt, &mut bytes);
            let hard = HardState {
                term: resume.term,
                vote: 0,
                commit: resume.last,
            };
            let mut record = |kind, index, data: &[u8]| {
                encode_record(kind, group, resume.term, index, data, salt, &mut bytes);
            };
            record(Kind::HardState, 0, &hard_state_payload(&hard));
            record(Kind::Entry(EntryKind::Normal), kept.last + 1, &resume.first);
            for index in kept.last + 2..=resume.last {
                record(Kind::Entry(EntryKind::Normal), index, &[]);
            }
        }
        let options = Options {
            segment_bytes: state
                .segments
                .values()
                .map(|segment| segment.bytes)
                .max()
                .unwrap_or(0),
            spares: 0,
        };
        // No spare: it might hold records of this very generation, which has been there before.
        let spares = Spares::load(disk.clone(), options, &[], self.last)?;
        match make_segment(&**disk, &spares, header, &mut bytes) {
            Ok(_) => Ok(()),
            Err(MakeError::Full(error)) => Err(error),
            Err(MakeError::Fatal(cause)) => Err(Error::Failed { cause }),
        }
    }
}

fn free_name(disk: &dyn Disk, generation: u64) -> Result<String> {
    let (names, name) = (list(disk)?, segment_name(generation));
    let free = (0u64..).map(|number| format!("{name}.cut-{number}"));
    let mut free = free.filter(|free| !names.contains(free));
    Ok(free
        .next()
        .expect("a directory holds fewer names than there are numbers"))
}

fn move_aside(disk: &dyn Disk, generation: u64) -> Result<()> {
    let (from, to) = (segment_name(generation), free_name(disk, generation)?);
    let moved = disk.rename(&from, &to).and_then(|()| disk.sync_dir());
    moved.map_err(|error| Error::io("set aside", &from, error))
}

fn copy_aside(disk: &dyn Disk, generation: u64) -> Result<()> {
    let (from, to) = (segment_name(generation), free_name(disk, generation)?);
    let copied = disk.open(&from).and_then(|file| {
        let len = file.len()?;
        let (copy, mut bytes, mut at) = (disk.create(&to, len)?, vec![0; COPY_BYTES], 0);
        while at < len {
            let read = read_full(&*file, &mut bytes, at)?;
            if read == 0 {
                break;
            }
            write_full(&*copy, &bytes[..read], at)?;
            at += read as u64;
        }
        copy.sync_data()?;
        disk.sync_dir()
    });
    copied.map_err(|error| Error::io("copy", &from, error))
}

/// What is sound, from the beginning on.
#[derive(Default)]
struct Scan {
    found: Found,
    /// The last segment that is there, and where its sound records end.
    ends: Option<(u64, u64)>,
}

impl Scan {
    /// Takes in all that is sound up to the first damage, which it returns.
    fn damage(&mut self, disk: &dyn Disk, generations: &[u64]) -> Result<Option<Error>> {
        for (at, &generation) in generations.iter().enumerate() {
            let checked = self.open(disk, generation);
            let segment = match checked {
                Ok(segment) => segment,
                Err(damage @ Error::Corruption { .. }) => return Ok(Some(damage)),
                Err(error) => return Err(error),
            };
            self.found.segments.insert(generation, segment.clone());
            let next = generations.get(at + 1);
            if let Some(damage) = self.records(disk, &segment, next.copied())? {
                return Ok(Some(damage));
            }
        }
        Ok(None)
    }

    fn open(&self, disk: &dyn Disk, generation: u64) -> Result<Arc<Segment>> {
        let name = segment_name(generation);
        let file = disk.open(&name).map_err(|e| Error::io("open", &name, e))?;
        let header = read_header(&*file, generation)?;
        if let Some((&before, previous)) = self.found.segments.last_key_value() {
            if generation != before + 1 {
                let missing = segment_name(before + 1);
                return Err(Error::corruption(&missing, 0, "the segment is missing"));
            }
            if header.previous != before || header.log_id != previous.header.log_id {
                return Err(Error::corruption(&name, 0, "the segment belongs to another log"));
            }
        }
        let bytes = file.len().map_err(|e| Error::io("stat", &name, e))?;
        Ok(Arc::new(Segment { header, file, bytes }))
    }

    /// Takes in the sound records of a segment. `next`: the one behind it, which may say where this one ends.
    fn records(&mut self, disk: &dyn Disk, segment: &Segment, next: Option<u64>) -> Result<Option<Error>> {
        let generation = segment.header.generation;
        let (name, salt) = (segment_name(generation), segment.header.salt());
        let sealed = next
            .filter(|&next| next == generation + 1)
            .and_then(|next| {
                let file = disk.open(&segment_name(next)).ok()?;
                let header = read_header(&*file, next).ok()?;
                (header.previous == generation && header.log_id == segment.header.log_id).then_some(header)
            })
            .map(|header| header.previous_end);
        let len = sealed.map_or(segment.bytes, |end| end.min(segment.bytes));
        let mut window = Window::new(&*segment.file, &name, len);
        let (mut wrong, mut wrong_at) = (None, 0);
        let stopped = walk(&mut window, salt, |record| {
            if wrong.is_none() {
                wrong = self.found.take(&name, generation, &record).err();
                wrong_at = record.offset;
            }
            Ok(())
        })?;
        if let Some(damage) = wrong {
            self.ends = Some((generation, wrong_at));
            return Ok(Some(damage));
        }
        self.ends = Some((generation, stopped));
        let vouched = match (sealed, next) {
            (Some(end), _) => Some(end).filter(|&end| end != stopped),
            // The next one cannot say where this one ends, and is damage itself.
            (None, Some(_)) => None,
            (None, None) => find_flush(&mut window, stopped, len, salt)?
                .or(Some(segment.header.filled).filter(|&filled| filled > stopped)),
        };
        Ok(vouched.map(|end| {
            Error::corruption(
                &name,
                stopped,
                format!("a bad record below the durable offset {end}"),
            )
        }))
    }
}

/// What may have stood behind the damage.
struct Rest {
    groups: BTreeMap<u32, Kept>,
    /// Of each group, the highest index that there may have been where it is looked at.
    reach: BTreeMap<u32, u64>,
    /// Bytes of the largest file.
    largest: u64,
}

impl Rest {
    fn behind(found: &Found) -> Self {
        let kept = |(&group, held): (&u32, &GroupIndex)| {
            let kept = Kept {
                first: held.first(),
                last: held.last(),
                bound: held.last(),
                term: held.hard_state.term.max(held.term(held.last()).unwrap_or(0)),
            };
            (group, kept)
        };
        let groups: BTreeMap<u32, Kept> = found.index.groups.iter().map(kept).collect();
        Self {
            reach: groups.iter().map(|(&group, kept)| (group, kept.last)).collect(),
            groups,
            largest: 0,
        }
    }

    /// So many files are missing.
    fn miss(&mut self, files: u64) {
        self.hole(self.largest.saturating_mul(files));
    }

    /// So many bytes say nothing. No entry is smaller than the header of its record.
    fn hole(&mut self, bytes: u64) {
        for (group, reach) in &mut self.reach {
            *reach = reach.saturating_add(bytes / RECORD_HEADER_BYTES as u64);
            if let Some(kept) = self.groups.get_mut(group) {
                kept.bound = kept.bound.max(*reach);
            }
        }
    }

    /// Looks at a segment from an offset on, whatever its header says: at what is sound again behind each flush record.
    fn look(&mut self, disk: &dyn Disk, generation: u64, log_id: u64, from: u64) -> Result<()> {
        let name = segment_name(generation);
        let file = disk.open(&name).map_err(|e| Error::io("open", &name, e))?;
        let len = file.len().map_err(|e| Error::io("stat", &name, e))?;
        self.largest = self.largest.max(len);
        let salt = salt_of(log_id, generation);
        let mut window = Window::new(&*file, &name, len);
        let (mut at, mut is_silent) = (from, true);
        while let Some(flush) = find_flush(&mut window, at, len, salt)? {
            is_silent = false;
            self.hole(flush - at);
            at = flush;
            while let Some(record) = record_at(&mut window, at, salt)? {
                at += (RECORD_HEADER_BYTES + record.payload.len()) as u64;
                self.see(&record.header);
            }
        }
        // Nothing vouches for what stands behind the last flush of all; where there is none, anything may have been.
        if is_silent {
            self.hole(len.saturating_sub(at));
        }
        Ok(())
    }

    fn see(&mut self, header: &RecordHeader) {
        let (Some(kept), Some(reach)) = (
            self.groups.get_mut(&header.group),
            self.reach.get_mut(&header.group),
        ) else {
            return;
        };
        kept.term = kept.term.max(header.term);
        if matches!(header.kind, Kind::Entry(_) | Kind::Start) {
            *reach = header.index;
            kept.bound = kept.bound.max(header.index);
        }
    }
}

#[cfg(test)]
mod tests;
