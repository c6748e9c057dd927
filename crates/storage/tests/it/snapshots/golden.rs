//! Snapshots that an earlier build wrote: this one opens them, answers the same, and writes the same.
//!
//! A change of the format takes a new version and a new folder; the old ones stay for as long as they can be read.
//! `LONGBOW_GOLDEN=write cargo test -p longbow-storage golden` writes the files that are missing.

use std::fs;
use std::path::{Path, PathBuf};

use longbow_storage::Replica;
use longbow_storage::snapshot::{FsDisk, Snapshots};

use super::disk::MemDisk;
use super::support::*;
use crate::rows::Kind;

fn folder(version: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/snapshot.{version}"))
}

/// Opens what lies in a folder, and compares it with a replica and with what was written of it just now; of an earlier
/// version but for the manifest, and for the image of the index, whose links are chosen otherwise now.
fn compare(kind: Kind, folder: &Path, disk: &MemDisk, replica: &Replica) {
    let write_missing = std::env::var("LONGBOW_GOLDEN").is_ok_and(|what| what == "write");
    if write_missing && !folder.exists() {
        fs::create_dir_all(folder).unwrap();
        for name in disk.names() {
            fs::write(folder.join(&name), disk.bytes_of(&name)).unwrap();
        }
    }
    let mut snapshots = Snapshots::new(FsDisk::open(folder).unwrap(), 1);
    let opened = open(&mut snapshots, kind, STRICT).unwrap().unwrap();
    assert_eq!(opened.manifest.owner, owner());
    let (view, want) = (opened.replica.reader().view(), replica.reader().view());
    assert_same(kind, &view, &want);
    assert_eq!(view.digest(), want.digest());
    assert_eq!(opened.replica.reader().unlinked(), 4);
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, disk.names());
    let is_earlier = opened.manifest.digest.is_none();
    let is_exempt = |name: &str| name.ends_with(".manifest") || name.ends_with("-index.image");
    names.retain(|name| !(is_earlier && is_exempt(name)));
    for name in names {
        let golden = fs::read(folder.join(&name)).unwrap();
        assert!(golden == disk.bytes_of(&name), "{name} is written differently");
    }
}

#[test]
fn the_golden_snapshot_is_read_and_written() {
    let disk = MemDisk::default();
    let replica = varied();
    write(&mut Snapshots::new(disk.clone(), 1), &replica);
    compare(KIND, &folder("v1"), &disk, &replica);
    compare(KIND, &folder("v3"), &disk, &replica);
}

#[test]
fn the_golden_snapshot_of_rows_that_age_is_read_and_written() {
    let disk = MemDisk::default();
    let mut replica = aged();
    write(&mut Snapshots::new(disk.clone(), 1), &replica);
    compare(AGED, &folder("v4"), &disk, &replica);
    // Of what was read, the same rows go at the same ticks.
    let mut snapshots = Snapshots::new(FsDisk::open(folder("v4")).unwrap(), 1);
    let mut opened = open(&mut snapshots, AGED, STRICT).unwrap().unwrap().replica;
    for (index, log_time, rows) in [
        (10, 10_560, 21),
        (11, 10_999, 20),
        (12, 11_000, 8),
        (13, 11_500, 0),
    ] {
        for replica in [&mut replica, &mut opened] {
            replica.tick(index, log_time).unwrap();
            replica.publish();
            assert_eq!(replica.reader().view().rows(), rows, "at {log_time}");
        }
        assert_same(AGED, &opened.reader().view(), &replica.reader().view());
    }
}

#[test]
fn the_golden_snapshot_of_chunks_that_shrank_is_read_and_written() {
    let disk = MemDisk::default();
    let replica = shrunk(&mut Snapshots::new(disk.clone(), 1));
    let view = replica.reader().view();
    assert_eq!(
        (view.slots(), view.rows_stored(), view.rows()),
        (29, 27, 26),
        "four rows took the slots of dead ones"
    );
    let named = |name: &&String| name.ends_with("-columns-0000000020.arrow");
    assert!(
        disk.names()
            .iter()
            .any(|name| named(&name) && name.starts_with("00000000000000000001"))
    );
    compare(KIND, &folder("v2"), &disk, &replica);
    compare(KIND, &folder("v3.shrunk"), &disk, &replica);
}
