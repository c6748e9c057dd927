//! What an index is made with, what a search asks for, and what it reports.

use longbow_kernels::{Element, Metric};

/// What an index is made with; fixed for its life.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Params {
    /// Type of the stored elements.
    pub element: Element,
    /// Distance between vectors.
    pub metric: Metric,
    /// Elements of a vector.
    pub dimension: usize,
    /// Links of a node on upper levels; the base level has twice as many. 2 to 128.
    pub m: usize,
    /// Candidates examined when a node is linked.
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
}

/// What the graph is traversed on; answers are refined on the vectors themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Quantization {
    /// The vectors.
    #[default]
    None,
    /// One byte per dimension beside the vectors.
    Sq8,
    /// Half a byte per dimension beside the vectors: the fastest.
    Sq4,
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
    /// Candidates kept while traversing the graph: more is more exact and slower. 0 takes the default for `k`.
    pub ef: usize,
    /// How to search.
    pub mode: Mode,
}

/// A slot and its distance to the query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Neighbor {
    /// The slot.
    pub slot: u32,
    /// The distance in the index's metric; smaller is nearer.
    pub distance: f32,
}

/// What a search did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Nodes whose links were followed.
    pub hops: u64,
    /// Distances computed.
    pub distances: u64,
    /// Of those, distances at full precision after a quantized traversal.
    pub refined: u64,
    /// Whether every allowed slot was compared.
    pub exact: bool,
}
