//! Which partition a row belongs to.
//!
//! A partition is a range of XXH3-64(type tag ‖ id bytes). The function is part of the stored format:
//! the golden vectors below must hold for ever.

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// Hash of an unsigned id.
pub fn hash_u64(id: u64) -> u64 {
    hash_tagged(1, id.to_le_bytes())
}

/// Hash of a signed id.
pub fn hash_i64(id: i64) -> u64 {
    hash_tagged(2, id.to_le_bytes())
}

/// Hash of a UTF-8 id.
pub fn hash_utf8(id: &str) -> u64 {
    let mut hasher = Xxh3::new();
    hasher.update(&[3]);
    hasher.update(id.as_bytes());
    hasher.digest()
}

fn hash_tagged(tag: u8, id: [u8; 8]) -> u64 {
    let mut bytes = [tag; 9];
    bytes[1..].copy_from_slice(&id);
    xxh3_64(&bytes)
}

/// Ordinal of the partition that holds a hash, of `partitions` equal ranges.
pub fn partition_of(hash: u64, partitions: u32) -> u32 {
    ((u128::from(hash) * u128::from(partitions)) >> 64) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden() {
        let hashes = [
            hash_u64(0),
            hash_u64(10_734),
            hash_i64(-1),
            hash_utf8("dog"),
            hash_utf8(""),
        ];
        assert_eq!(hashes, GOLDEN);
    }

    const GOLDEN: [u64; 5] = [
        3547760990396968576,
        16354562142784100968,
        5878741525932698725,
        3665261898526456079,
        1433843135270481901,
    ];

    #[test]
    fn ranges_cover_everything() {
        assert_eq!(partition_of(0, 4), 0);
        assert_eq!(partition_of(u64::MAX, 4), 3);
        assert_eq!(partition_of(u64::MAX / 2 + 1, 2), 1);
        assert_eq!(partition_of(u64::MAX, 1), 0);
    }
}
