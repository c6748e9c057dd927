//! How a search was carried out.

use std::time::Duration;

use longbow_wire::v1;

/// How a search was carried out, for one that [asked](crate::Search::explain).
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// What each partition did, in order of their ordinals.
    pub partitions: Vec<PartitionExplanation>,
    /// Until the query vector was there: fetching it, where the search is near a row.
    pub near: Duration,
    /// Until every partition had answered, and the leader had told how far the log is, if the read is to be fresh.
    pub scatter: Duration,
    /// For making one answer of those of the shards.
    pub merge: Duration,
}

/// How a partition is searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SearchPlan {
    /// In a way that this version of the SDK does not know.
    Unknown,
    /// Every matching row is compared.
    Scan,
    /// The graph is walked, and all that is found matches.
    Walk,
    /// The graph is walked as if there were no filter, and the few rows that do not match are dropped.
    PostFilter,
    /// The graph is walked through all rows, and those that match are kept apart.
    FilteredWalk,
    /// The graph is walked from one matching row to the next, over the heads of others.
    TwoHop,
}

impl SearchPlan {
    /// In a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Scan => "scan",
            Self::Walk => "walk",
            Self::PostFilter => "post_filter",
            Self::FilteredWalk => "filtered_walk",
            Self::TwoHop => "two_hop",
        }
    }

    fn from_proto(plan: v1::SearchPlan) -> Self {
        match plan {
            v1::SearchPlan::Unspecified => Self::Unknown,
            v1::SearchPlan::Scan => Self::Scan,
            v1::SearchPlan::Walk => Self::Walk,
            v1::SearchPlan::PostFilter => Self::PostFilter,
            v1::SearchPlan::FilteredWalk => Self::FilteredWalk,
            v1::SearchPlan::TwoHop => Self::TwoHop,
        }
    }
}

/// What a replica of a partition did for a search.
#[derive(Debug, Clone, PartialEq)]
pub struct PartitionExplanation {
    /// Ordinal of the partition.
    pub partition: u32,
    /// Shard whose replica answered.
    pub node_id: String,
    /// Last log index that it had applied.
    pub applied_index: u64,
    /// The plan, made from how many rows match.
    pub planned: SearchPlan,
    /// The way taken in the end: another than planned where that came to too few rows.
    pub taken: SearchPlan,
    /// Live rows.
    pub rows: u64,
    /// Of those, rows that match the filter; all without one.
    pub rows_matching: u64,
    /// Of the matching rows, those not linked into the graph yet: all of them are compared.
    pub rows_unlinked: u64,
    /// Width of the graph search; 0 where every matching row was compared.
    pub ef: u32,
    /// Rows whose links were followed.
    pub hops: u64,
    /// Distances computed, to codes and to vectors.
    pub distances: u64,
    /// Of those, distances to vectors of rows found by their codes.
    pub refined: u64,
    /// Whether the search was done again on the vectors, because codes told too little or a walk came to too few rows.
    pub repeated: bool,
    /// Whether every matching row was compared on its vector, so that nothing can be missing.
    pub exact: bool,
    /// The share of the nearest rows that such searches find on average, at least, if it was measured.
    pub expected_recall: Option<f32>,
    /// How long the parts took.
    pub times: StageTimes,
}

/// How long the parts of a partition's search took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StageTimes {
    /// Until the replica had applied what the search was to see.
    pub wait: Duration,
    /// In the queue of the shard's search threads.
    pub queue: Duration,
    /// Finding the rows that match.
    pub filter: Duration,
    /// Walking the graph, or comparing linked rows in its place; all rows, where the search is exact.
    pub graph: Duration,
    /// Comparing rows that are not linked yet, beside a walk.
    pub tail: Duration,
    /// Comparing the vectors of rows found by their codes.
    pub refine: Duration,
    /// Fetching the columns of the answer.
    pub fetch: Duration,
}

impl StageTimes {
    /// The parts by name, in the order in which they come.
    pub fn by_name(&self) -> [(&'static str, Duration); 7] {
        [
            ("wait", self.wait),
            ("queue", self.queue),
            ("filter", self.filter),
            ("graph", self.graph),
            ("tail", self.tail),
            ("refine", self.refine),
            ("fetch", self.fetch),
        ]
    }
}

impl Explanation {
    pub(crate) fn from_proto(told: v1::Explanation) -> Self {
        Self {
            partitions: told
                .partitions
                .into_iter()
                .map(PartitionExplanation::from_proto)
                .collect(),
            near: Duration::from_nanos(told.near_nanos),
            scatter: Duration::from_nanos(told.scatter_nanos),
            merge: Duration::from_nanos(told.merge_nanos),
        }
    }
}

impl PartitionExplanation {
    fn from_proto(told: v1::PartitionExplanation) -> Self {
        Self {
            partition: told.partition,
            applied_index: told.applied_index,
            planned: SearchPlan::from_proto(told.planned()),
            taken: SearchPlan::from_proto(told.taken()),
            rows: told.rows,
            rows_matching: told.rows_matching,
            rows_unlinked: told.rows_unlinked,
            ef: told.ef,
            hops: told.hops,
            distances: told.distances,
            refined: told.refined,
            repeated: told.repeated,
            exact: told.exact,
            expected_recall: told.expected_recall,
            times: StageTimes {
                wait: Duration::from_nanos(told.wait_nanos),
                queue: Duration::from_nanos(told.queue_nanos),
                filter: Duration::from_nanos(told.filter_nanos),
                graph: Duration::from_nanos(told.graph_nanos),
                tail: Duration::from_nanos(told.tail_nanos),
                refine: Duration::from_nanos(told.refine_nanos),
                fetch: Duration::from_nanos(told.fetch_nanos),
            },
            node_id: told.node_id,
        }
    }
}
