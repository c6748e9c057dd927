//! Segments that are used again: spares, trimming, and a clean end that needs no new segment.

use std::{
    io,
    sync::{Arc, Mutex},
};

use super::{LOG_ID, all, create, newest, open, put};
use crate::{
    Disk, DiskFile, Error, Log, Options, Writer,
    format::{FLUSH_BYTES, RECORD_HEADER_BYTES, SEGMENT_HEADER_BYTES, segment_name},
    sim::{Faults, SimDisk},
};

/// Names of files that wait to become segments.
fn spares_on(disk: &SimDisk) -> Vec<String> {
    let mut names = crate::Disk::list(disk).unwrap();
    names.retain(|name| name.ends_with(".spare"));
    names
}

const RECYCLING: Options = Options {
    segment_bytes: 4096,
    spares: 1,
};

/// Small flushes, all alike, until the next segment has begun. Returns the last index.
fn fill_a_segment(disk: &SimDisk, writer: &mut Writer, mut index: u64) -> u64 {
    let before = newest(disk);
    while newest(disk) == before {
        index += 1;
        put(writer, 1, index, &[index as u8; 64]);
        writer.flush().unwrap();
    }
    index
}

#[test]
fn a_spare_full_of_old_records_shows_none_of_them() {
    let disk = SimDisk::new();
    let mut log = Log::create(Arc::new(disk.clone()), RECYCLING, LOG_ID).unwrap();
    let last = fill_a_segment(&disk, &mut log.writer, 0);
    assert_eq!(log.writer.trim(|_| last, usize::MAX).unwrap(), 1);
    assert_eq!(
        spares_on(&disk).len(),
        1,
        "the trimmed segment waits to be used again"
    );
    assert_eq!(
        (log.reader.first_index(0), log.reader.last_index(0)),
        (last, last)
    );
    let last = fill_a_segment(&disk, &mut log.writer, last);
    assert_eq!((newest(&disk), spares_on(&disk).len()), (segment_name(3), 0));

    // Records of both lives are of one size: right behind the new one stands an old one, whole.
    let bytes = disk.contents(&segment_name(3)).unwrap();
    let end = SEGMENT_HEADER_BYTES + FLUSH_BYTES + RECORD_HEADER_BYTES + 64;
    assert_eq!(bytes[end + RECORD_HEADER_BYTES..][..8], *b"LBWFLUSH");
    drop(log);
    for found in [disk.crash(&mut || false), disk.reopen()] {
        let log = Log::open(Arc::new(found), RECYCLING).unwrap();
        assert_eq!((log.reader.last_index(0), log.recovered.rewritten), (last, 0));
        assert_eq!(log.recovered.torn, None);
    }
}

#[test]
fn the_same_generation_is_never_tried_twice_in_one_file() {
    for failure in ["full", "sync"] {
        let disk = SimDisk::new();
        let mut log = Log::create(Arc::new(disk.clone()), RECYCLING, LOG_ID).unwrap();
        let last = fill_a_segment(&disk, &mut log.writer, 0);
        log.writer.trim(|_| last, usize::MAX).unwrap();
        let faults = match failure {
            "full" => Faults {
                full_after: Some(0),
                ..Faults::default()
            },
            _ => Faults {
                sync_error_after: Some(0),
                ..Faults::default()
            },
        };
        // Too large for what is left, so that the next segment is made at once.
        put(&mut log.writer, 1, last + 1, &[7; 3800]);
        disk.set_faults(faults);
        log.writer.flush().unwrap_err();
        assert_eq!(disk.counters().faults, 1);
        disk.set_faults(Faults::default());
        let tried = spares_on(&disk);
        assert_eq!(
            tried.len(),
            1,
            "{failure}: the spare waits under the generation that it was tried for"
        );
        assert!(tried[0].starts_with(&format!("{:016x}-", 3)), "{tried:?}");
        if failure == "full" {
            log.writer.flush().unwrap();
        } else {
            drop(log);
            log = Log::open(Arc::new(disk.reopen()), RECYCLING).unwrap();
        }
        assert_eq!(
            (newest(&disk), spares_on(&disk)),
            (segment_name(3), tried),
            "{failure}: not in that file"
        );
        // The next generation may have it.
        while newest(&disk) == segment_name(3) {
            put(&mut log.writer, 1, log.reader.last_index(0) + 1, &[7; 3800]);
            log.writer.flush().unwrap();
        }
        assert_eq!(
            (newest(&disk), spares_on(&disk).len()),
            (segment_name(4), 0),
            "{failure}"
        );
    }
}

#[test]
fn spares_are_made_ahead_and_bounded() {
    let disk = SimDisk::new();
    let mut log = Log::create(Arc::new(disk.clone()), RECYCLING, LOG_ID).unwrap();
    let spares = log.writer.spares();
    assert!(!spares.wanted(), "an empty segment needs no successor yet");
    put(&mut log.writer, 1, 1, &[1; 2500]);
    log.writer.flush().unwrap();
    assert!(spares.wanted());
    assert!(!spares.make(&|| true).unwrap(), "told to stop");
    assert!(spares.make(&|| false).unwrap());
    assert_eq!((spares.count(), spares.wanted()), (1, false));
    // The segment is made with the flush in it: still one write and one sync.
    let before = disk.counters();
    put(&mut log.writer, 1, 2, &[2; 2500]);
    log.writer.flush().unwrap();
    let after = disk.counters();
    assert_eq!((newest(&disk), spares.count()), (segment_name(2), 0));
    assert_eq!((after.writes - before.writes, after.syncs - before.syncs), (1, 1));
    // A blank file still shows a torn tail.
    let name = segment_name(2);
    let second = SEGMENT_HEADER_BYTES + FLUSH_BYTES + RECORD_HEADER_BYTES + 2500;
    put(&mut log.writer, 1, 3, b"torn");
    log.writer.flush().unwrap();
    disk.flip_bit(&name, second + RECORD_HEADER_BYTES, 0);
    let torn = Log::open(Arc::new(disk.crash(&mut || false)), RECYCLING)
        .unwrap()
        .recovered
        .torn;
    assert_eq!(torn.map(|torn| torn.file), Some(name));

    // Too many, too small, half made: removed on start.
    let with = |options, extra: &str| {
        let found = disk.crash(&mut || false);
        crate::Disk::create(&found, extra, 64).unwrap();
        let log = Log::open(Arc::new(found.clone()), options).unwrap();
        (
            log.writer.spares().count(),
            spares_on(&found).len(),
            crate::Disk::list(&found).unwrap(),
        )
    };
    spares.make(&|| false).unwrap();
    let none = Options {
        spares: 0,
        ..RECYCLING
    };
    assert_eq!(with(none, "x").0, 0);
    let (count, named, names) = with(RECYCLING, "0000000000000001-9.spare");
    assert_eq!((count, named), (1, 1), "{names:?}");
    assert!(!with(RECYCLING, "spare.tmp").2.contains(&"spare.tmp".to_owned()));
}

#[test]
fn a_spare_that_cannot_be_made_changes_nothing() {
    let disk = SimDisk::new();
    let mut log = Log::create(Arc::new(disk.clone()), RECYCLING, LOG_ID).unwrap();
    let no_room = Faults {
        capacity: Some(4096),
        ..Faults::default()
    };
    let bad_sync = Faults {
        sync_error_after: Some(0),
        ..Faults::default()
    };
    for faults in [no_room, bad_sync] {
        disk.set_faults(faults);
        let error = log.writer.spares().make(&|| false).unwrap_err();
        assert!(matches!(error, Error::Full { .. } | Error::Io { .. }), "{error}");
        disk.set_faults(Faults::default());
        assert_eq!(
            (
                log.writer.spares().count(),
                crate::Disk::list(&disk).unwrap().len()
            ),
            (0, 1)
        );
    }
    put(&mut log.writer, 1, 1, b"on");
    log.writer.flush().unwrap();
}

#[test]
fn a_clean_start_goes_on_in_the_same_segment() {
    let disk = SimDisk::new();
    let mut log = create(&disk);
    for index in 1..=5 {
        put(&mut log.writer, 1, index, b"entry");
        log.writer.close().unwrap();
        log = open(&disk.reopen()).unwrap();
        assert_eq!((log.recovered.rewritten, newest(&disk)), (0, segment_name(1)));
    }
    put(&mut log.writer, 1, 6, b"entry");
    log.writer.flush().unwrap();
    // Not closed: what stands behind the end is not known, so another file it is.
    let log = open(&disk.reopen()).unwrap();
    assert_eq!((newest(&disk), log.recovered.rewritten), (segment_name(2), 1));
    assert_eq!(all(&log.reader).len(), 6);
    // No room left behind the close record: another file, too.
    let disk = SimDisk::new();
    let mut log = create(&disk);
    let rest = 4096 - SEGMENT_HEADER_BYTES - 2 * FLUSH_BYTES - RECORD_HEADER_BYTES;
    put(&mut log.writer, 1, 1, &vec![1; rest]);
    log.writer.close().unwrap();
    assert_eq!(newest(&disk), segment_name(1));
    open(&disk).unwrap().writer.close().unwrap();
    assert_eq!(newest(&disk), segment_name(2));
}

/// A segment that was open again must not be taken for closed, though its last flush left no more than its body.
#[test]
fn a_reopened_segment_is_not_taken_for_closed() {
    let disk = SimDisk::new();
    let mut log = create(&disk);
    put(&mut log.writer, 1, 1, b"kept");
    log.writer.close().unwrap();
    let mut log = open(&disk.reopen()).unwrap();
    put(&mut log.writer, 1, 2, &[9; 600]);
    put(&mut log.writer, 1, 3, &[9; 600]);
    // Written and never synced: of its sectors all but the first are there. (The first coin is for the file's length.)
    disk.set_faults(Faults {
        sync_error_after: Some(0),
        ..Faults::default()
    });
    log.writer.flush().unwrap_err();
    let mut coins = 0;
    let found = disk.crash(&mut || {
        coins += 1;
        coins > 2
    });
    let log = open(&found).unwrap();
    assert_eq!((newest(&found), log.reader.last_index(0)), (segment_name(2), 1));
}

#[test]
fn trimming_keeps_what_is_asked_for_and_what_is_read() {
    let disk = SimDisk::new();
    let options = Options {
        spares: 2,
        ..RECYCLING
    };
    let mut log = Log::create(Arc::new(disk.clone()), options, LOG_ID).unwrap();
    log.writer.conf_state(0, b"members").unwrap();
    let mut last = 0;
    for _ in 0..5 {
        last = fill_a_segment(&disk, &mut log.writer, last);
    }
    let middle = last / 2;
    let kept = log.reader.read(0, middle..last + 1, usize::MAX).unwrap();
    assert!(log.writer.trim(|_| middle, usize::MAX).unwrap() > 0);
    assert!(log.reader.first_index(0) > 1 && log.reader.first_index(0) <= middle);
    assert_eq!(log.reader.read(0, middle..last + 1, usize::MAX).unwrap(), kept);
    assert!(matches!(
        log.reader.read(0, 1..2, 1),
        Err(Error::OutOfRange { .. })
    ));
    log.writer.trim(|_| u64::MAX, usize::MAX).unwrap();
    assert_eq!(log.reader.last_index(0), last, "the last entry stays");
    assert_eq!(spares_on(&disk).len(), 2, "no more than the options allow");
    let log = Log::open(Arc::new(disk.reopen()), options).unwrap();
    assert_eq!(
        (log.reader.first_index(0), log.reader.last_index(0)),
        (last, last)
    );
    assert_eq!(
        log.recovered.groups[&0].conf_state.as_deref(),
        Some(&b"members"[..])
    );
}

#[test]
fn a_spare_that_somebody_removed_is_not_missed() {
    let disk = SimDisk::new();
    let mut log = Log::create(Arc::new(disk.clone()), RECYCLING, LOG_ID).unwrap();
    let last = fill_a_segment(&disk, &mut log.writer, 0);
    log.writer.trim(|_| last, usize::MAX).unwrap();
    for name in spares_on(&disk) {
        Disk::remove(&disk, &name).unwrap();
    }
    let last = fill_a_segment(&disk, &mut log.writer, last);
    assert_eq!(
        open(&disk.crash(&mut || false)).unwrap().reader.last_index(0),
        last
    );
}

/// A disk whose power may be cut before each sync of names: what is found then.
struct Cutting {
    disk: SimDisk,
    found: Mutex<Vec<SimDisk>>,
}

impl Disk for Cutting {
    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn create(&self, name: &str, len: u64) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.create(name, len)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.open(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        // Of all that is not synced, one thing alone is there: each once.
        let mut things = 0;
        self.disk.crash(&mut || {
            things += 1;
            false
        });
        for survivor in 1..=things {
            let mut thing = 0;
            let cut = self.disk.crash(&mut || {
                thing += 1;
                thing == survivor
            });
            self.found.lock().unwrap().push(cut);
        }
        self.disk.sync_dir()
    }
}

#[test]
fn a_power_cut_while_trimming_leaves_no_gap() {
    let cutting = Arc::new(Cutting {
        disk: SimDisk::new(),
        found: Mutex::default(),
    });
    let mut log = Log::create(cutting.clone(), RECYCLING, LOG_ID).unwrap();
    let mut last = 0;
    for _ in 0..4 {
        last = fill_a_segment(&cutting.disk, &mut log.writer, last);
    }
    cutting.found.lock().unwrap().clear();
    assert!(log.writer.trim(|_| last, usize::MAX).unwrap() > 2);
    let found = std::mem::take(&mut *cutting.found.lock().unwrap());
    assert!(found.len() > 2);
    for disk in found {
        assert_eq!(open(&disk).unwrap().reader.last_index(0), last);
    }
}

#[test]
fn a_full_disk_can_be_trimmed_and_a_spare_given_up_for_room() {
    let disk = SimDisk::new();
    let mut log = Log::create(Arc::new(disk.clone()), RECYCLING, LOG_ID).unwrap();
    let mut last = fill_a_segment(&disk, &mut log.writer, 0);
    last = fill_a_segment(&disk, &mut log.writer, last);
    disk.set_faults(Faults {
        capacity: Some(0),
        ..Faults::default()
    });
    assert!(disk.create("another file", 1).is_err(), "the disk is full");
    assert_eq!(log.writer.trim(|_| last, usize::MAX).unwrap(), 2);
    // One is kept to be used again, which takes no room; the other made some.
    assert_eq!(spares_on(&disk).len(), 1);
    last = fill_a_segment(&disk, &mut log.writer, last);
    assert_eq!(log.writer.trim(|_| last, usize::MAX).unwrap(), 1);
    assert!(log.writer.spares().release().unwrap());
    assert_eq!(spares_on(&disk).len(), 0);
    assert!(!log.writer.spares().release().unwrap());
    put(&mut log.writer, 1, last + 1, &[0; 3000]);
    log.writer.flush().unwrap();
    assert!(!log.writer.spares().wanted(), "the room is for the next segment");
    disk.set_faults(Faults::default());
    last = fill_a_segment(&disk, &mut log.writer, last + 1);
    put(&mut log.writer, 1, last + 1, &[0; 3000]);
    log.writer.flush().unwrap();
    assert!(log.writer.spares().wanted());
}

#[test]
fn the_size_of_the_log_is_that_of_its_files() {
    let disk = SimDisk::new();
    let mut log = Log::create(Arc::new(disk.clone()), RECYCLING, LOG_ID).unwrap();
    let mut last = 0;
    for _ in 0..3 {
        last = fill_a_segment(&disk, &mut log.writer, last);
    }
    let of_files = |disk: &SimDisk| -> u64 {
        let names = disk.list().unwrap();
        let segments = names.iter().filter(|name| name.ends_with(".wal"));
        segments.map(|name| disk.open(name).unwrap().len().unwrap()).sum()
    };
    assert_eq!((log.reader.bytes(), of_files(&disk)), (4 * 4096, 4 * 4096));
    log.writer.trim(|_| last, 1).unwrap();
    assert_eq!((log.reader.bytes(), of_files(&disk)), (3 * 4096, 3 * 4096));
    let found = disk.crash(&mut || false);
    let log = open(&found).unwrap();
    assert_eq!(log.reader.bytes(), of_files(&found));
    assert!(log.reader.bytes() < 4 * 4096, "unused room went back");
}
