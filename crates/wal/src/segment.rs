//! How a segment comes to be: written under another name, synced, and only then given its own.

use std::{collections::BTreeMap, io, sync::Arc};

use crate::{
    Disk, DiskFile, Error, HardState,
    disk::{is_full, write_full},
    format::{
        FLUSH_BYTES, Kind, NEW_SEGMENT_NAME, SEGMENT_HEADER_BYTES, SegmentHeader, encode_record,
        hard_state_payload, segment_name,
    },
    index::GroupIndex,
    reader::Segment,
    spares::Spares,
};

/// A segment just made, durable up to `end`.
pub(crate) struct NewSegment {
    pub segment: Arc<Segment>,
    pub capacity: u64,
    pub end: u64,
}

pub(crate) enum MakeError {
    /// No space, nothing changed.
    Full(Error),
    Fatal(String),
}

impl MakeError {
    fn of(operation: &'static str, generation: u64, error: io::Error) -> Self {
        if is_full(&error) {
            return MakeError::Full(Error::Full {
                operation,
                source: error,
            });
        }
        MakeError::Fatal(format!("{operation} {}: {error}", segment_name(generation)))
    }
}

/// Appends the small states of a group.
pub(crate) fn carry(group: u32, held: &GroupIndex, salt: u32, out: &mut Vec<u8>) {
    if let Some((index, term)) = held.start() {
        encode_record(Kind::Start, group, term, index, &[], salt, out);
    }
    let (hard, conf) = (held.hard_state, held.conf_state.as_deref());
    if let Some(conf) = conf {
        encode_record(Kind::ConfState, group, 0, 0, conf, salt, out);
    }
    if hard != HardState::default() {
        let payload = hard_state_payload(&hard);
        encode_record(Kind::HardState, group, hard.term, 0, &payload, salt, out);
    }
}

/// Room for the header of a segment, which [`make_segment`] fills. Its records go behind.
pub(crate) fn header_room() -> Vec<u8> {
    vec![0; SEGMENT_HEADER_BYTES]
}

/// What a segment begins with, so that it can be read without those before it: room for its header, and the small states of
/// all groups.
pub(crate) fn head(groups: &BTreeMap<u32, GroupIndex>, salt: u32) -> Vec<u8> {
    let mut head = header_room();
    for (&group, held) in groups {
        carry(group, held, salt, &mut head);
    }
    head
}

/// Makes a segment of these bytes, room for its header and the first records, with one write and one sync: from a spare if
/// there is one.
pub(crate) fn make_segment(
    disk: &dyn Disk,
    spares: &Spares,
    header: SegmentHeader,
    bytes: &mut [u8],
) -> Result<NewSegment, MakeError> {
    let end = bytes.len() as u64;
    // Room for the close record of a clean end.
    let need = end + FLUSH_BYTES as u64;
    let generation = header.generation;
    let spare = spares
        .take(generation, need)
        .map_err(|error| MakeError::of("take a spare for", generation, error))?;
    match spare {
        Some(spare) => {
            let header = SegmentHeader {
                recycled: !spare.blank,
                ..header
            };
            let name = spare.name();
            let made = fill(&*spare.file, header, bytes);
            if let Err(error) = made {
                let error = MakeError::of("write segment", generation, error);
                if matches!(error, MakeError::Full(_)) {
                    spares.give_back(spare);
                }
                return Err(error);
            }
            let capacity = spare.len;
            finish(disk, header, &name, spare.file, capacity, end)
        }
        None => {
            let capacity = spares.segment_bytes().max(need);
            let made = disk
                .create(NEW_SEGMENT_NAME, capacity)
                .and_then(|file| fill(&*file, header, bytes).map(|()| file));
            match made {
                Ok(file) => finish(disk, header, NEW_SEGMENT_NAME, file, capacity, end),
                Err(error) => {
                    let error = MakeError::of("create segment", generation, error);
                    if matches!(error, MakeError::Full(_)) {
                        let _ = disk.remove(NEW_SEGMENT_NAME);
                    }
                    Err(error)
                }
            }
        }
    }
}

fn fill(file: &dyn DiskFile, mut header: SegmentHeader, bytes: &mut [u8]) -> io::Result<()> {
    header.filled = bytes.len() as u64;
    bytes[..SEGMENT_HEADER_BYTES].copy_from_slice(&header.encode());
    write_full(file, bytes, 0)
}

/// Syncs a segment and gives it its name.
fn finish(
    disk: &dyn Disk,
    mut header: SegmentHeader,
    from: &str,
    file: Arc<dyn DiskFile>,
    capacity: u64,
    end: u64,
) -> Result<NewSegment, MakeError> {
    header.filled = end;
    let name = segment_name(header.generation);
    let named = file
        .sync_data()
        .and_then(|()| disk.rename(from, &name))
        .and_then(|()| disk.sync_dir());
    named.map_err(|error| MakeError::Fatal(format!("sync of new segment {name}: {error}")))?;
    Ok(NewSegment {
        segment: Arc::new(Segment {
            header,
            file,
            bytes: capacity,
        }),
        capacity,
        end,
    })
}
