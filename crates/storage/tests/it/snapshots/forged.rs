//! Files that lie under right sums: whatever is made of them, nothing panics and no memory is asked for without end.

use longbow_storage::Projection;
use longbow_storage::snapshot::{Error, Open, Snapshots, Verify};

use super::disk::MemDisk;
use super::support::*;

const MANIFEST: &str = "00000000000000000001.manifest";

/// The snapshot of a replica on a disk of its own.
fn one() -> MemDisk {
    let disk = MemDisk::default();
    write(&mut Snapshots::new(disk.clone(), 1), &varied());
    disk
}

/// Puts other bytes into a file, and the right sum of them into the manifest.
fn forge(disk: &MemDisk, file: &str, bytes: &[u8]) {
    let sum = |bytes: &[u8]| {
        let length = (bytes.len() as u64).to_le_bytes();
        (length, crc32c::crc32c(bytes).to_le_bytes())
    };
    let (old_length, old_crc) = sum(&disk.bytes_of(file));
    let (length, crc) = sum(bytes);
    disk.spoil(file, |to| to.splice(.., bytes.iter().copied()).for_each(drop));
    disk.spoil(MANIFEST, |manifest| {
        // A file is its generation, its length, first slot and rows of 4 bytes each, and its sum.
        let at = (0..manifest.len() - 20)
            .find(|&at| manifest[at..at + 8] == old_length && manifest[at + 16..at + 20] == old_crc)
            .unwrap();
        manifest[at..at + 8].copy_from_slice(&length);
        manifest[at + 16..at + 20].copy_from_slice(&crc);
        sign(manifest);
    });
}

/// Puts the right sum behind a manifest.
fn sign(manifest: &mut [u8]) {
    let end = manifest.len() - 4;
    let crc = crc32c::crc32c(&manifest[..end]);
    manifest[end..].copy_from_slice(&crc.to_le_bytes());
}

/// Rows that are not those of the digest get by.
const LENIENT: Open = Open {
    verify: Verify::AllButVectors,
    fall_back: false,
};

/// Opens it and, if that goes, asks it something.
fn try_out(disk: &MemDisk, how: Open) -> Result<(), Error> {
    let Some(opened) = open(&mut Snapshots::new(disk.clone(), 1), KIND, how)? else {
        return Ok(());
    };
    let view = opened.replica.reader().view();
    let projection = Projection::new(view.layout(), &["*".into()], true).unwrap();
    for exact in [true, false] {
        let query = question(exact, &projection);
        // Rows may be anything, answers of any size.
        let _ = view.search(&query, &never);
    }
    while opened.replica.reader().link(100) > 0 {}
    Ok(())
}

#[test]
fn no_byte_under_a_right_sum_makes_it_panic() {
    let disk = one();
    for file in disk.names() {
        let whole = disk.bytes_of(&file);
        for at in (0..whole.len()).step_by(3) {
            for value in [0, 0x7f, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] = value;
                if file == MANIFEST {
                    sign(&mut bytes);
                    disk.spoil(&file, |to| to.clone_from(&bytes));
                } else {
                    forge(&disk, &file, &bytes);
                }
                let _ = try_out(&disk, LENIENT);
            }
        }
        if file == MANIFEST {
            disk.spoil(&file, |to| to.clone_from(&whole));
        } else {
            forge(&disk, &file, &whole);
        }
    }
    try_out(&disk, STRICT).unwrap();
}

#[test]
fn files_of_another_snapshot_are_found_out() {
    let other = MemDisk::default();
    let mut replica = varied();
    // So many that they are merged with the others.
    upsert(
        &mut replica,
        20,
        &(20..40).map(|id| row(id, 2)).collect::<Vec<_>>(),
    );
    replica.publish();
    write(&mut Snapshots::new(other.clone(), 1), &replica);
    for file in other.names().iter().filter(|file| *file != MANIFEST) {
        let disk = one();
        forge(&disk, file, &other.bytes_of(file));
        let error = try_out(&disk, STRICT).unwrap_err();
        assert!(error.is_damage() && error.to_string().contains(file), "{error}");
    }
}

#[test]
fn rows_that_lie_under_right_sums_are_found_by_their_digest() {
    let disk = one();
    let names = disk.names();
    let columns = names.iter().find(|name| name.contains("-columns-")).unwrap();
    let mut bytes = disk.bytes_of(columns);
    let at = bytes.windows(6).position(|text| text == b"text 5").unwrap();
    bytes[at + 5] = b'6';
    forge(&disk, columns, &bytes);
    try_out(&disk, LENIENT).unwrap();
    let error = try_out(&disk, STRICT).unwrap_err();
    assert!(
        error.is_damage() && error.to_string().contains("digest"),
        "{error}"
    );
}
