//! Data sets made for tests.

use std::path::Path;

use super::{answers::Truth, dataset::Dataset};

/// A folder with a whole small data set: ten rows of two numbers, two queries, answers three deep, and a filter f10 that
/// matches rows 4 and 9. What a test writes over is at fault.
pub(super) struct Folder(tempfile::TempDir);

impl Folder {
    pub(super) fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        let rows: Vec<f32> = (0..10).flat_map(|row| [row as f32, 1.0]).collect();
        folder.vectors("base.f32.npy", &rows, 2);
        folder.vectors("query.f32.npy", &rows[..4], 2);
        let ids = |ids: &[u32]| ids.iter().flat_map(|id| id.to_le_bytes()).collect::<Vec<u8>>();
        folder.archive(
            "gt.npz",
            &[
                ("ids", npy("<u4", "(2, 3)", &ids(&[0, 1, 2, 1, 2, 3]))),
                ("f10_mask", npy("|u1", "(2,)", &[0b0001_0000, 0b10])),
                ("f10_ids", npy("<u4", "(2, 2)", &ids(&[4, 9, 4, 9]))),
            ],
        );
        folder
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(super) fn vectors(&self, file: &str, numbers: &[f32], dimension: usize) {
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        let shape = format!("({}, {dimension})", numbers.len() / dimension);
        std::fs::write(self.path().join(file), npy("<f4", &shape, &bytes)).unwrap();
    }

    pub(super) fn archive(&self, file: &str, members: &[(&str, Vec<u8>)]) {
        std::fs::write(self.path().join(file), npz(members)).unwrap();
    }
}

/// A data set in memory of rows one after the other, with one query and no answers.
pub(super) fn dataset(base: Vec<f32>, dimension: usize) -> Dataset {
    Dataset {
        queries: vec![base[..dimension].to_vec()],
        base,
        half: false,
        dimension,
        truth: Truth::from_answers(&[]),
        filters: Vec::new(),
    }
}

/// A `.npy` file.
pub(super) fn npy(kind: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

/// An archive of arrays, stored as they are.
fn npz(members: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for (name, array) in members {
        let name = format!("{name}.npy");
        // Method, time, date, checksum (which nobody reads), sizes, and the lengths of the name and of nothing more.
        let mut about = vec![0; 10];
        about.extend((array.len() as u32).to_le_bytes());
        about.extend((array.len() as u32).to_le_bytes());
        about.extend((name.len() as u16).to_le_bytes());
        about.extend([0; 2]);
        let at = bytes.len() as u32;
        bytes.extend(b"PK\x03\x04\x14\x00\x00\x00");
        bytes.extend(&about);
        bytes.extend(name.as_bytes());
        bytes.extend(array);
        directory.extend(b"PK\x01\x02\x14\x00\x14\x00\x00\x00");
        directory.extend(&about);
        directory.extend([0; 10]);
        directory.extend(at.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let (at, length) = (bytes.len() as u32, directory.len() as u32);
    bytes.extend(directory);
    bytes.extend(b"PK\x05\x06\x00\x00\x00\x00");
    bytes.extend([(members.len() as u16).to_le_bytes(); 2].concat());
    bytes.extend(length.to_le_bytes());
    bytes.extend(at.to_le_bytes());
    bytes.extend([0; 2]);
    bytes
}
