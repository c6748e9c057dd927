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

fn folder(version: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/snapshot.{version}"))
}

/// Opens what lies in a folder, and compares it with a replica and with what was written of it just now; of an earlier
/// version but for the manifest, and for the image of the index, whose links are chosen otherwise now.
fn compare(folder: &Path, disk: &MemDisk, replica: &Replica) {
    let write_missing = std::env::var("LONGBOW_GOLDEN").is_ok_and(|what| what == "write");
    if write_missing && !folder.exists() {
        fs::create_dir_all(folder).unwrap();
        for name in disk.names() {
            fs::write(folder.join(&name), disk.bytes_of(&name)).unwrap();
        }
    }
    let mut snapshots = Snapshots::new(FsDisk::open(folder).unwrap(), 1);
    let opened = open(&mut snapshots, KIND, STRICT).unwrap().unwrap();
    assert_eq!(opened.manifest.owner, owner());
    let (view, want) = (opened.replica.reader().view(), replica.reader().view());
    assert_same(KIND, &view, &want);
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
    compare(&folder("v1"), &disk, &replica);
    compare(&folder("v3"), &disk, &replica);
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
    compare(&folder("v2"), &disk, &replica);
    compare(&folder("v3.shrunk"), &disk, &replica);
}
