//! A snapshot that an earlier build wrote: this one opens it, answers the same, and writes the same.
//!
//! A change of the format takes a new version and a new folder; the old one stays for as long as it can be read.
//! `LONGBOW_GOLDEN=write cargo test -p longbow-storage golden` writes the files that are missing.

use std::fs;
use std::path::PathBuf;

use longbow_storage::snapshot::{FsDisk, Snapshots};

use super::disk::MemDisk;
use super::support::*;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/snapshot.v1")
}

#[test]
fn the_golden_snapshot_is_read_and_written() {
    let disk = MemDisk::default();
    let replica = varied();
    write(&mut Snapshots::new(disk.clone(), 1), &replica);
    let write_missing = std::env::var("LONGBOW_GOLDEN").is_ok_and(|what| what == "write");
    if write_missing && !folder().exists() {
        fs::create_dir_all(folder()).unwrap();
        for name in disk.names() {
            fs::write(folder().join(&name), disk.bytes_of(&name)).unwrap();
        }
    }
    let mut snapshots = Snapshots::new(FsDisk::open(folder()).unwrap(), 1);
    let opened = open(&mut snapshots, KIND, STRICT).unwrap().unwrap();
    assert_eq!(opened.manifest.owner, owner());
    assert_same(KIND, &opened.replica.reader().view(), &replica.reader().view());
    assert_eq!(opened.replica.reader().linked(), 26);
    let mut names: Vec<String> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, disk.names());
    for name in names {
        let golden = fs::read(folder().join(&name)).unwrap();
        assert!(golden == disk.bytes_of(&name), "{name} is written differently");
    }
}
