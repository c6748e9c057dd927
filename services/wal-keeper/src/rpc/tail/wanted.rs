//! Which rows of an entry does a reader want? The others are not sent to it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Bytes, BytesMut};
use longbow_types::{Error, ErrorCode, Result};
use longbow_wire::{
    entry::decode_header,
    internal::{PartitionRange, TailEntry, TailPartitions, WriteCommand, entry_header::Command},
};

/// Most partitions that a reader may name, over all datasets.
const PARTITIONS_MAX: usize = 1 << 20;

/// Partitions wanted, of datasets of which not all are.
pub(super) struct Wanted(BTreeMap<u64, BTreeSet<u32>>);

impl Wanted {
    /// # Errors
    /// `TOO_LARGE`.
    pub fn new(partitions: &[TailPartitions]) -> Result<Self> {
        let count: usize = partitions.iter().map(|of| 1 + of.partitions.len()).sum();
        if count > PARTITIONS_MAX {
            let error = Error::new(ErrorCode::TooLarge, format!("{count} datasets and partitions"));
            return Err(error.field("partitions").limit(PARTITIONS_MAX));
        }
        let mut wanted: BTreeMap<u64, BTreeSet<u32>> = BTreeMap::new();
        for of in partitions {
            wanted.entry(of.dataset_id).or_default().extend(&of.partitions);
        }
        Ok(Self(wanted))
    }

    /// An entry without what is not wanted of its body. Its rows are not looked at.
    pub fn pick(&self, entry: TailEntry) -> TailEntry {
        if self.0.is_empty() || entry.body.is_empty() {
            return entry;
        }
        let header = decode_header(&entry.header);
        match header.map(|header| header.command) {
            Ok(Some(Command::Write(write))) => self.pick_ranges(&write, entry),
            _ => entry,
        }
    }

    fn pick_ranges(&self, write: &WriteCommand, entry: TailEntry) -> TailEntry {
        let Some(wanted) = self.0.get(&write.dataset_id) else {
            return entry;
        };
        let kept: Option<Vec<(u32, Bytes)>> = (0..)
            .zip(&write.ranges)
            .filter(|(_, range)| wanted.contains(&range.partition))
            .map(|(number, range)| Some((number, slice(&entry.body, range)?)))
            .collect();
        // A range that the body does not have is the reader's affair.
        let Some(kept) = kept else {
            return entry;
        };
        let bytes: usize = kept.iter().map(|(_, rows)| rows.len()).sum();
        if bytes >= entry.body.len() {
            return entry;
        }
        let body = match &kept[..] {
            [(_, rows)] => rows.clone(),
            _ => {
                let mut body = BytesMut::with_capacity(bytes);
                kept.iter().for_each(|(_, rows)| body.extend_from_slice(rows));
                body.freeze()
            }
        };
        TailEntry {
            left_out_bytes: (entry.body.len() - bytes) as u64,
            kept_ranges: kept.into_iter().map(|(number, _)| number).collect(),
            body,
            ..entry
        }
    }
}

fn slice(body: &Bytes, range: &PartitionRange) -> Option<Bytes> {
    let from = usize::try_from(range.offset).ok()?;
    let to = from.checked_add(usize::try_from(range.length).ok()?)?;
    (to <= body.len()).then(|| body.slice(from..to))
}

#[cfg(test)]
mod tests {
    use longbow_wire::internal::EntryHeader;
    use prost::Message;

    use super::*;

    fn write(dataset_id: u64, ranges: &[(u32, u64, u64)]) -> TailEntry {
        let range = |&(partition, offset, length): &(u32, u64, u64)| PartitionRange {
            partition,
            offset,
            length,
            rows: 1,
        };
        let write = WriteCommand {
            dataset_id,
            ranges: ranges.iter().map(range).collect(),
            ..WriteCommand::default()
        };
        let header = EntryHeader {
            command: Some(Command::Write(write)),
            ..EntryHeader::default()
        };
        TailEntry {
            index: 9,
            header: header.encode_to_vec().into(),
            body: Bytes::from_static(b"0123456789"),
            ..TailEntry::default()
        }
    }

    fn wanted(partitions: &[u32]) -> Wanted {
        let of = TailPartitions {
            dataset_id: 4,
            partitions: partitions.to_vec(),
        };
        Wanted::new(&[of]).unwrap()
    }

    fn picked(partitions: &[u32], entry: TailEntry) -> (Vec<u8>, u64, Vec<u32>) {
        let picked = wanted(partitions).pick(entry.clone());
        assert_eq!((picked.index, &picked.header), (9, &entry.header));
        (picked.body.to_vec(), picked.left_out_bytes, picked.kept_ranges)
    }

    #[test]
    fn ranges_of_other_partitions_are_left_out() {
        let entry = || write(4, &[(0, 0, 2), (7, 2, 3), (2, 5, 5)]);
        assert_eq!(picked(&[0, 2], entry()), (b"0156789".to_vec(), 3, vec![0, 2]));
        assert_eq!(picked(&[7], entry()), (b"234".to_vec(), 7, vec![1]));
        assert_eq!(picked(&[5], entry()), (Vec::new(), 10, Vec::new()));
        // Everything, and more than there is.
        for all in [&[0, 2, 7][..], &[0, 1, 2, 7]] {
            assert_eq!(picked(all, entry()), (b"0123456789".to_vec(), 0, Vec::new()));
        }
    }

    #[test]
    fn what_was_not_named_or_cannot_be_told_apart_comes_whole() {
        let whole = (b"0123456789".to_vec(), 0, Vec::new());
        assert_eq!(picked(&[0], write(5, &[(1, 0, 10)])), whole, "another dataset");
        assert_eq!(
            picked(&[0], write(4, &[(0, 5, 6)])),
            whole,
            "it ends behind the body"
        );
        assert_eq!(picked(&[0], write(4, &[(0, u64::MAX, 2)])), whole);
        let unreadable = TailEntry {
            header: Bytes::from_static(&[0xff; 7]),
            ..write(4, &[])
        };
        assert_eq!(wanted(&[0]).pick(unreadable.clone()), unreadable);
        assert_eq!(Wanted::new(&[]).unwrap().pick(write(4, &[])), write(4, &[]));
    }

    #[test]
    fn too_many_are_refused() {
        let of = TailPartitions {
            dataset_id: 1,
            partitions: vec![0; PARTITIONS_MAX],
        };
        let refused = Wanted::new(&[of]).err().unwrap();
        assert_eq!(refused.code, ErrorCode::TooLarge);
    }
}
