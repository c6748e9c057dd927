//! Snapshots of rows with further vectors: files of an earlier build, and files that were changed.

use std::fs;
use std::path::PathBuf;

use longbow_storage::snapshot::{Error, FsDisk, Open, Opened, Snapshots, Verify};

use super::model::{self, Cells, Condition};
use super::world::World;
use super::{Question, check, row};
use crate::snapshots::disk::MemDisk;

const STRICT: Open = Open {
    verify: Verify::Everything,
    fall_back: false,
};

fn question() -> Question {
    Question {
        near: [vec![1.0, 2.0], vec![1.0, 2.0, 0.0], vec![3.0, 1.0]],
        k: 7,
        condition: Some(Condition::Has(0)),
    }
}

/// Rows of every fate, some from before the second column was added: with a value and without, replaced, changed, deleted,
/// linked or not.
fn varied() -> World {
    let mut world = World::new(1);
    let image = |id: u64| (!id.is_multiple_of(3)).then_some([id as f32, 1.0, 0.0]);
    let rows: Vec<Cells> = (0..12).map(|id| row(id, image(id))).collect();
    world.upsert(&rows, true);
    world.publish();
    world.replica.reader().link(100);
    world.add_column();
    let more: Vec<Cells> = (9..18)
        .map(|id| Cells {
            further: [
                image(id).map(Vec::from),
                id.is_multiple_of(2).then(|| vec![id as f32, 2.0]),
            ],
            ..row(id, None)
        })
        .collect();
    world.upsert(&more, true);
    world.update(
        &[row(1, None), row(3, Some([3.0, 3.0, 3.0]))],
        [false, false, true, false],
    );
    world.delete(&[4, 16]);
    world.publish();
    world.replica.reader().link(11);
    world
}

fn opened(snapshots: &mut Snapshots, how: Open) -> Result<Option<Opened>, Error> {
    let mut schema_of = |manifest: &longbow_storage::snapshot::Manifest| {
        Ok(model::schema(1, manifest.owner.catalogue[0].into()))
    };
    snapshots.open(how, &mut schema_of, &|| false)
}

/// `LONGBOW_GOLDEN=write` writes the files if they are missing.
#[test]
fn the_golden_snapshot_is_read_and_written() {
    let mut world = varied();
    world.snapshot();
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/snapshot.v5");
    let write_missing = std::env::var("LONGBOW_GOLDEN").is_ok_and(|what| what == "write");
    if write_missing && !folder.exists() {
        fs::create_dir_all(&folder).unwrap();
        for name in world.disk.names() {
            fs::write(folder.join(&name), world.disk.bytes_of(&name)).unwrap();
        }
    }
    let mut snapshots = Snapshots::new(FsDisk::open(&folder).unwrap(), 1);
    let golden = opened(&mut snapshots, STRICT).unwrap().unwrap();
    let view = golden.replica.reader().view();
    check(&view, &world.published, &question());
    assert_eq!(view.digest(), world.view().digest());
    let names = fs::read_dir(&folder).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    assert_eq!(names, world.disk.names());
    assert_eq!(names.iter().filter(|name| name.contains("-vectors-")).count(), 2);
    for name in names {
        let golden = fs::read(folder.join(&name)).unwrap();
        assert!(
            golden == world.disk.bytes_of(&name),
            "{name} is written differently"
        );
    }
}

#[test]
fn every_byte_of_every_file_counts() {
    let mut world = varied();
    world.snapshot();
    let disk = world.disk.clone();
    let refused = |disk: &MemDisk, file: &str| match opened(&mut Snapshots::new(disk.clone(), 1), STRICT) {
        Ok(_) => panic!("damage of {file} was not seen"),
        Err(error) => assert!(
            error.to_string().contains(file) && error.is_damage(),
            "{file}: {error}"
        ),
    };
    for file in disk.names() {
        for at in (0..disk.bytes_of(&file).len()).step_by(7) {
            disk.spoil(&file, |bytes| bytes[at] ^= 1 << (at % 8));
            refused(&disk, &file);
            disk.spoil(&file, |bytes| bytes[at] ^= 1 << (at % 8));
        }
        let whole = disk.bytes_of(&file);
        disk.spoil(&file, |bytes| bytes.truncate(whole.len() / 2));
        refused(&disk, &file);
        disk.spoil(&file, |bytes| bytes.clone_from(&whole));
    }
    assert!(opened(&mut Snapshots::new(disk, 1), STRICT).unwrap().is_some());
}

/// Truth values that tell of other rows than the images hold, under right sums: the file is named, or the digest is wrong.
#[test]
fn no_byte_under_a_right_sum_makes_it_panic() {
    let mut world = varied();
    world.snapshot();
    let disk = world.disk.clone();
    let manifest = disk
        .names()
        .into_iter()
        .find(|name| name.ends_with(".manifest"))
        .unwrap();
    let sound = disk.bytes_of(&manifest);
    let is_ours = |name: &String| name.contains("-columns-") || name.contains("-vectors-");
    for file in disk.names().into_iter().filter(is_ours) {
        let whole = disk.bytes_of(&file);
        let old = [
            &(whole.len() as u64).to_le_bytes()[..],
            &[0; 8],
            &crc32c::crc32c(&whole).to_le_bytes(),
        ]
        .concat();
        let entry = (0..sound.len() - 20)
            .find(|&at| sound[at..at + 8] == old[..8] && sound[at + 16..at + 20] == old[16..])
            .unwrap();
        for at in (0..whole.len()).step_by(5) {
            for value in [0, 0x7f, 0xff] {
                let mut changed = whole.clone();
                changed[at] = value;
                let crc = crc32c::crc32c(&changed).to_le_bytes();
                disk.spoil(&file, |bytes| bytes.clone_from(&changed));
                disk.spoil(&manifest, |bytes| {
                    bytes.clone_from(&sound);
                    bytes[entry + 16..entry + 20].copy_from_slice(&crc);
                    let end = bytes.len() - 4;
                    let crc = crc32c::crc32c(&bytes[..end]);
                    bytes[end..].copy_from_slice(&crc.to_le_bytes());
                });
                for verify in [Verify::Everything, Verify::AllButVectors] {
                    let how = Open {
                        verify,
                        fall_back: false,
                    };
                    // What it says may differ; it must not panic, nor hold rows that cannot be looked at.
                    if let Ok(Some(opened)) = opened(&mut Snapshots::new(disk.clone(), 1), how) {
                        let _ = opened.replica.reader().view().digest_anew();
                    }
                }
            }
        }
        disk.spoil(&file, |bytes| bytes.clone_from(&whole));
    }
}

/// A dead row that is still in its chunk keeps its place in the image, and the row that took its slot has one of its own.
#[test]
fn a_slot_that_was_given_to_another_row_is_written_once() {
    let mut world = World::new(1);
    let rows = |ids: std::ops::Range<u64>| -> Vec<Cells> {
        ids.map(|id| row(id, Some([id as f32, 1.0, 0.0]))).collect()
    };
    world.upsert(&rows(0..12), true);
    world.publish();
    while world.replica.reader().link(64) > 0 {}
    world.delete(&[2, 5, 7]);
    world.publish();
    // The view that showed them is gone when the next one is published.
    for _ in 0..2 {
        world.advance();
        world.publish();
    }
    while world.replica.reader().vacuum(64) > 0 {}
    world.upsert(&rows(12..15), true);
    world.publish();
    while world.replica.reader().link(64) > 0 {}
    // Three new rows in the slots of three that are dead.
    let slots = |world: &World| world.view().slots();
    assert_eq!((slots(&world), world.view().rows_stored()), (12, 15));
    world.snapshot();
    world.restart(&|view, model| check(view, model, &question()));
    assert_eq!(slots(&world), 15, "slots are numbered as rows stand in the files");
    assert_eq!(world.replica.reader().unlinked(), 0);
    // Each value is found from the graph alone, and what follows finds free slots.
    while world.replica.reader().vacuum(64) > 0 {}
    let question = Question {
        condition: None,
        k: 12,
        ..question()
    };
    check(&world.view(), &world.published, &question);
    world.upsert(&rows(15..18), true);
    world.publish();
    check(&world.view(), &world.published, &question);
    assert_eq!(slots(&world), 15, "three were free");
}
