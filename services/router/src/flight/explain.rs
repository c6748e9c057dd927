//! How a search was carried out, as JSON: the fields of `Explanation`, plans as words.

use longbow_wire::v1::{Explanation, PartitionExplanation, SearchPlan};
use serde_json::{Value, json};

/// An explanation.
pub fn json(explanation: &Explanation) -> Value {
    json!({
        "near_nanos": explanation.near_nanos,
        "scatter_nanos": explanation.scatter_nanos,
        "merge_nanos": explanation.merge_nanos,
        "partitions": explanation.partitions.iter().map(partition).collect::<Vec<_>>(),
    })
}

fn partition(told: &PartitionExplanation) -> Value {
    json!({
        "partition": told.partition,
        "node_id": told.node_id,
        "applied_index": told.applied_index,
        "planned": plan(told.planned()),
        "taken": plan(told.taken()),
        "rows": told.rows,
        "rows_matching": told.rows_matching,
        "rows_unlinked": told.rows_unlinked,
        "ef": told.ef,
        "hops": told.hops,
        "distances": told.distances,
        "refined": told.refined,
        "repeated": told.repeated,
        "exact": told.exact,
        "expected_recall": told.expected_recall,
        "wait_nanos": told.wait_nanos,
        "queue_nanos": told.queue_nanos,
        "filter_nanos": told.filter_nanos,
        "graph_nanos": told.graph_nanos,
        "tail_nanos": told.tail_nanos,
        "refine_nanos": told.refine_nanos,
        "fetch_nanos": told.fetch_nanos,
    })
}

fn plan(plan: SearchPlan) -> &'static str {
    match plan {
        SearchPlan::Unspecified => "unknown",
        SearchPlan::Scan => "scan",
        SearchPlan::Walk => "walk",
        SearchPlan::PostFilter => "post_filter",
        SearchPlan::FilteredWalk => "filtered_walk",
        SearchPlan::TwoHop => "two_hop",
    }
}
