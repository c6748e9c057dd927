//! What stands at the beginning of a NumPy array: its shape, and where the numbers begin.

use std::{fs::File, io::Read, path::Path};

use anyhow::{Context, Result, ensure};

/// Most bytes of a header that are looked at.
const HEADER_BYTES_MAX: u64 = 4096;

/// The header of an array of two axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Matrix {
    pub rows: usize,
    pub columns: usize,
    /// Where the numbers begin in the file.
    pub start: u64,
}

impl Matrix {
    /// Reads the header of a file.
    pub fn open(path: &Path) -> Result<Self> {
        let mut bytes = Vec::new();
        let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
        file.take(HEADER_BYTES_MAX).read_to_end(&mut bytes)?;
        Self::parse(&bytes).with_context(|| format!("{} is no matrix", path.display()))
    }

    /// Versions 1 to 3 of the format differ in how the header's length is written.
    fn parse(bytes: &[u8]) -> Result<Self> {
        ensure!(bytes.starts_with(b"\x93NUMPY"), "not a .npy file");
        let number = |range: std::ops::Range<usize>| {
            let bytes = bytes.get(range).context("cut off")?;
            let digits = bytes.iter().rev();
            Ok::<_, anyhow::Error>(digits.fold(0, |number, &byte| number << 8 | usize::from(byte)))
        };
        let (start, length) = if bytes.get(6) == Some(&1) {
            (10, number(8..10)?)
        } else {
            (12, number(8..12)?)
        };
        let header = bytes.get(start..start + length).context("cut off")?;
        let header = std::str::from_utf8(header)?;
        let shape = header.split_once("'shape': (").context("no shape")?.1;
        let shape = shape.split_once(')').context("no shape")?.0;
        let axes = shape.split(',').map(str::trim).filter(|axis| !axis.is_empty());
        let axes: Vec<usize> = axes.map(str::parse).collect::<Result<_, _>>()?;
        let &[rows, columns] = &axes[..] else {
            anyhow::bail!("{} axes", axes.len());
        };
        Ok(Self {
            rows,
            columns,
            start: (start + length) as u64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(version: u8, header: &str) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY".to_vec();
        bytes.extend([version, 0]);
        let length = (header.len() as u32).to_le_bytes();
        bytes.extend(&length[..if version == 1 { 2 } else { 4 }]);
        bytes.extend(header.bytes());
        bytes
    }

    #[test]
    fn the_shape_is_read_in_every_version() {
        let header = "{'descr': '<f2', 'fortran_order': False, 'shape': (116659, 384), }   \n";
        for (version, before) in [(1, 10), (2, 12), (3, 12)] {
            let matrix = Matrix::parse(&file(version, header)).unwrap();
            let start = before + header.len() as u64;
            let expected = Matrix {
                rows: 116_659,
                columns: 384,
                start,
            };
            assert_eq!(matrix, expected);
        }
    }

    #[test]
    fn what_is_no_matrix_is_refused() {
        let vector = "{'descr': '<f4', 'fortran_order': False, 'shape': (7,), }\n";
        assert!(Matrix::parse(&file(1, vector)).is_err());
        assert!(Matrix::parse(&file(1, "{'shape': (1, 2), }")[..20]).is_err());
        assert!(Matrix::parse(b"PK\x03\x04").is_err());
        assert!(Matrix::parse(b"").is_err());
    }
}
