//! A folder of base vectors, queries and exact answers, as the benchmark scripts lay it out.
//!
//! `base.f32.npy` with `query.f32.npy` and `gt.npz`, or `base.f16.npy` with `query.f16.npy` and `gt_f16.npz`; what an
//! archive holds is said in `answers`. A folder that would be measured wrongly is refused.

use std::path::{Path, PathBuf};

use longbow_client::{Error, ErrorCode};
use longbow_index::Bitset;

use super::{
    answers::{Answers, Truth},
    npy::Array,
};

/// Names of the filters that an archive may have.
const FILTERS: [&str; 3] = ["f1", "f10", "f50"];

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
    /// Reads a folder, with its filters if they are wanted. Its answers must do to judge `k` neighbours by.
    pub(super) fn open(folder: &Path, k: usize, with_filters: bool) -> Result<Self, Error> {
        let half = !folder.join("base.f32.npy").exists();
        let (tag, answers) = if half {
            ("f16", "gt_f16.npz")
        } else {
            ("f32", "gt.npz")
        };
        let file = folder.join(format!("base.{tag}.npy"));
        if !file.exists() {
            return Err(no_base(folder));
        }
        let base = Vectors::read(file)?;
        let queries = Vectors::read(folder.join(format!("query.{tag}.npy")))?;
        let dimension = base.dimension;
        if queries.dimension != dimension {
            let message = format!("queries of {} elements", queries.dimension);
            return Err(at_fault(&queries.file, ErrorCode::DimensionMismatch, message)
                .limit(format_args!("{dimension}, as the base has")));
        }
        let queries: Vec<Vec<f32>> = queries
            .numbers
            .chunks_exact(dimension)
            .map(<[f32]>::to_vec)
            .collect();
        let rows = base.numbers.len() / dimension;
        let answers = Answers::open(folder.join(answers), rows, queries.len(), k)?;
        let truth = answers.truth("ids", &Bitset::full(rows))?;
        let mut filters = Vec::new();
        for name in FILTERS.iter().filter(|_| with_filters) {
            if let Some(allow) = answers.mask(&format!("{name}_mask"))? {
                let truth = answers.truth(&format!("{name}_ids"), &allow)?;
                filters.push(Filter {
                    name: (*name).to_owned(),
                    allow,
                    truth,
                });
            }
        }
        Ok(Self {
            base: base.numbers,
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

fn no_base(folder: &Path) -> Error {
    let message = "neither base.f32.npy nor base.f16.npy is there".to_owned();
    at_fault(folder, ErrorCode::InvalidValue, message)
        .limit("a folder of a base, queries and exact answers: see `longbow bench ann --help`")
}

/// What is wrong with a file of a data set.
pub(super) fn at_fault(file: &Path, code: ErrorCode, message: String) -> Error {
    Error::new(code, message).field(file.display().to_string())
}

/// The vectors of a file.
struct Vectors {
    file: PathBuf,
    dimension: usize,
    numbers: Vec<f32>,
}

impl Vectors {
    /// At least one, of at least one element, and all of them numbers.
    fn read(file: PathBuf) -> Result<Self, Error> {
        let unreadable = |error: anyhow::Error| {
            at_fault(&file, ErrorCode::InvalidValue, format!("{error:#}")).limit("a .npy matrix of f2 or f4")
        };
        let bytes = std::fs::read(&file).map_err(|error| unreadable(error.into()))?;
        let array = Array::parse(&bytes).map_err(unreadable)?;
        drop(bytes);
        let (rows, dimension) = array.matrix().map_err(unreadable)?;
        if rows == 0 || dimension == 0 {
            let message = format!("a matrix of {rows} x {dimension}");
            return Err(
                at_fault(&file, ErrorCode::InvalidValue, message).limit("at least one vector of one element")
            );
        }
        let numbers = array.floats().map_err(unreadable)?;
        if let Some(at) = numbers.iter().position(|number| !number.is_finite()) {
            let message = format!("row {} holds {}", at / dimension, numbers[at]);
            return Err(at_fault(&file, ErrorCode::InvalidVector, message).limit("finite numbers"));
        }
        Ok(Self {
            file,
            dimension,
            numbers,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::made::Folder;

    fn refused(folder: &Folder, k: usize) -> Error {
        Dataset::open(folder.path(), k, true)
            .err()
            .expect("it was accepted")
    }

    #[test]
    fn a_folder_is_read() {
        let dataset = Dataset::open(Folder::new().path(), 3, true).unwrap();
        assert_eq!((dataset.rows(), dataset.dimension, dataset.half), (10, 2, false));
        assert_eq!(dataset.queries.len(), 2);
        assert_eq!(dataset.truth.of(1, 2), [1, 2]);
        let filter = &dataset.filters[0];
        assert_eq!((filter.name.as_str(), filter.allow.count()), ("f10", 2));
        // Fewer rows match than neighbours are wanted: all of them are answers enough.
        assert_eq!(filter.truth.of(0, 3), [4, 9]);
        assert!(
            Dataset::open(Folder::new().path(), 3, false)
                .unwrap()
                .filters
                .is_empty()
        );
    }

    #[test]
    fn vectors_that_are_no_numbers_are_refused() {
        for (file, wrong) in [("base.f32.npy", f32::NAN), ("query.f32.npy", f32::NEG_INFINITY)] {
            let folder = Folder::new();
            let rows = [1.0, 2.0, 3.0, wrong];
            folder.vectors(file, &rows, 2);
            let error = refused(&folder, 1);
            assert_eq!(error.code, ErrorCode::InvalidVector);
            assert!(error.field.as_ref().unwrap().ends_with(file), "{error}");
            assert!(error.message.contains("row 1"), "{error}");
        }
    }

    #[test]
    fn queries_have_the_dimension_of_the_base() {
        let folder = Folder::new();
        folder.vectors("query.f32.npy", &[1.0, 2.0, 3.0], 3);
        let error = refused(&folder, 1);
        assert_eq!(error.code, ErrorCode::DimensionMismatch);
        assert!(error.limit.unwrap().starts_with('2'));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for file in ["base.f32.npy", "query.f32.npy", "gt.npz"] {
            let folder = Folder::new();
            let path = folder.path().join(file);
            std::fs::write(&path, "PK").unwrap();
            let error = refused(&folder, 1);
            assert_eq!(error.field.as_deref(), path.to_str(), "{error}");
        }
        let folder = Folder::new();
        std::fs::remove_file(folder.path().join("query.f32.npy")).unwrap();
        assert!(refused(&folder, 1).field.unwrap().ends_with("query.f32.npy"));
    }

    #[test]
    fn a_folder_without_a_base_is_told_both_names() {
        let folder = Folder::new();
        std::fs::remove_file(folder.path().join("base.f32.npy")).unwrap();
        let error = refused(&folder, 1);
        for name in ["base.f32.npy", "base.f16.npy"] {
            assert!(error.message.contains(name), "{error}");
        }
    }
}
