//! What an index is made with, what a search asks for, and what it reports.

use longbow_kernels::{Element, Metric, ROW_ALIGN};

use crate::{clock::Times, error::InvalidTarget};

/// Most real numbers of a vector; a complex number is two.
pub const REALS_MAX: usize = 1 << 20;

/// Most links of a node on upper levels.
const M_MAX: usize = 128;
/// Most candidates for them.
const EF_CONSTRUCTION_MAX: usize = 10_000;

/// What an index is made with; fixed for its life.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Params {
    /// Type of the stored elements.
    pub element: Element,
    /// Distance between vectors.
    pub metric: Metric,
    /// Elements of a vector; at most [`REALS_MAX`] real numbers.
    pub dimension: usize,
    /// Links of a node on upper levels; the base level has twice as many. 2 to 128: an index takes the nearest it can.
    pub m: usize,
    /// Candidates examined when a node is linked. `m` to 10,000, as `m`.
    pub ef_construction: usize,
    /// Seed of the node levels.
    pub seed: u64,
}

impl Params {
    /// Parameters with the usual graph: 16 links, 200 candidates.
    pub fn new(element: Element, metric: Metric, dimension: usize) -> Self {
        Self {
            element,
            metric,
            dimension,
            m: 16,
            ef_construction: 200,
            seed: 0,
        }
    }

    /// As an index uses them: links and candidates within what it takes.
    pub(crate) fn used(self) -> Self {
        let m = self.m.clamp(2, M_MAX);
        Self {
            m,
            ef_construction: self.ef_construction.clamp(m, EF_CONSTRUCTION_MAX),
            ..self
        }
    }
}

/// What the graph is traversed on; answers are refined on the vectors themselves.
///
/// | | bytes per row beside the vectors, `d` reals | error of a product of unit vectors, `d` = 384 | choose it |
/// |---|---|---|---|
/// | `None` | 0 | 0 | where vectors are short, or nothing may be added to them |
/// | `Sq8` | `d` up to a multiple of 64, and 8¹ | 6·10⁻⁴ | for the least loss at narrow beams |
/// | `Sq4` | `d/2` up to a multiple of 64, and 8¹ | 6·10⁻³ | for speed |
/// | `Bit1` | `d/8 + 12` up to a multiple of 64 | 4·10⁻² | where vectors do not stay in memory |
///
/// ¹ None for cosine distances of vectors with no common direction.
///
/// The error falls with √`d`, and grows with the length of what is left of a vector and the query when the mean of most rows
/// is subtracted. How many answers are refined follows from it; where it outweighs what tells near rows apart, searches
/// compare vectors. Where codes would not be shorter than the vectors, in cache
/// lines, the vectors are traversed. While codes are made anew because the data drifted, there are two of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Quantization {
    /// The vectors.
    #[default]
    None,
    /// One byte per dimension.
    Sq8,
    /// Half a byte per dimension: the fastest.
    Sq4,
    /// One bit per dimension (RaBitQ). Vectors are read to link rows and to refine answers only; links are chosen
    /// on the vectors, so building takes as long as without codes.
    Bit1,
}

impl Quantization {
    /// What an index is traversed on that was asked for this: the vectors where codes would not be smaller.
    pub(crate) fn fitting(self, element: Element, reals: usize) -> Self {
        let lines = |bytes: usize| bytes.div_ceil(ROW_ALIGN);
        let vectors = lines(reals * element.bytes() / element.reals());
        let codes = match self {
            Self::None => return self,
            Self::Sq8 => lines(reals),
            Self::Sq4 => lines(reals.div_ceil(2)),
            Self::Bit1 => lines(reals.div_ceil(8) + 12),
        };
        if codes < vectors { self } else { Self::None }
    }
}

/// How a search is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// The cheaper of graph traversal and exact scan, by estimated cost.
    #[default]
    Auto,
    /// As `Auto`, on the vectors themselves from the first hop on, whatever the quantization.
    FullPrecision,
    /// Every allowed slot is compared.
    Exact,
}

/// What a search asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SearchParams {
    /// Neighbours wanted.
    pub k: usize,
    /// Candidates kept while traversing the graph: more is more exact and slower. A query with many points at like
    /// distances takes up to twice as many, an easy one fewer. 0 takes the default for `k`, and for the share of the slots that is
    /// allowed.
    pub ef: usize,
    /// How to search.
    pub mode: Mode,
}

/// What a range search asks for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RangeParams {
    /// Slots at most this far away are wanted, in the index's metric. With element types of more than 32 bits it is
    /// compared with the distance itself, not with what is told of it.
    pub radius: f32,
    /// Most slots wanted; the nearest are taken.
    pub limit: usize,
    /// Candidates kept while looking for the first slot within; 0 takes the default, and less than 32 are as good as 32.
    pub ef: usize,
    /// How to search. Range searches compare vectors, whatever the quantization.
    pub mode: Mode,
}

/// A recall to be reached on average: above 0 and at most 1, where 1 means that every allowed slot is compared.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct RecallTarget(f32);

impl RecallTarget {
    /// A target.
    pub fn new(target: f32) -> Result<Self, InvalidTarget> {
        if target > 0.0 && target <= 1.0 {
            Ok(Self(target))
        } else {
            Err(InvalidTarget { target })
        }
    }

    /// The target as a number.
    pub fn get(self) -> f32 {
        self.0
    }
}

/// A slot and its distance to the query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Neighbor {
    /// The slot.
    pub slot: u32,
    /// The distance in the index's metric, as the nearest 32-bit float, or within a 65,536th of it where element types have more
    /// than 32 bits and it is below 2⁻¹⁰⁰ or above 2¹⁰⁰; smaller is nearer.
    ///
    /// Of element types with more than 32 bits neighbours are ordered by the distance itself, so that those told apart may
    /// have equal numbers here: 0 for what is less than 2⁻¹⁵⁰, infinity for what is more than a 32-bit float holds. Of
    /// the other types what has equal numbers is equally near, and only its slots order it.
    pub distance: f32,
}

/// One answer of a batch.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Answer {
    /// The neighbours, sorted by distance, then slot.
    pub neighbors: Vec<Neighbor>,
    /// What finding them took.
    pub stats: Stats,
}

impl Answer {
    pub(crate) fn clear(&mut self) {
        self.neighbors.clear();
        self.stats = Stats::default();
    }
}

/// The way a search took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Way {
    /// Every allowed slot was compared.
    #[default]
    Scan,
    /// The graph was traversed, and the few slots that were not allowed dropped.
    Beam,
    /// The graph was traversed, and the allowed slots met were kept apart.
    Filtered,
    /// Allowed nodes were traversed, over the heads of the others.
    TwoHop,
}

/// What a search did.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Stats {
    /// Nodes whose links were followed.
    pub hops: u64,
    /// Distances computed.
    pub distances: u64,
    /// Of those, distances at full precision after a quantized traversal.
    pub refined: u64,
    /// Whether every allowed slot was compared, on the vectors themselves.
    pub exact: bool,
    /// The way taken last, after which nothing was missing.
    pub way: Way,
    /// The way that was planned from how many slots are allowed.
    pub planned: Way,
    /// Width of the beam; 0 for a scan.
    pub ef: usize,
    /// Slots that were allowed, of those appended when it began. This and what follows is told of single searches only.
    pub allowed: usize,
    /// Of those, slots that were not linked yet.
    pub tail: usize,
    /// Whether it was done again on the vectors, because codes told too little or a walk came to too few.
    pub repeated: bool,
    /// How long its parts took, where a clock was handed in.
    pub times: Times,
    /// What recall such a search has at least, on average, as far as [`VectorIndex::calibrate`] has measured it.
    ///
    /// [`VectorIndex::calibrate`]: crate::VectorIndex::calibrate
    pub recall: Option<f32>,
}

impl Stats {
    /// Of a search that compares all there is, if only because there is nothing.
    pub(crate) fn of_all() -> Self {
        Self {
            exact: true,
            recall: Some(1.0),
            ..Self::default()
        }
    }
}
