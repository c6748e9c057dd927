//! Any byte of any file changed, any file cut, longer or gone: an error that names the file, and an older snapshot.

use longbow_storage::snapshot::{Error, Open, Snapshots, Verify};
use longbow_types::{Metric, VectorElement};

use super::disk::MemDisk;
use super::support::*;
use crate::rows::Kind;

/// A disk with one snapshot.
fn one() -> MemDisk {
    let disk = MemDisk::default();
    write(&mut Snapshots::new(disk.clone(), 3), &varied());
    disk
}

/// That the newest snapshot is not opened, and the file is named.
fn assert_refused(disk: &MemDisk, file: &str) {
    match open(&mut Snapshots::new(disk.clone(), 3), KIND, STRICT) {
        Ok(_) => panic!("damage of {file} was not seen"),
        Err(error) => {
            assert!(error.to_string().contains(file), "{file} is not named: {error}");
            assert!(error.is_damage(), "{error}");
        }
    }
}

#[test]
fn every_byte_of_every_file_counts() {
    let disk = one();
    for file in disk.names() {
        for at in 0..disk.bytes_of(&file).len() {
            disk.spoil(&file, |bytes| bytes[at] ^= 1 << (at % 8));
            assert_refused(&disk, &file);
            disk.spoil(&file, |bytes| bytes[at] ^= 1 << (at % 8));
        }
    }
    assert!(
        open(&mut Snapshots::new(disk, 3), KIND, STRICT)
            .unwrap()
            .is_some()
    );
}

#[test]
fn every_length_but_the_right_one_is_refused() {
    let disk = one();
    for file in disk.names() {
        let whole = disk.bytes_of(&file);
        for bytes in (0..whole.len()).step_by(37).chain([whole.len() - 1]) {
            disk.spoil(&file, |to| to.truncate(bytes));
            assert_refused(&disk, &file);
            disk.spoil(&file, |to| to.clone_from(&whole));
        }
        disk.spoil(&file, |to| to.push(0));
        assert_refused(&disk, &file);
        disk.spoil(&file, |to| to.clone_from(&whole));
    }
}

#[test]
fn a_file_that_is_gone_is_named() {
    for file in one().names() {
        let disk = one();
        disk.lose(&file);
        if file.ends_with(".manifest") {
            let opened = open(&mut Snapshots::new(disk, 3), KIND, STRICT).unwrap();
            assert!(opened.is_none(), "it was never published");
        } else {
            assert_refused(&disk, &file);
        }
    }
}

#[test]
fn what_is_not_looked_at_before_is_found_later() {
    let how = Open {
        verify: Verify::AllButVectors,
        fall_back: false,
    };
    let disk = one();
    let file = disk
        .names()
        .into_iter()
        .find(|name| name.ends_with(".image"))
        .unwrap();
    for at in 0..disk.bytes_of(&file).len() {
        disk.spoil(&file, |bytes| bytes[at] ^= 0x40);
        let mut snapshots = Snapshots::new(disk.clone(), 3);
        match open(&mut snapshots, KIND, how) {
            Ok(opened) => {
                let opened = opened.unwrap();
                // Whatever the vectors are, they are searched.
                shown(KIND, &opened.replica.reader().view());
                let error = snapshots.verify(&opened.manifest, &never).unwrap_err();
                assert!(error.to_string().contains(&file), "{error}");
            }
            Err(error) => assert!(error.to_string().contains(&file), "{error}"),
        }
        disk.spoil(&file, |bytes| bytes[at] ^= 0x40);
    }
}

#[test]
fn an_older_snapshot_is_opened_if_it_may_be_and_the_next_one_replaces_the_bad() {
    let disk = MemDisk::default();
    let mut snapshots = Snapshots::new(disk.clone(), 2);
    let mut replica = varied();
    write(&mut snapshots, &replica);
    let old = replica.reader().view();
    upsert(&mut replica, 20, &[row(30, 2)]);
    replica.publish();
    let newest = write(&mut snapshots, &replica).manifest;
    let file = format!("{:020}-live.arrow", newest.generation);
    disk.spoil(&file, |bytes| bytes[9] ^= 1);

    let mut snapshots = Snapshots::new(disk.clone(), 2);
    assert!(open(&mut snapshots, KIND, STRICT).is_err());
    let mut opened = open(&mut snapshots, KIND, FALL_BACK).unwrap().unwrap();
    let [(generation, error)] = opened.passed_over.as_slice() else {
        panic!("{:?}", opened.passed_over)
    };
    assert_eq!(*generation, newest.generation);
    assert!(error.to_string().contains(&file), "{error}");
    assert_same(KIND, &opened.replica.reader().view(), &old);

    upsert(&mut opened.replica, 20, &[row(30, 2)]);
    opened.replica.publish();
    let again = write(&mut snapshots, &opened.replica).manifest;
    let kept = [opened.manifest.generation, again.generation];
    assert_eq!(
        snapshots.generations().unwrap(),
        kept,
        "the bad one does not count"
    );
    let opened = open(&mut Snapshots::new(disk, 2), KIND, STRICT).unwrap().unwrap();
    assert_same(KIND, &opened.replica.reader().view(), &replica.reader().view());
}

#[test]
fn a_file_found_damaged_is_written_again() {
    let disk = MemDisk::default();
    let mut snapshots = Snapshots::new(disk.clone(), 1);
    let replica = varied();
    let first = write(&mut snapshots, &replica).manifest;
    let columns: Vec<_> = disk
        .names()
        .into_iter()
        .filter(|name| name.contains("columns"))
        .collect();
    disk.spoil(&columns[0], |bytes| bytes[100] ^= 1);
    assert!(snapshots.verify(&first, &never).unwrap_err().is_damage());
    let second = write(&mut snapshots, &replica).manifest;
    snapshots.verify(&second, &never).unwrap();
    let opened = open(&mut snapshots, KIND, STRICT).unwrap().unwrap();
    assert_same(KIND, &opened.replica.reader().view(), &replica.reader().view());
}

#[test]
fn rows_of_another_dataset_are_refused() {
    let disk = one();
    let others = [
        Kind {
            element: VectorElement::F16,
            ..KIND
        },
        Kind {
            metric: Metric::Dot,
            ..KIND
        },
        Kind {
            id: longbow_types::IdKind::U64,
            ..KIND
        },
    ];
    for kind in others {
        let opened = open(&mut Snapshots::new(disk.clone(), 1), kind, STRICT);
        assert!(matches!(opened.err(), Some(Error::Mismatch { .. })), "{kind:?}");
    }
    let mut snapshots = Snapshots::new(disk, 1);
    let refuse = |_: &_| {
        Err(longbow_types::Error::new(
            longbow_types::ErrorCode::Corruption,
            "no",
        ))
    };
    let opened = snapshots.open(STRICT, &mut { refuse }, &never);
    assert!(matches!(opened.err(), Some(Error::Schema { .. })));
}
