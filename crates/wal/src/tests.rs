//! One behaviour per test; what crashes do to arbitrary histories is in `model`.

mod recycle;

use std::sync::Arc;

use crate::{
    Entry, EntryKind, Error, FsDisk, HardState, Log, Options, Reader, TornTail, Writer,
    format::{FLUSH_BYTES, RECORD_HEADER_BYTES, SEGMENT_HEADER_BYTES, segment_name},
    sim::{Faults, SimDisk},
};

const SMALL: Options = Options {
    segment_bytes: 4096,
    spares: 0,
};
const LOG_ID: u64 = 0x1234_5678_9abc_def0;

fn create(disk: &SimDisk) -> Log {
    Log::create(Arc::new(disk.clone()), SMALL, LOG_ID).unwrap()
}

fn open(disk: &SimDisk) -> Result<Log, Error> {
    Log::open(Arc::new(disk.clone()), SMALL)
}

/// Name of the segment appended to.
fn newest(disk: &SimDisk) -> String {
    let mut names = crate::Disk::list(disk).unwrap();
    names.retain(|name| name.ends_with(".wal"));
    names.pop().unwrap()
}

fn put(writer: &mut Writer, term: u64, index: u64, data: &[u8]) {
    writer.entry(0, EntryKind::Normal, term, index, data).unwrap();
}

fn entry(term: u64, index: u64, data: &[u8]) -> Entry {
    Entry {
        kind: EntryKind::Normal,
        term,
        index,
        data: bytes::Bytes::copy_from_slice(data),
    }
}

fn all(reader: &Reader) -> Vec<Entry> {
    reader
        .read(0, reader.first_index(0)..reader.last_index(0) + 1, usize::MAX)
        .unwrap()
}

#[test]
fn what_was_flushed_is_read_and_found_again() {
    let disk = SimDisk::new();
    let mut log = create(&disk);
    put(&mut log.writer, 1, 1, b"one");
    log.writer.hard_state(
        0,
        HardState {
            term: 1,
            vote: 2,
            commit: 0,
        },
    );
    log.writer.conf_state(0, b"members").unwrap();
    log.writer
        .entry(7, EntryKind::ConfChangeV2, 3, 1, b"other group")
        .unwrap();
    assert_eq!(
        log.reader.last_index(0),
        0,
        "nothing is seen before it is durable"
    );
    assert_eq!(log.writer.flush().unwrap().records, 4);
    put(&mut log.writer, 1, 2, b"");
    put(&mut log.writer, 2, 3, &[9; 3000]);
    log.writer.flush().unwrap();
    let expected = vec![entry(1, 1, b"one"), entry(1, 2, b""), entry(2, 3, &[9; 3000])];
    assert_eq!(all(&log.reader), expected);
    assert_eq!(
        (
            log.reader.term(0, 2),
            log.reader.term(0, 3),
            log.reader.term(0, 4)
        ),
        (Some(1), Some(2), None)
    );
    drop(log);

    let log = open(&disk.reopen()).unwrap();
    assert_eq!(all(&log.reader), expected);
    let group = &log.recovered.groups[&0];
    assert_eq!(
        group.hard_state,
        HardState {
            term: 1,
            vote: 2,
            commit: 0
        }
    );
    assert_eq!(group.conf_state.as_deref(), Some(&b"members"[..]));
    assert_eq!((group.first_index, group.last_index), (1, 3));
    assert_eq!(log.recovered.groups[&7].last_index, 1);
    // The last flush has no later flush to prove it was synced.
    assert_eq!((log.recovered.rewritten, log.recovered.torn), (2, None));
}

#[test]
fn a_clean_end_leaves_nothing_to_rewrite() {
    let disk = SimDisk::new();
    let mut log = create(&disk);
    put(&mut log.writer, 1, 1, b"one");
    log.writer.close().unwrap();
    for _ in 0..3 {
        let log = open(&disk.reopen()).unwrap();
        assert_eq!((log.recovered.rewritten, log.recovered.torn.clone()), (0, None));
        assert_eq!(all(&log.reader), [entry(1, 1, b"one")]);
        log.writer.close().unwrap();
    }
}

#[test]
fn one_sync_for_each_flush() {
    let disk = SimDisk::new();
    let mut log = create(&disk);
    let before = disk.counters();
    for index in 1..=20 {
        put(&mut log.writer, 1, index, b"x");
        if index % 5 == 0 {
            log.writer.flush().unwrap();
        }
    }
    log.writer.flush().unwrap();
    let after = disk.counters();
    assert_eq!(after.syncs - before.syncs, 4);
    let records = 20 * (RECORD_HEADER_BYTES + 1) + 4 * FLUSH_BYTES;
    assert_eq!(after.bytes_written - before.bytes_written, records as u64);
}

#[test]
fn segments_of_many_groups_begin_with_the_states_of_all() {
    let disk = SimDisk::new();
    let options = Options {
        segment_bytes: 32 << 10,
        spares: 0,
    };
    let mut log = Log::create(Arc::new(disk.clone()), options, LOG_ID).unwrap();
    let hard = |group| HardState {
        term: 1,
        vote: u64::from(group),
        commit: 0,
    };
    let members = |group: u32| [group as u8; 40];
    for group in 0..100 {
        log.writer.hard_state(group, hard(group));
        log.writer.conf_state(group, &members(group)).unwrap();
    }
    for index in 1..=50 {
        put(&mut log.writer, 1, index, &[index as u8; 2000]);
        log.writer.flush().unwrap();
    }
    log.writer.trim(|_| u64::MAX, usize::MAX).unwrap();
    drop(log);
    let log = Log::open(Arc::new(disk.clone()), options).unwrap();
    assert_eq!(log.recovered.groups.len(), 100);
    for group in 0..100 {
        let found = &log.recovered.groups[&group];
        assert_eq!(found.hard_state, hard(group));
        assert_eq!(found.conf_state.as_deref(), Some(&members(group)[..]));
    }
    assert_eq!(log.reader.last_index(0), 50);
    assert_eq!(all(&log.reader).pop(), Some(entry(1, 50, &[50; 2000])));
}

#[test]
fn a_conflicting_suffix_is_replaced() {
    let disk = SimDisk::new();
    let mut log = create(&disk);
    for index in 1..=5 {
        put(&mut log.writer, 1, index, b"old");
    }
    log.writer.flush().unwrap();
    put(&mut log.writer, 2, 3, b"new");
    log.writer.flush().unwrap();
    let expected = [entry(1, 1, b"old"), entry(1, 2, b"old"), entry(2, 3, b"new")];
    assert_eq!(all(&log.reader), expected);
    // The term of what stood there before, once more: it must not join the run of the past.
    put(&mut log.writer, 2, 2, b"a");
    put(&mut log.writer, 2, 3, b"b");
    log.writer.flush().unwrap();
    let expected = [entry(1, 1, b"old"), entry(2, 2, b"a"), entry(2, 3, b"b")];
    assert_eq!(all(&log.reader), expected);
    let outside = log.reader.read(0, 3..5, usize::MAX).unwrap_err();
    assert!(matches!(outside, Error::OutOfRange { last: 3, .. }), "{outside}");
    assert_eq!(all(&open(&disk.reopen()).unwrap().reader), expected);
}

#[test]
fn reads_stop_at_their_budget_but_give_one_entry() {
    let disk = SimDisk::new();
    let mut log = create(&disk);
    for index in 1..=6 {
        put(&mut log.writer, index / 3 + 1, index, &[0; 1000]);
        log.writer.flush().unwrap();
    }
    let read = |range, bytes| log.reader.read(0, range, bytes).unwrap().len();
    assert_eq!(
        (
            read(1..7, 0),
            read(1..7, 2999),
            read(1..7, 3000),
            read(4..6, 9999)
        ),
        (1, 2, 3, 2)
    );
}

#[test]
fn a_torn_tail_is_cut() {
    let disk = SimDisk::new();
    let mut log = create(&disk);
    put(&mut log.writer, 1, 1, b"kept");
    log.writer.flush().unwrap();
    put(&mut log.writer, 1, 2, b"torn");
    log.writer.flush().unwrap();
    let second = SEGMENT_HEADER_BYTES + 2 * FLUSH_BYTES + RECORD_HEADER_BYTES + 4;
    disk.flip_bit(&segment_name(1), second + RECORD_HEADER_BYTES, 0);
    let log = open(&disk.reopen()).unwrap();
    assert_eq!(all(&log.reader), [entry(1, 1, b"kept")]);
    let torn = TornTail {
        file: segment_name(1),
        offset: second as u64,
    };
    assert_eq!(log.recovered.torn, Some(torn));
}

#[test]
fn a_bad_record_below_a_durable_offset_is_corruption() {
    let disk = SimDisk::new();
    let mut log = create(&disk);
    for index in 1..=3 {
        put(&mut log.writer, 1, index, b"data");
        log.writer.flush().unwrap();
    }
    let first = SEGMENT_HEADER_BYTES + FLUSH_BYTES;
    for (offset, what) in [
        (first, "length"),
        (first + 8, "kind"),
        (first + RECORD_HEADER_BYTES, "data"),
        (9, "header"),
    ] {
        disk.flip_bit(&segment_name(1), offset, 5);
        let error = open(&disk.reopen()).err().expect(what);
        let Error::Corruption { file, offset: at, .. } = &error else {
            panic!("{what}: {error}");
        };
        let record = if what == "header" { 0 } else { first as u64 };
        assert_eq!((file, *at), (&segment_name(1), record), "{what}");
        disk.flip_bit(&segment_name(1), offset, 5);
    }
    // In a segment that has a successor, everything was durable.
    let log = open(&disk.reopen()).unwrap();
    disk.flip_bit(&segment_name(1), first + RECORD_HEADER_BYTES, 5);
    let error = log.reader.read(0, 1..2, usize::MAX).unwrap_err();
    assert!(matches!(error, Error::Corruption { .. }), "{error}");
    assert!(matches!(open(&disk.reopen()), Err(Error::Corruption { .. })));
}

#[test]
fn records_of_another_life_are_not_taken_for_new() {
    // Two logs, alike but for their identity: one's records must not read in the other's file.
    let (a, b) = (SimDisk::new(), SimDisk::new());
    for (disk, id) in [(&a, 1), (&b, 2)] {
        let mut log = Log::create(Arc::new(disk.clone()), SMALL, id).unwrap();
        put(&mut log.writer, 1, 1, b"data");
        log.writer.flush().unwrap();
    }
    let file = |disk: &SimDisk| disk.contents(&segment_name(1)).unwrap();
    let (bytes_a, mut bytes_b) = (file(&a), file(&b));
    bytes_b[..SEGMENT_HEADER_BYTES].copy_from_slice(&bytes_a[..SEGMENT_HEADER_BYTES]);
    let mixed = SimDisk::new();
    let handle = crate::Disk::create(&mixed, &segment_name(1), 0).unwrap();
    handle.write_at(&bytes_b, 0).unwrap();
    let log = open(&mixed).unwrap();
    assert_eq!(
        (log.reader.last_index(0), log.recovered.torn.is_some()),
        (0, true)
    );
}

#[test]
fn a_failed_sync_is_final() {
    let disk = SimDisk::new();
    let mut log = create(&disk);
    put(&mut log.writer, 1, 1, b"kept");
    log.writer.flush().unwrap();
    disk.set_faults(Faults {
        sync_error_after: Some(0),
        ..Faults::default()
    });
    put(&mut log.writer, 1, 2, b"lost");
    let syncs = disk.counters().syncs;
    for _ in 0..2 {
        let error = log.writer.flush().unwrap_err();
        assert!(
            matches!(&error, Error::Failed { cause } if cause.contains("fdatasync")),
            "{error}"
        );
    }
    assert_eq!(
        (disk.counters().syncs - syncs, disk.counters().faults),
        (1, 1),
        "no second try"
    );
    assert_eq!(all(&log.reader), [entry(1, 1, b"kept")]);
    assert!(log.writer.close().is_err());
    // The page cache still shows the record: a start without power cut must write it anew before it counts.
    let log = open(&disk.reopen()).unwrap();
    assert_eq!((log.reader.last_index(0), log.recovered.rewritten), (2, 1));
    let mut never = || false;
    let after = open(&disk.crash(&mut never)).unwrap();
    assert_eq!(all(&after.reader), [entry(1, 1, b"kept"), entry(1, 2, b"lost")]);
}

#[test]
fn a_full_disk_may_be_tried_again() {
    let disk = SimDisk::new();
    let mut log = create(&disk);
    let no_room = Faults {
        capacity: Some(4096),
        ..Faults::default()
    };
    let full_write = Faults {
        full_after: Some(0),
        ..Faults::default()
    };
    for (index, faults, len) in [(1, full_write, 10), (2, no_room, 4090), (3, full_write, 10)] {
        disk.set_faults(faults);
        put(&mut log.writer, 1, index, &vec![7; len]);
        let error = log.writer.flush().unwrap_err();
        assert!(matches!(error, Error::Full { .. }), "{error}");
        disk.set_faults(Faults::default());
        log.writer.flush().unwrap();
    }
    assert_eq!(all(&log.reader).len(), 3);
    assert_eq!(all(&open(&disk.reopen()).unwrap().reader).len(), 3);
}

#[test]
fn short_writes_are_completed_and_write_errors_are_final() {
    let disk = SimDisk::new();
    let mut log = create(&disk);
    disk.set_faults(Faults {
        short_writes: Some(7),
        ..Faults::default()
    });
    put(&mut log.writer, 1, 1, &[1; 100]);
    log.writer.flush().unwrap();
    disk.set_faults(Faults {
        write_error_after: Some(0),
        ..Faults::default()
    });
    put(&mut log.writer, 1, 2, &[1; 100]);
    assert!(matches!(log.writer.flush(), Err(Error::Failed { .. })));
    disk.set_faults(Faults::default());
    assert!(matches!(log.writer.flush(), Err(Error::Failed { .. })));
    assert_eq!(
        all(&open(&disk.reopen()).unwrap().reader),
        [entry(1, 1, &[1; 100])]
    );
}

#[test]
fn a_log_with_a_hole_is_refused() {
    let disk = SimDisk::new();
    let mut log = create(&disk);
    for index in 1..=6 {
        put(&mut log.writer, 1, index, &[0; 3000]);
        log.writer.flush().unwrap();
    }
    crate::Disk::remove(&disk, &segment_name(3)).unwrap();
    let error = open(&disk.reopen()).err().unwrap();
    assert!(
        matches!(&error, Error::Corruption { file, .. } if *file == segment_name(3)),
        "{error}"
    );
    assert!(Log::create(Arc::new(disk), SMALL, 1).is_err());
    assert!(matches!(open(&SimDisk::new()), Err(Error::Invalid(_))));
}

#[test]
fn huge_records_are_refused() {
    let mut log = create(&SimDisk::new());
    let data = vec![0; crate::RECORD_BYTES_MAX + 1];
    let error = log.writer.entry(0, EntryKind::Normal, 1, 1, &data).unwrap_err();
    assert!(matches!(error, Error::Invalid(_)));
    assert_eq!(log.writer.staged_bytes(), 0);
}

#[test]
fn a_directory_works_like_the_model_and_is_locked() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deep/wal");
    let disk = Arc::new(FsDisk::open(&path).unwrap());
    assert!(FsDisk::open(&path).is_err(), "one process at a time");
    let mut log = Log::create(disk.clone(), SMALL, LOG_ID).unwrap();
    let twin_disk = SimDisk::new();
    let mut twin = create(&twin_disk);
    for index in 1..=8 {
        for writer in [&mut log.writer, &mut twin.writer] {
            put(writer, 1, index, &[index as u8; 1500]);
            writer.flush().unwrap();
        }
    }
    assert_eq!(all(&log.reader), all(&twin.reader));
    drop((log, disk));
    let log = Log::open(Arc::new(FsDisk::open(&path).unwrap()), SMALL).unwrap();
    assert_eq!(all(&log.reader), all(&twin.reader));
    // Sealed segments gave back the room they did not use.
    for generation in 1..4 {
        let name = segment_name(generation);
        let sim = twin_disk.contents(&name).unwrap();
        assert_eq!(std::fs::read(path.join(&name)).unwrap(), sim);
    }
}

/// The bytes of format version 2. If this fails, the format changed: raise the version and keep reading this file.
#[test]
fn golden() {
    let disk = SimDisk::new();
    let mut log = create(&disk);
    log.writer.conf_state(0, b"voters").unwrap();
    log.writer.hard_state(
        0,
        HardState {
            term: 1,
            vote: 1,
            commit: 0,
        },
    );
    put(&mut log.writer, 1, 1, b"");
    log.writer.start(9, 4, 70);
    log.writer.flush().unwrap();
    put(&mut log.writer, 1, 2, b"a command");
    log.writer
        .entry(0, EntryKind::ConfChange, 1, 3, b"a change")
        .unwrap();
    log.writer.close().unwrap();
    let mut bytes = disk.contents(&segment_name(1)).unwrap();
    let last_flush = bytes.windows(8).rposition(|w| w == b"LBWFLUSH").unwrap();
    bytes.truncate(last_flush + 16);
    let golden = include_bytes!("../golden/v3.wal");
    assert_eq!(bytes, golden, "the written bytes changed");
    assert_eq!(read_golden(golden).first_index(9), 71);
    // What former versions wrote is read for ever.
    read_golden(include_bytes!("../golden/v2.wal"));
    read_golden(include_bytes!("../golden/v1.wal"));
}

fn read_golden(golden: &[u8]) -> Reader {
    let stored = SimDisk::new();
    let file = crate::Disk::create(&stored, &segment_name(1), 0).unwrap();
    file.write_at(golden, 0).unwrap();
    let log = open(&stored).unwrap();
    let entries = all(&log.reader);
    assert_eq!(entries[..2], [entry(1, 1, b""), entry(1, 2, b"a command")]);
    assert_eq!(
        (entries[2].kind, &entries[2].data[..]),
        (EntryKind::ConfChange, &b"a change"[..])
    );
    assert_eq!((log.recovered.log_id, log.recovered.rewritten), (LOG_ID, 0));
    log.reader
}
