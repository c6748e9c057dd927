//! Reading NumPy arrays: the `.npy` format, versions 1 to 3, C order, little endian.

use anyhow::{Context, Result, bail, ensure};
use half::f16;

/// An array as stored.
pub(super) struct Array {
    /// NumPy's name of the element type, such as `<f4`.
    pub(super) kind: String,
    /// Lengths of the axes.
    pub(super) shape: Vec<usize>,
    /// The elements.
    pub(super) data: Vec<u8>,
}

impl Array {
    /// Parses a whole file.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self> {
        ensure!(
            bytes.starts_with(b"\x93NUMPY") && bytes.len() >= 12,
            "not a .npy file"
        );
        let (start, length) = match bytes[6] {
            1 => (10, usize::from(u16::from_le_bytes([bytes[8], bytes[9]]))),
            2 | 3 => (
                12,
                u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]) as usize,
            ),
            version => bail!("version {version} of .npy is not known"),
        };
        let header = bytes
            .get(start..)
            .and_then(|rest| rest.get(..length))
            .context("the header is cut off")?;
        let header = std::str::from_utf8(header).context("the header is not text")?;
        let kind = after(header, "'descr':")?.trim_start().trim_start_matches('\'');
        let kind = kind.split('\'').next().unwrap_or_default().to_owned();
        ensure!(
            after(header, "'fortran_order':")?
                .trim_start()
                .starts_with("False"),
            "columns come first in this file; only C order is read"
        );
        let shape = after(header, "'shape':")?.trim_start().trim_start_matches('(');
        let shape = shape.split(')').next().unwrap_or_default();
        let shape = shape.split(',').map(str::trim).filter(|axis| !axis.is_empty());
        let shape = shape
            .map(str::parse)
            .collect::<Result<Vec<usize>, _>>()
            .context("a bad shape")?;
        let array = Self {
            data: bytes[start + length..].to_vec(),
            kind,
            shape,
        };
        let elements = array
            .shape
            .iter()
            .try_fold(1usize, |product, &axis| product.checked_mul(axis));
        let expected = elements.and_then(|n| n.checked_mul(array.element_bytes().ok()?));
        ensure!(
            expected == Some(array.data.len()),
            "{} bytes do not fill {:?}",
            array.data.len(),
            array.shape
        );
        Ok(array)
    }

    fn element_bytes(&self) -> Result<usize> {
        self.kind
            .get(2..)
            .and_then(|size| size.parse().ok())
            .with_context(|| format!("type {:?}", self.kind))
    }

    /// Rows and columns.
    pub(super) fn matrix(&self) -> Result<(usize, usize)> {
        match self.shape[..] {
            [rows, columns] => Ok((rows, columns)),
            _ => bail!("expected two axes, found {:?}", self.shape),
        }
    }

    /// The elements as 32-bit floats.
    pub(super) fn floats(&self) -> Result<Vec<f32>> {
        match self.kind.as_str() {
            "<f4" => Ok(self
                .data
                .as_chunks()
                .0
                .iter()
                .map(|&b| f32::from_le_bytes(b))
                .collect()),
            "<f2" => Ok(self
                .data
                .as_chunks()
                .0
                .iter()
                .map(|&b| f16::from_le_bytes(b).to_f32())
                .collect()),
            other => bail!("expected floats of 16 or 32 bits, found {other:?}"),
        }
    }

    /// The elements as row numbers.
    pub(super) fn ids(&self) -> Result<Vec<u32>> {
        match self.kind.as_str() {
            "<u4" | "<i4" => Ok(self
                .data
                .as_chunks()
                .0
                .iter()
                .map(|&b| u32::from_le_bytes(b))
                .collect()),
            "<i8" | "<u8" => {
                let wide = self.data.as_chunks().0.iter().map(|&b| u64::from_le_bytes(b));
                wide.map(|id| u32::try_from(id).context("an id above 2^32"))
                    .collect()
            }
            other => bail!("expected integers of 32 or 64 bits, found {other:?}"),
        }
    }
}

fn after<'a>(header: &'a str, key: &str) -> Result<&'a str> {
    header
        .split_once(key)
        .map(|(_, rest)| rest)
        .with_context(|| format!("the header has no {key}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        bytes
    }

    #[test]
    fn reads_a_matrix() {
        let header = "{'descr': '<f2', 'fortran_order': False, 'shape': (2, 1), }  \n";
        let array = Array::parse(&file(header, &[0x00, 0x3c, 0x00, 0xc0])).unwrap();
        assert_eq!(
            (array.matrix().unwrap(), array.floats().unwrap()),
            ((2, 1), vec![1.0, -2.0])
        );
        assert!(array.ids().is_err());
        let header = "{'descr': '<i8', 'fortran_order': False, 'shape': (1,), }";
        let array = Array::parse(&file(header, &7i64.to_le_bytes())).unwrap();
        assert_eq!(array.ids().unwrap(), [7]);
        assert!(array.matrix().is_err());
    }

    #[test]
    fn refuses_what_it_cannot_read() {
        let good = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1), }";
        assert!(Array::parse(&file(good, &[0; 4])).is_ok());
        assert!(Array::parse(&file(good, &[0; 3])).is_err());
        assert!(Array::parse(&file(&good.replace("False", "True"), &[0; 4])).is_err());
        assert!(
            Array::parse(&file(
                &good.replace("(1, 1)", "(4611686018427387904, 9)"),
                &[0; 4]
            ))
            .is_err()
        );
        assert!(Array::parse(&file(good, &[0; 4])[..40]).is_err());
        assert!(Array::parse(b"PK").is_err());
    }
}
