//! How was a partition searched, for those who ask?

use std::time::Duration;

use longbow_storage::{Found, Profile, Stats, Way};
use longbow_types::NodeId;
use longbow_wire::internal::PartitionState;
use longbow_wire::v1::{PartitionExplanation, SearchPlan};

/// What is left of a partition's answer when its rows are given away.
pub(super) struct Observed {
    /// What the index did.
    pub(super) stats: Stats,
    profile: Profile,
    /// How long the search waited for a thread.
    queued: Duration,
}

impl Observed {
    /// Of an answer that was begun after such a wait.
    pub(super) fn new(found: &Found, queued: Duration) -> Self {
        Self {
            stats: found.stats,
            profile: found.profile,
            queued,
        }
    }

    /// Spells it out, for a replica of this node that took so long until it had applied enough.
    pub(super) fn spell(
        &self,
        me: &NodeId,
        state: &PartitionState,
        waited: Duration,
    ) -> PartitionExplanation {
        let Self {
            stats,
            profile,
            queued,
        } = self;
        PartitionExplanation {
            partition: state.partition,
            node_id: me.to_string(),
            applied_index: state.applied_index,
            planned: plan(stats.planned, profile).into(),
            taken: plan(stats.way, profile).into(),
            rows: profile.rows as u64,
            rows_matching: profile.matching as u64,
            rows_unlinked: stats.tail as u64,
            ef: u32::try_from(stats.ef).unwrap_or(u32::MAX),
            hops: stats.hops,
            distances: stats.distances,
            refined: stats.refined,
            repeated: stats.repeated,
            exact: stats.exact,
            expected_recall: stats.recall,
            wait_nanos: nanos(waited),
            queue_nanos: nanos(*queued),
            filter_nanos: nanos(profile.filter),
            graph_nanos: nanos(stats.times.graph),
            tail_nanos: nanos(stats.times.tail),
            refine_nanos: nanos(stats.times.refine),
            fetch_nanos: nanos(profile.fetch),
        }
    }
}

/// The way of a search in the words of the protocol.
fn plan(way: Way, profile: &Profile) -> SearchPlan {
    match way {
        Way::Scan => SearchPlan::Scan,
        Way::Beam if profile.matching == profile.rows => SearchPlan::Walk,
        Way::Beam => SearchPlan::PostFilter,
        Way::Filtered => SearchPlan::FilteredWalk,
        Way::TwoHop => SearchPlan::TwoHop,
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_is_a_post_filter_only_where_rows_are_dropped() {
        let profile = |matching| Profile {
            rows: 100,
            matching,
            ..Profile::default()
        };
        assert_eq!(plan(Way::Beam, &profile(100)), SearchPlan::Walk);
        assert_eq!(plan(Way::Beam, &profile(99)), SearchPlan::PostFilter);
        assert_eq!(plan(Way::TwoHop, &profile(3)), SearchPlan::TwoHop);
    }
}
