//! What stands in keepers' logs, read from the files of keepers that do not run.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use longbow_wal::{
    FsDisk,
    inspect::{Content, dump},
};
use longbow_wire::entry;

use crate::load::values_in;

/// The entries of a log, by index: term and data. Those that were replaced do not count.
pub type KeeperLog = BTreeMap<u64, (u64, Vec<u8>)>;

/// Reads a log.
pub fn read_log(folder: &Path) -> Result<KeeperLog> {
    let disk = FsDisk::open_to_read(folder)?;
    let mut entries = KeeperLog::new();
    dump(&disk, |record| {
        match record.content {
            Content::Entry {
                term, index, data, ..
            } => {
                entries.split_off(&index);
                entries.insert(index, (term, data));
            }
            Content::Start { .. } => entries.clear(),
            _ => {}
        }
        Ok::<_, longbow_wal::Error>(())
    })
    .with_context(|| format!("reading {}", folder.display()))?;
    Ok(entries)
}

/// Fails if two logs differ at an index that both have, and if the longest such stretch is shorter than `least`.
pub fn one_order(logs: &[KeeperLog], least: usize) -> Result<()> {
    for (at, one) in logs.iter().enumerate() {
        for other in &logs[at + 1..] {
            let mut common = 0;
            for (index, entry) in one {
                let Some(theirs) = other.get(index) else { continue };
                ensure!(
                    entry == theirs,
                    "two orders: entry {index} is of term {} here and of {} there, with {} and {} bytes",
                    entry.0,
                    theirs.0,
                    entry.1.len(),
                    theirs.1.len()
                );
                common += 1;
            }
            ensure!(common >= least, "two logs have only {common} entries in common");
        }
    }
    Ok(())
}

/// Where each value of the load stands in a log. A value that was written by a retry stands there again, under the same
/// producer and sequence; the first one counts.
pub fn positions(log: &KeeperLog) -> Result<BTreeMap<u64, u64>> {
    let mut found: BTreeMap<u64, (u64, (u64, u64))> = BTreeMap::new();
    for (&index, (_, data)) in log {
        let values = values_in(data);
        if values.is_empty() {
            continue;
        }
        let entry = Bytes::copy_from_slice(data);
        let (header, _) = entry::split(&entry).with_context(|| format!("entry {index} cannot be read"))?;
        let header = entry::decode_header(&header)?;
        let sender = (header.producer, header.sequence);
        for value in values {
            let (first, by) = *found.entry(value).or_insert((index, sender));
            ensure!(
                first == index || by == sender,
                "the value {value} was written twice: at {first} by {by:?}, at {index} by {sender:?}"
            );
        }
    }
    Ok(found
        .into_iter()
        .map(|(value, (index, _))| (value, index))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(terms: &[u64]) -> KeeperLog {
        let entry = |(index, &term)| (index, (term, vec![index as u8]));
        (1..).zip(terms).map(entry).collect()
    }

    #[test]
    fn two_orders_are_told_apart() {
        one_order(&[log(&[1, 1, 2]), log(&[1, 1, 2, 2]), log(&[1, 1])], 2).unwrap();
        one_order(&[log(&[1, 1, 2]), log(&[1, 1, 3])], 1).unwrap_err();
        let mut changed = log(&[1, 1, 2]);
        changed.get_mut(&2).unwrap().1[0] ^= 1;
        one_order(&[log(&[1, 1, 2]), changed], 1).unwrap_err();
        one_order(&[log(&[1, 1, 2]), log(&[])], 1).unwrap_err();
        let mut without_first = log(&[1, 1, 2]);
        without_first.remove(&1);
        one_order(&[log(&[1, 1, 2]), without_first], 2).unwrap();
    }
}
