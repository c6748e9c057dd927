//! Snapshots beside a writer, graph builders and a vacuum: each is the state of its index, and no other.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use longbow_storage::snapshot::Snapshots;
use longbow_storage::{Options, Replica};

use super::disk::MemDisk;
use super::support::*;
use crate::rows::Row;

const IDS: u64 = 600;
const ENTRIES: u64 = 160;

/// Rows that an entry writes, some of them in place of old ones.
fn rows(index: u64) -> Vec<Row> {
    (0..40)
        .map(|at| row((index * 31 + at * 7) % IDS, index))
        .collect()
}

/// Ids that an entry deletes in place of that.
fn deleted(index: u64) -> Option<Vec<u64>> {
    index
        .is_multiple_of(5)
        .then(|| (0..IDS).filter(|id| id % 11 == index % 11).collect())
}

#[test]
fn a_snapshot_is_the_state_of_its_index() {
    let mut replica = Replica::new(KIND.schema(), &Options::default(), 1);
    let reader = replica.reader().clone();
    let disk = MemDisk::default();
    let mut snapshots = Snapshots::new(disk.clone(), 1_000);
    let (stop, taken) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    reader.link(7);
                    reader.vacuum(50);
                    std::thread::yield_now();
                }
            });
        }
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                snapshots.write(&reader.view(), owner(), &never).unwrap();
                taken.fetch_add(1, Ordering::Relaxed);
            }
        });
        let until = Instant::now() + Duration::from_secs(60);
        for index in 2..ENTRIES {
            match deleted(index) {
                Some(ids) => delete(&mut replica, index, &ids),
                None => upsert(&mut replica, index, &rows(index)),
            }
            replica.publish();
            // So that several are taken on the way.
            let wanted = index / 20;
            while taken.load(Ordering::Relaxed) < wanted {
                if Instant::now() >= until {
                    // Or the others would go on for ever, and the panic wait for them.
                    stop.store(true, Ordering::Relaxed);
                    panic!("no snapshot is taken at {index}");
                }
                std::thread::yield_now();
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    check_all(&disk);
}

/// Opens every snapshot on a disk and compares it with the entries up to its index.
fn check_all(disk: &MemDisk) {
    let generations = Snapshots::new(disk.clone(), 1).generations().unwrap();
    assert!(generations.len() > 2, "{} snapshots", generations.len());
    for generation in generations.into_iter().rev() {
        let mut snapshots = Snapshots::new(disk.clone(), 1);
        let opened = open(&mut snapshots, KIND, STRICT).unwrap().unwrap();
        assert_eq!(opened.manifest.generation, generation);
        let applied = opened.manifest.applied_index;
        let mut want = BTreeMap::new();
        for index in 2..=applied {
            match deleted(index) {
                Some(ids) => want.retain(|id, _| !ids.contains(id)),
                None => want.extend(rows(index).into_iter().map(|row| (row.id, row))),
            }
        }
        let view = opened.replica.reader().view();
        let compare = || {
            let (have, answers) = shown(KIND, &view);
            let have: BTreeMap<_, _> = have.into_iter().map(|row| (row.id, row)).collect();
            assert_eq!(have, want, "at {applied}");
            assert_eq!(answers[0].len(), want.len().min(12));
            let hits = answers[1].iter().filter(|id| answers[0].contains(id)).count();
            // Rows at one distance may stand in for each other.
            assert!(hits * 2 >= answers[0].len(), "{answers:?}");
        };
        compare();
        // Rows that the image says are still to be linked are not taken for linked.
        let reader = opened.replica.reader();
        let mark = reader.mark();
        assert_eq!(reader.unlinked() == 0, reader.passed(&mark));
        while reader.link(1_000) > 0 {}
        assert_eq!((reader.unlinked(), reader.passed(&mark)), (0, true));
        while reader.vacuum(1_000) > 0 {}
        compare();
        disk.lose(&format!("{generation:020}.manifest"));
    }
}
