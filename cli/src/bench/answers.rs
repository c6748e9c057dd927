//! The exact answers of a data set: what recall is measured by, and so refused where they cannot be exact answers.
//!
//! An archive holds `ids` (queries × depth, nearest first) and, per filter F, `F_ids` and `F_mask` (bit i of the
//! little-endian bits: row i matches).

use std::path::PathBuf;

use longbow_client::{Error, ErrorCode};
use longbow_index::Bitset;

use super::{dataset::at_fault, npz::Archive};

/// Exact answers: per query, ids nearest first.
pub(super) struct Truth {
    ids: Vec<u32>,
    depth: usize,
}

impl Truth {
    /// Answers that were found, all of one length or cut to the shortest.
    pub(super) fn from_answers(answers: &[Vec<u32>]) -> Self {
        let depth = answers.iter().map(Vec::len).min().unwrap_or(0);
        Self {
            ids: answers.iter().flat_map(|ids| &ids[..depth]).copied().collect(),
            depth,
        }
    }

    /// The `k` nearest ids of a query.
    pub(super) fn of(&self, query: usize, k: usize) -> &[u32] {
        &self.ids[query * self.depth..][..k.min(self.depth)]
    }
}

/// An archive of answers, and what they have to fit.
pub(super) struct Answers {
    file: PathBuf,
    archive: Archive,
    rows: usize,
    queries: usize,
    k: usize,
}

impl Answers {
    /// Opens the archive of answers to so many queries, which are to be judged by the nearest `k`.
    pub(super) fn open(file: PathBuf, rows: usize, queries: usize, k: usize) -> Result<Self, Error> {
        let archive = Archive::open(&file).map_err(|error| {
            at_fault(&file, ErrorCode::InvalidValue, format!("{error:#}")).limit("an .npz archive")
        })?;
        Ok(Self {
            file,
            archive,
            rows,
            queries,
            k,
        })
    }

    /// Answers among the rows that are allowed.
    pub(super) fn truth(&self, name: &str, allow: &Bitset) -> Result<Truth, Error> {
        let unreadable = |error| self.unreadable(name, &error);
        let array = self.archive.array(name).map_err(unreadable)?;
        let (lines, depth) = array.matrix().map_err(unreadable)?;
        if lines != self.queries {
            let message = format!("{name:?} answers {lines} queries");
            return Err(self.wrong(message).limit(self.queries));
        }
        // All rows that there are do for more neighbours than that.
        let least = self.k.min(allow.count());
        if depth < least {
            let message = format!("{name:?} holds {depth} ids for each query");
            return Err(self
                .wrong(message)
                .limit(format_args!("at least {least} for -k {}", self.k)));
        }
        let ids = array.ids().map_err(unreadable)?;
        let is_answer = |id: u32| (id as usize) < self.rows && allow.get(id as usize);
        if let Some(at) = ids.iter().position(|&id| !is_answer(id)) {
            let message = format!("{name:?} answers query {} with id {}", at / depth, ids[at]);
            return Err(self.wrong(message).limit(format_args!(
                "ids below {} of the {} rows that match",
                self.rows,
                allow.count()
            )));
        }
        Ok(Truth { ids, depth })
    }

    /// The rows that a filter matches, if the archive has it: as many bits as there are rows, and not all of them clear.
    pub(super) fn mask(&self, name: &str) -> Result<Option<Bitset>, Error> {
        if !self.archive.has(name) {
            return Ok(None);
        }
        let array = self.archive.array(name);
        let mask = array.map_err(|error| self.unreadable(name, &error))?.data;
        let bytes = self.rows.div_ceil(8);
        if mask.len() != bytes {
            let message = format!("{name:?} has {} bytes", mask.len());
            return Err(self
                .wrong(message)
                .limit(format_args!("{bytes}, a bit for each of {} rows", self.rows)));
        }
        let beyond = mask.last().is_some_and(|last| {
            let used = self.rows - (bytes - 1) * 8;
            used < 8 && last >> used != 0
        });
        if beyond {
            let message = format!("{name:?} matches rows beyond the last");
            return Err(self.wrong(message).limit(format_args!("{} rows", self.rows)));
        }
        let words = mask.chunks(8).map(|bytes| {
            bytes
                .iter()
                .rev()
                .fold(0u64, |word, &byte| word << 8 | u64::from(byte))
        });
        let allow = Bitset::from_words(words.collect(), self.rows);
        if allow.count() == 0 {
            let message = format!("{name:?} matches no row");
            return Err(self.wrong(message).limit("at least one"));
        }
        Ok(Some(allow))
    }

    fn unreadable(&self, name: &str, error: &anyhow::Error) -> Error {
        self.wrong(format!("{name:?}: {error:#}"))
            .limit("integers in two axes, or the bits of a mask")
    }

    fn wrong(&self, message: String) -> Error {
        at_fault(&self.file, ErrorCode::InvalidValue, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{
        dataset::Dataset,
        made::{Folder, npy},
    };

    fn refused(members: &[(&str, Vec<u8>)], k: usize) -> Error {
        let folder = Folder::new();
        folder.archive("gt.npz", members);
        let error = Dataset::open(folder.path(), k, true)
            .err()
            .expect("it was accepted");
        assert!(error.field.as_ref().unwrap().ends_with("gt.npz"), "{error}");
        assert_eq!(error.code, ErrorCode::InvalidValue);
        error
    }

    fn ids(shape: &str, ids: &[u32]) -> Vec<u8> {
        let bytes: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
        npy("<u4", shape, &bytes)
    }

    /// Answers to the two queries of a folder of ten rows.
    fn good() -> Vec<u8> {
        ids("(2, 3)", &[0, 1, 2, 1, 2, 3])
    }

    #[test]
    fn answers_too_shallow_are_refused() {
        for (depth, held) in [("(2, 0)", &[][..]), ("(2, 2)", &[0, 1, 1, 2])] {
            let error = refused(&[("ids", ids(depth, held))], 3);
            assert_eq!(error.limit.as_deref(), Some("at least 3 for -k 3"), "{error}");
        }
        let error = refused(&[("ids", ids("(1, 3)", &[0, 1, 2]))], 3);
        assert_eq!(error.limit.as_deref(), Some("2"), "{error}");
    }

    #[test]
    fn answers_that_are_no_rows_are_refused() {
        let error = refused(&[("ids", ids("(2, 3)", &[0, 1, 2, 1, 10, 3]))], 3);
        assert!(error.message.contains("query 1 with id 10"), "{error}");
        let mask = npy("|u1", "(2,)", &[0b0001_0000, 0b10]);
        let members = [
            ("ids", good()),
            ("f10_mask", mask),
            ("f10_ids", ids("(2, 2)", &[4, 9, 9, 5])),
        ];
        let error = refused(&members, 3);
        assert!(error.message.contains("query 1 with id 5"), "{error}");
    }

    #[test]
    fn a_mask_has_a_bit_for_each_row_and_no_other() {
        for (mask, limit) in [
            (npy("|u1", "(1,)", &[255]), "2, a bit"),
            (npy("|u1", "(3,)", &[255, 3, 0]), "2, a bit"),
            (npy("|u1", "(2,)", &[255, 0b111]), "10 rows"),
            (npy("|u1", "(2,)", &[0, 0]), "at least one"),
        ] {
            let error = refused(&[("ids", good()), ("f10_mask", mask)], 1);
            assert!(error.limit.as_ref().unwrap().starts_with(limit), "{error}");
        }
    }
}
