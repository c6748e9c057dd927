//! A folder of base vectors, queries and exact answers, as the benchmark scripts lay it out.
//!
//! `base.f32.npy` with `query.f32.npy` and `gt.npz`, or `base.f16.npy` with `query.f16.npy` and `gt_f16.npz`. An archive
//! holds `ids` (queries × 100) and, per filter F, `F_ids` and `F_mask` (bit i of the little-endian bits: row i matches).

use std::path::Path;

use anyhow::{Context, Result, ensure};
use longbow_index::Bitset;

use super::{npy::Array, npz::Archive};

/// Vectors, queries and answers.
pub(super) struct Dataset {
    /// Base vectors, one after the other.
    pub(super) base: Vec<f32>,
    /// Whether the base was stored in 16 bits.
    pub(super) half: bool,
    /// Elements of a vector.
    pub(super) dimension: usize,
    /// Queries.
    pub(super) queries: Vec<Vec<f32>>,
    /// Exact answers of the unfiltered queries.
    pub(super) truth: Truth,
    /// The filters and their answers.
    pub(super) filters: Vec<Filter>,
}

/// Exact answers: per query, ids nearest first.
pub(super) struct Truth {
    ids: Vec<u32>,
    depth: usize,
}

/// A filter: which rows match, and the exact answers among them.
pub(super) struct Filter {
    /// Its name.
    pub(super) name: String,
    /// The matching rows.
    pub(super) allow: Bitset,
    /// The answers.
    pub(super) truth: Truth,
}

impl Dataset {
    /// Reads a folder.
    pub(super) fn open(folder: &Path) -> Result<Self> {
        let half = !folder.join("base.f32.npy").exists();
        let (tag, answers) = if half {
            ("f16", "gt_f16.npz")
        } else {
            ("f32", "gt.npz")
        };
        let base = read(&folder.join(format!("base.{tag}.npy")))?;
        let (rows, dimension) = base.matrix()?;
        ensure!(rows > 0 && dimension > 0, "the base is empty");
        let queries = read(&folder.join(format!("query.{tag}.npy")))?;
        ensure!(
            queries.matrix()?.1 == dimension,
            "queries and base have different dimensions"
        );
        let queries: Vec<Vec<f32>> = queries
            .floats()?
            .chunks_exact(dimension)
            .map(<[f32]>::to_vec)
            .collect();
        ensure!(!queries.is_empty(), "there are no queries");
        let archive = Archive::open(&folder.join(answers))?;
        let truth = Truth::read(&archive, "ids", queries.len())?;
        let mut filters = Vec::new();
        for name in ["f1", "f10", "f50"]
            .into_iter()
            .filter(|name| archive.has(&format!("{name}_mask")))
        {
            let mask = archive.array(&format!("{name}_mask"))?.data;
            let words = mask.chunks(8).map(|bytes| {
                bytes
                    .iter()
                    .rev()
                    .fold(0u64, |word, &byte| word << 8 | u64::from(byte))
            });
            filters.push(Filter {
                name: name.to_owned(),
                allow: Bitset::from_words(words.collect(), rows),
                truth: Truth::read(&archive, &format!("{name}_ids"), queries.len())?,
            });
        }
        Ok(Self {
            base: base.floats()?,
            half,
            dimension,
            queries,
            truth,
            filters,
        })
    }

    /// Number of base vectors.
    pub(super) fn rows(&self) -> usize {
        self.base.len() / self.dimension
    }
}

fn read(path: &Path) -> Result<Array> {
    let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    Array::parse(&bytes).with_context(|| path.display().to_string())
}

impl Truth {
    fn read(archive: &Archive, name: &str, queries: usize) -> Result<Self> {
        let array = archive.array(name)?;
        let (rows, depth) = array.matrix()?;
        ensure!(rows == queries, "{rows} answers to {queries} queries in {name:?}");
        Ok(Self {
            ids: array.ids()?,
            depth,
        })
    }

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
