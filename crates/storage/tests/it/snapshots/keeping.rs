//! What is written again, what is kept, and what is left when a snapshot is given up.

use std::cell::Cell;

use longbow_storage::snapshot::{Error, FsDisk, Owner, Snapshots};
use longbow_storage::{Options, Replica};

use super::disk::MemDisk;
use super::support::*;
use crate::rows::Row;

/// Rows of which two batches do not fit into a chunk.
const MANY: u64 = 40_000;

fn many(from: u64) -> Vec<Row> {
    (from..from + MANY).map(|id| row(id, 0)).collect()
}

fn columns(names: &[String]) -> Vec<&String> {
    names.iter().filter(|name| name.contains("columns")).collect()
}

#[test]
fn chunks_that_did_not_change_are_not_written_again() {
    let disk = MemDisk::default();
    let mut snapshots = Snapshots::new(disk.clone(), 2);
    let mut replica = Replica::new(KIND.schema(), &Options::default(), 1);
    upsert(&mut replica, 2, &many(0));
    upsert(&mut replica, 3, &many(MANY));
    replica.publish();
    let whole = write(&mut snapshots, &replica);
    assert_eq!(columns(&disk.created()).len(), 2);
    let files: Vec<(String, Vec<u8>)> = columns(&disk.names())
        .into_iter()
        .map(|name| (name.clone(), disk.bytes_of(name)))
        .collect();

    // A few rows more, some of them in place of old ones.
    upsert(&mut replica, 4, &[row(1, 1), row(3 * MANY, 1)]);
    replica.publish();
    let second = write(&mut snapshots, &replica);
    assert_eq!(columns(&disk.created()).len(), 1);
    let saved: usize = files.iter().map(|(_, bytes)| bytes.len()).sum();
    assert!(
        second.bytes + (saved as u64) < whole.bytes + 16_384,
        "{} {saved} {}",
        second.bytes,
        whole.bytes
    );

    // Also after a restart.
    let mut snapshots = Snapshots::new(disk.clone(), 2);
    let mut opened = open(&mut snapshots, KIND, STRICT).unwrap().unwrap();
    upsert(&mut opened.replica, 5, &[row(3 * MANY + 1, 1)]);
    opened.replica.publish();
    let third = write(&mut snapshots, &opened.replica);
    assert_eq!(columns(&disk.created()).len(), 1);
    for (name, bytes) in &files {
        assert_eq!(&disk.bytes_of(name), bytes, "files never change");
    }
    snapshots.verify(&third.manifest, &never).unwrap();
    let view = opened.replica.reader().view();
    let again = open(&mut Snapshots::new(disk, 2), KIND, STRICT).unwrap().unwrap();
    assert_same(KIND, &again.replica.reader().view(), &view);
}

#[test]
fn as_many_are_kept_as_asked() {
    for keep in [1, 3] {
        let disk = MemDisk::default();
        let mut snapshots = Snapshots::new(disk.clone(), keep);
        let mut replica = varied();
        for round in 0..7 {
            upsert(&mut replica, 20 + round, &[row(round, 3)]);
            replica.publish();
            write(&mut snapshots, &replica);
            let generations = snapshots.generations().unwrap();
            let want: Vec<u64> = ((round + 2).saturating_sub(keep as u64).max(1)..=round + 1).collect();
            assert_eq!(generations, want);
        }
        // Every one of them is whole, and nothing else is there.
        let generations = snapshots.generations().unwrap();
        let mut files: Vec<String> = Vec::new();
        for &generation in &generations {
            let manifest = snapshots.manifest(generation).unwrap();
            snapshots.verify(&manifest, &never).unwrap();
            files.push(format!("{generation:020}.manifest"));
            files.push(format!("{generation:020}-index.image"));
            files.push(format!("{generation:020}-live.arrow"));
        }
        let others: Vec<String> = disk
            .names()
            .into_iter()
            .filter(|name| !files.contains(name))
            .collect();
        assert_eq!(others.len(), columns(&others).len(), "{others:?}");
    }
}

#[test]
fn sound_are_those_that_can_be_opened_as_far_as_is_known() {
    let disk = MemDisk::default();
    let mut snapshots = Snapshots::new(disk.clone(), 3);
    let mut replica = varied();
    for round in 0..3 {
        upsert(&mut replica, 20 + round, &[row(round, 3)]);
        replica.publish();
        write(&mut snapshots, &replica);
    }
    let sound = |snapshots: &Snapshots| -> Vec<u64> {
        let sound = snapshots.sound().unwrap();
        sound.iter().map(|manifest| manifest.generation).collect()
    };
    assert_eq!(sound(&snapshots), [1, 2, 3]);
    // What is too short is seen at once, and what was changed when it was read.
    disk.spoil(&format!("{:020}-live.arrow", 1), |bytes| bytes.truncate(9));
    disk.spoil(&format!("{:020}-live.arrow", 3), |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    });
    assert_eq!(sound(&snapshots), [2, 3]);
    let opened = open(&mut snapshots, KIND, FALL_BACK).unwrap().unwrap();
    assert_eq!(opened.manifest.generation, 2);
    assert_eq!(sound(&snapshots), [2]);
    disk.spoil(&format!("{:020}.manifest", 2), |bytes| bytes[40] ^= 1);
    assert!(sound(&snapshots).is_empty());
}

#[test]
fn a_snapshot_that_is_given_up_leaves_nothing() {
    let disk = MemDisk::default();
    let mut snapshots = Snapshots::new(disk.clone(), 1);
    let replica = varied();
    write(&mut snapshots, &replica);
    let before = disk.names();
    let asked = Cell::new(0);
    // Once for each file: columns stand already.
    for patience in 0..3 {
        asked.set(0);
        let cancel = || {
            asked.set(asked.get() + 1);
            asked.get() > patience
        };
        let written = snapshots.write(&replica.reader().view(), owner(), &cancel);
        assert!(matches!(written.unwrap_err(), Error::Cancelled));
        assert_eq!(disk.names(), before);
        let opened = snapshots.open(STRICT, &mut |_| Ok(KIND.schema()), &|| true);
        assert!(matches!(opened.err(), Some(Error::Cancelled)));
    }
}

#[test]
fn too_large_a_catalogue_is_refused_before_anything_is_written() {
    let disk = MemDisk::default();
    let owner = Owner {
        catalogue: vec![0; (128 << 20) + 1],
        ..owner()
    };
    let error = Snapshots::new(disk.clone(), 1)
        .write(&varied().reader().view(), owner, &never)
        .unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }));
    assert!(disk.names().is_empty());
}

#[test]
fn snapshots_of_another_version_and_files_of_others_stay() {
    let disk = MemDisk::default();
    let mut snapshots = Snapshots::new(disk.clone(), 1);
    let replica = varied();
    write(&mut snapshots, &replica);
    let manifest = "00000000000000000001.manifest";
    disk.spoil(manifest, |bytes| {
        bytes[8] = 9;
        let end = bytes.len() - 4;
        let crc = crc32c::crc32c(&bytes[..end]);
        bytes[end..].copy_from_slice(&crc.to_le_bytes());
    });
    let mut names = disk.names();
    drop(longbow_storage::snapshot::Disk::create(&disk, "notes.txt").unwrap());
    write(&mut snapshots, &replica);
    write(&mut snapshots, &replica);
    names.push("notes.txt".to_owned());
    assert!(names.iter().all(|name| disk.names().contains(name)));
    let opened = open(&mut snapshots, KIND, STRICT).unwrap().unwrap();
    assert_eq!(opened.manifest.generation, 3);
}

#[test]
fn a_directory_of_the_file_system_holds_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/snapshots");
    let disk = || FsDisk::open(&path).unwrap();
    let mut snapshots = Snapshots::new(disk(), 1);
    assert!(open(&mut snapshots, KIND, FALL_BACK).unwrap().is_none());
    let mut replica = varied();
    write(&mut snapshots, &replica);
    let old = replica.reader().view();

    // Opened, and used while newer ones take its files away.
    let opened = open(&mut Snapshots::new(disk(), 1), KIND, STRICT)
        .unwrap()
        .unwrap();
    let mut twin = opened.replica;
    for (round, replica) in [&mut replica, &mut twin].into_iter().enumerate() {
        upsert(replica, 20, &[row(30, 2), row(2, 2)]);
        delete(replica, 21, &[5]);
        replica.publish();
        while replica.reader().link(100) > 0 {}
        while replica.reader().vacuum(100) > 0 {}
        if round == 0 {
            write(&mut snapshots, replica);
            assert_eq!(snapshots.generations().unwrap(), [2]);
        }
    }
    assert_same(KIND, &twin.reader().view(), &replica.reader().view());
    assert_ne!(old.applied_index(), twin.applied_index());
    let again = open(&mut snapshots, KIND, STRICT).unwrap().unwrap();
    assert_same(KIND, &again.replica.reader().view(), &twin.reader().view());
}
