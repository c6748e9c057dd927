//! Reading NumPy archives: `.npz` is a zip of `.npy` files, stored or deflated.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result, bail, ensure};

use super::npy::Array;

/// The arrays of an archive by name, unpacked on demand.
pub(super) struct Archive {
    bytes: Vec<u8>,
    members: BTreeMap<String, Member>,
}

/// Where a member's bytes lie.
struct Member {
    method: u16,
    packed: usize,
    unpacked: usize,
    header: usize,
}

const END_OF_DIRECTORY: &[u8] = b"PK\x05\x06";
const DIRECTORY_ENTRY: &[u8] = b"PK\x01\x02";
const LOCAL_HEADER: &[u8] = b"PK\x03\x04";
const STORED: u16 = 0;
const DEFLATED: u16 = 8;

impl Archive {
    /// Reads an archive's directory.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        Self::parse(bytes).with_context(|| format!("{} is not a .npz file", path.display()))
    }

    fn parse(bytes: Vec<u8>) -> Result<Self> {
        let end = bytes.windows(4).rposition(|window| window == END_OF_DIRECTORY);
        let end = end.context("there is no zip directory")?;
        let count = u16_at(&bytes, end + 10)?;
        let mut at = u32_at(&bytes, end + 16)?;
        let mut members = BTreeMap::new();
        for _ in 0..count {
            ensure!(
                slice(&bytes, at, 4)? == DIRECTORY_ENTRY,
                "the zip directory is damaged"
            );
            let name_length = usize::from(u16_at(&bytes, at + 28)?);
            let name = String::from_utf8_lossy(slice(&bytes, at + 46, name_length)?).into_owned();
            let member = Member {
                method: u16_at(&bytes, at + 10)?,
                packed: u32_at(&bytes, at + 20)?,
                unpacked: u32_at(&bytes, at + 24)?,
                header: u32_at(&bytes, at + 42)?,
            };
            members.insert(name, member);
            let extra = usize::from(u16_at(&bytes, at + 30)?) + usize::from(u16_at(&bytes, at + 32)?);
            at += 46 + name_length + extra;
        }
        Ok(Self { bytes, members })
    }

    /// Whether there is an array of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.members.contains_key(&format!("{name}.npy"))
    }

    /// Unpacks an array.
    pub(super) fn array(&self, name: &str) -> Result<Array> {
        let member = self
            .members
            .get(&format!("{name}.npy"))
            .with_context(|| format!("no array {name:?}"))?;
        let at = member.header;
        ensure!(
            slice(&self.bytes, at, 4)? == LOCAL_HEADER,
            "the member {name:?} is damaged"
        );
        let skip =
            30 + usize::from(u16_at(&self.bytes, at + 26)?) + usize::from(u16_at(&self.bytes, at + 28)?);
        let packed = slice(&self.bytes, at + skip, member.packed)?;
        match member.method {
            STORED => Array::parse(packed),
            DEFLATED => {
                let unpacked = miniz_oxide::inflate::decompress_to_vec_with_limit(packed, member.unpacked)
                    .map_err(|error| anyhow::anyhow!("inflating {name:?}: {error}"))?;
                Array::parse(&unpacked)
            }
            other => bail!("compression {other} of {name:?} is not known"),
        }
    }
}

fn slice(bytes: &[u8], at: usize, len: usize) -> Result<&[u8]> {
    at.checked_add(len)
        .and_then(|end| bytes.get(at..end))
        .context("the file is cut off")
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16> {
    let field = slice(bytes, at, 2)?;
    Ok(u16::from_le_bytes([field[0], field[1]]))
}

fn u32_at(bytes: &[u8], at: usize) -> Result<usize> {
    let field = slice(bytes, at, 4)?;
    Ok(u32::from_le_bytes([field[0], field[1], field[2], field[3]]) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NPY: &[u8] =
        b"\x93NUMPY\x01\x00\x3c\x00{'descr': '|u1', 'fortran_order': False, 'shape': (3,), }  \nabc";

    /// A zip of one member, as the format lays it out.
    fn zip(name: &str, method: u16, packed: &[u8], unpacked: usize) -> Vec<u8> {
        let sizes = [
            (packed.len() as u32).to_le_bytes(),
            (unpacked as u32).to_le_bytes(),
        ]
        .concat();
        let name_length = (name.len() as u16).to_le_bytes();
        let mut bytes = [
            LOCAL_HEADER,
            &[20, 0, 0, 0],
            &method.to_le_bytes(),
            &[0; 8],
            &sizes,
        ]
        .concat();
        bytes.extend([&name_length[..], &[0, 0], name.as_bytes(), packed].concat());
        let directory = bytes.len() as u32;
        bytes.extend(
            [
                DIRECTORY_ENTRY,
                &[20, 0, 20, 0, 0, 0],
                &method.to_le_bytes(),
                &[0; 8],
                &sizes,
            ]
            .concat(),
        );
        bytes.extend([&name_length[..], &[0; 16], name.as_bytes()].concat());
        bytes.extend([END_OF_DIRECTORY, &[0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0]].concat());
        bytes.extend([&directory.to_le_bytes()[..], &[0, 0]].concat());
        bytes
    }

    #[test]
    fn reads_stored_and_deflated_members() {
        let deflated = miniz_oxide::deflate::compress_to_vec(NPY, 6);
        for (method, packed) in [(STORED, NPY), (DEFLATED, &deflated[..])] {
            let archive = Archive::parse(zip("mask.npy", method, packed, NPY.len())).unwrap();
            assert!(archive.has("mask") && !archive.has("ids"));
            assert_eq!(archive.array("mask").unwrap().data, b"abc");
        }
    }

    #[test]
    fn damage_is_an_error() {
        let good = zip("mask.npy", STORED, NPY, NPY.len());
        for cut in 0..good.len() {
            if let Ok(archive) = Archive::parse(good[..cut].to_vec()) {
                let _ = archive.array("mask");
            }
            let mut flipped = good.clone();
            flipped[cut] ^= 0x55;
            if let Ok(archive) = Archive::parse(flipped) {
                let _ = archive.array("mask");
            }
        }
        assert!(
            Archive::parse(zip("a.npy", 99, NPY, 1))
                .unwrap()
                .array("a")
                .is_err()
        );
        let bomb = miniz_oxide::deflate::compress_to_vec(&vec![0; 100_000], 6);
        assert!(
            Archive::parse(zip("a.npy", DEFLATED, &bomb, 10))
                .unwrap()
                .array("a")
                .is_err()
        );
    }
}
