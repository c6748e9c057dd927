//! Every kind of damage, beside what was written; and cuts that are broken off.

use std::{
    io,
    sync::atomic::{AtomicU64, Ordering},
};

use proptest::prelude::*;

use super::*;
use crate::{
    Batch, DiskFile, Log,
    inspect::{self, Content},
    sim::SimDisk,
};

const SMALL: Options = Options {
    segment_bytes: 2_048,
    spares: 1,
};

/// Data of the entry at an index.
fn data(index: u64) -> Vec<u8> {
    vec![index as u8; (index as usize * 37) % 150]
}

/// A log of some segments with these entries in each flush, not closed.
fn log(flushes: &[u64]) -> (SimDisk, u64) {
    let disk = SimDisk::new();
    let mut log = Log::create(Arc::new(disk.clone()), SMALL, 0xabc).unwrap();
    let mut last = 0;
    for (term, entries) in (1..).zip(flushes) {
        let mut batch = Batch::new();
        for _ in 0..*entries {
            last += 1;
            batch
                .entry(0, EntryKind::Normal, term, last, &data(last))
                .unwrap();
        }
        let state = HardState {
            term,
            vote: 1,
            commit: last,
        };
        batch.hard_state(0, state);
        log.writer.commit(&mut batch).unwrap();
    }
    (disk, last)
}

fn copy(disk: &SimDisk) -> SimDisk {
    disk.crash(&mut || true)
}

fn segments(disk: &SimDisk) -> Vec<String> {
    let mut names = Disk::list(disk).unwrap();
    names.retain(|name| parse_segment_name(name).is_some());
    names.sort();
    names
}

/// Where each entry ends, in order.
fn ends(disk: &SimDisk) -> Vec<(String, u64, u64)> {
    let mut ends = Vec::new();
    inspect::dump(disk, |record| {
        if let Content::Entry { index, data, .. } = record.content {
            let end = record.offset + (RECORD_HEADER_BYTES + data.len()) as u64;
            ends.push((record.file, end, index));
        }
        Ok::<(), Error>(())
    })
    .unwrap();
    ends
}

fn arc(disk: &SimDisk) -> Arc<dyn Disk> {
    Arc::new(disk.clone())
}

fn resume(cut: &Cut) -> BTreeMap<u32, Resume> {
    let kept = cut.groups[&0];
    let resume = Resume {
        first: b"a new life".to_vec(),
        last: kept.bound.max(kept.last + 1),
        term: kept.term + 1,
    };
    BTreeMap::from([(0, resume)])
}

/// The log goes on behind a cut, with all that stayed and nothing else, and is sound.
fn check_cut(disk: &SimDisk, kept: Kept) {
    let mut log = Log::open(arc(disk), SMALL).unwrap();
    let resumed = kept.bound.max(kept.last + 1);
    assert_eq!(log.reader.last_index(0), resumed);
    let entries = log.reader.read(0, 1..resumed + 1, usize::MAX).unwrap();
    for entry in entries {
        let expected = match entry.index {
            index if index <= kept.last => data(index),
            index if index == kept.last + 1 => b"a new life".to_vec(),
            _ => Vec::new(),
        };
        assert_eq!(entry.data, expected, "{}", entry.index);
    }
    let hard = log.reader.hard_state(0);
    assert_eq!((hard.term, hard.vote, hard.commit), (kept.term + 1, 0, resumed));
    for index in resumed + 1..resumed + 40 {
        let term = kept.term + 1;
        log.writer
            .entry(0, EntryKind::Normal, term, index, &data(index))
            .unwrap();
        log.writer.flush().unwrap();
    }
    drop(log);
    inspect::verify(disk).unwrap();
    assert_eq!(
        Log::open(arc(disk), SMALL).unwrap().reader.last_index(0),
        resumed + 39
    );
}

/// Plans, checks the plan against what was written, cuts and checks the log.
fn cut(disk: &SimDisk, written: u64) -> Option<Kept> {
    let planned = Cut::plan(disk).unwrap()?;
    let kept = planned.groups[&0];
    assert!(
        kept.last <= written && kept.bound >= written,
        "{kept:?} of {written}"
    );
    let resume = resume(&planned);
    planned.perform(&arc(disk), &resume).unwrap();
    assert!(Cut::plan(disk).unwrap().is_none(), "it is sound");
    check_cut(disk, kept);
    Some(kept)
}

#[test]
fn every_flipped_bit_loses_only_what_stands_behind_it() {
    let (whole, written) = log(&[3, 1, 5, 2, 9, 1, 1, 4, 6, 3, 2]);
    assert!(Cut::plan(&whole).unwrap().is_none());
    let (files, ends) = (segments(&whole), ends(&whole));
    assert!(files.len() > 2);
    let (mut cuts, mut missed) = (0, 0);
    for file in &files {
        for offset in (0..whole.contents(file).unwrap().len()).step_by(7) {
            let disk = copy(&whole);
            disk.flip_bit(file, offset, offset as u8);
            let opened = Log::open(arc(&copy(&disk)), SMALL).map(drop);
            let before = ends
                .iter()
                .rev()
                .find(|(name, end, _)| (name.as_str(), *end) <= (file.as_str(), offset as u64));
            let before = before.map_or(0, |(_, _, index)| *index);
            match (opened, Cut::plan(&disk)) {
                (Ok(()), planned) => {
                    // In the last flush, or behind it: a torn tail, if anything.
                    assert!(planned.unwrap().is_none(), "{file} {offset}");
                    missed += 1;
                }
                (Err(error), Ok(Some(planned))) => {
                    assert_eq!(planned.damage.to_string(), error.to_string());
                    assert_eq!(planned.groups[&0].last, before, "{file} {offset}");
                    // So near to the truth: one flush is a hole.
                    assert!(planned.groups[&0].bound < written + 64);
                    cut(&disk, written).unwrap();
                    cuts += 1;
                }
                (Err(_), Err(Error::Invalid(_))) => assert_eq!((file, before), (&files[0], 0)),
                (Err(error), planned) => panic!("{file} {offset}: {error}, {:?}", planned.map(|_| ())),
            }
        }
    }
    assert!(cuts > 300 && missed > 10, "{cuts} {missed}");
}

#[test]
fn files_that_are_gone_or_blank_are_passed_over() {
    let (whole, written) = log(&[4; 30]);
    let files = segments(&whole);
    assert!(files.len() > 5);
    for file in &files[1..files.len() - 1] {
        let lost = copy(&whole);
        Disk::remove(&lost, file).unwrap();
        assert!(cut(&lost, written).is_some(), "without {file}");
        let blank = copy(&whole);
        let zeros = vec![0; whole.contents(file).unwrap().len()];
        Disk::open(&blank, file).unwrap().write_at(&zeros, 0).unwrap();
        assert!(cut(&blank, written).is_some(), "{file} of zeros");
    }
    // All of the last one: as many entries as it has room for may have been in it.
    let blank = copy(&whole);
    let last = files.last().unwrap();
    let zeros = vec![0; whole.contents(last).unwrap().len()];
    Disk::open(&blank, last).unwrap().write_at(&zeros, 0).unwrap();
    assert!(cut(&blank, written).is_some());
    // Nothing to go on from.
    let headless = copy(&whole);
    headless.flip_bit(&files[0], 0, 0);
    assert!(matches!(Cut::plan(&headless), Err(Error::Invalid(_))));
}

#[test]
fn nothing_is_done_where_the_log_would_go_on_too_early() {
    let (disk, _) = log(&[4; 30]);
    disk.flip_bit(&segments(&disk)[2], 200, 0);
    let before: Vec<_> = segments(&disk).iter().map(|name| disk.contents(name)).collect();
    let fits = resume(&Cut::plan(&disk).unwrap().unwrap())[&0].clone();
    let wrong = [
        Resume {
            last: fits.last - 1,
            ..fits.clone()
        },
        Resume {
            term: fits.term - 1,
            ..fits.clone()
        },
        Resume {
            last: fits.last + FILL_MAX,
            ..fits
        },
    ];
    for resume in wrong
        .into_iter()
        .map(|resume| BTreeMap::from([(0, resume)]))
        .chain([BTreeMap::new()])
    {
        let planned = Cut::plan(&disk).unwrap().unwrap();
        assert!(matches!(
            planned.perform(&arc(&disk), &resume),
            Err(Error::Invalid(_))
        ));
    }
    let after: Vec<_> = segments(&disk).iter().map(|name| disk.contents(name)).collect();
    assert!(before == after);
}

/// A disk that does nothing any more after so many changes.
struct Halting {
    disk: Arc<dyn Disk>,
    left: Arc<AtomicU64>,
}

fn spend(left: &AtomicU64) -> io::Result<()> {
    let spent = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
    spent.map(drop).map_err(|_| io::Error::other("halted"))
}

impl Disk for Halting {
    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }
    fn create(&self, name: &str, len: u64) -> io::Result<Arc<dyn DiskFile>> {
        spend(&self.left)?;
        let (file, left) = (self.disk.create(name, len)?, self.left.clone());
        Ok(Arc::new(HaltingFile { file, left }))
    }
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let (file, left) = (self.disk.open(name)?, self.left.clone());
        Ok(Arc::new(HaltingFile { file, left }))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        spend(&self.left)?;
        self.disk.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        spend(&self.left)?;
        self.disk.remove(name)
    }
    fn sync_dir(&self) -> io::Result<()> {
        spend(&self.left)?;
        self.disk.sync_dir()
    }
}

struct HaltingFile {
    file: Arc<dyn DiskFile>,
    left: Arc<AtomicU64>,
}

impl DiskFile for HaltingFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buf, offset)
    }
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        spend(&self.left)?;
        self.file.write_at(buf, offset)
    }
    fn sync_data(&self) -> io::Result<()> {
        spend(&self.left)?;
        self.file.sync_data()
    }
    fn truncate(&self, len: u64) -> io::Result<()> {
        spend(&self.left)?;
        self.file.truncate(len)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// A start never takes a log for sound that was cut and does not say so.
    #[test]
    fn a_cut_that_is_broken_off_is_done_again(
        flushes in prop::collection::vec(1u64..8, 8..40),
        (file, offset, bit) in (any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()),
        changes in 0u64..40,
        coins in any::<u64>(),
    ) {
        let (disk, written) = log(&flushes);
        let names = segments(&disk);
        let name = file.get(&names);
        disk.flip_bit(name, offset.index(disk.contents(name).unwrap().len()), bit);
        let Ok(Some(planned)) = Cut::plan(&disk) else {
            return Ok(());
        };
        let (kept, resume) = (planned.groups[&0], resume(&planned));
        let left = Arc::new(AtomicU64::new(changes));
        let halting: Arc<dyn Disk> = Arc::new(Halting { disk: arc(&disk), left });
        let done = planned.perform(&halting, &resume).is_ok();
        let mut number = 0u32;
        let disk = disk.crash(&mut || {
            number += 1;
            coins >> (number % 64) & 1 == 1
        });
        match Log::open(arc(&copy(&disk)), SMALL) {
            Ok(log) => {
                let begun = log.reader.read(0, kept.last + 1..kept.last + 2, 1 << 20).unwrap();
                prop_assert_eq!(&begun[0].data[..], b"a new life");
                check_cut(&disk, kept);
            }
            Err(error) => {
                prop_assert!(!done, "{}", error);
                prop_assert!(matches!(error, Error::Corruption { .. }), "{}", error);
                let again = Cut::plan(&disk).unwrap().unwrap();
                prop_assert!(again.groups[&0].bound >= written);
                let resume = self::resume(&again);
                again.perform(&arc(&disk), &resume).unwrap();
                prop_assert!(Log::open(arc(&disk), SMALL).is_ok());
            }
        }
    }
}
