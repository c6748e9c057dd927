//! How a search is carried out: exact scan or one of the traversals, by estimated cost.

use crate::params::Way;

/// What is known before a search begins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Task {
    /// Neighbours wanted, at most as many as are allowed.
    pub(crate) k: usize,
    /// Beam of a traversal.
    pub(crate) ef: usize,
    /// Slots in the graph, at least those allowed.
    pub(crate) linked: usize,
    /// Of those, the allowed ones.
    pub(crate) allowed: usize,
    /// Bytes that a distance reads.
    pub(crate) bytes: usize,
}

impl Task {
    /// The share of slots in the graph that are allowed.
    pub(crate) fn share(&self) -> f64 {
        self.allowed as f64 / self.linked.max(1) as f64
    }
}

/// How to search the linked slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Compare every allowed slot.
    Scan,
    /// Traverse and drop the few found that are not allowed.
    Beam {
        /// Nodes kept.
        width: usize,
    },
    /// Traverse everything with a beam of this width and drop what is not allowed.
    Filtered {
        /// Most nodes waiting to be expanded.
        width: usize,
    },
    /// Traverse allowed nodes only, reaching over the others.
    TwoHop {
        /// Whether it is known that none of them is near the query.
        far: bool,
    },
}

/// Distances that a traversal computes per place in its beam, about.
const DISTANCES_PER_EF: usize = 12;
/// Distances before a traversal's beam is full, about.
const DISTANCES_START: usize = 200;
/// Nanoseconds of a traversal per distance, besides what it reads; all times are about those of one core of 2023,
/// and only their ratios matter.
const WALK_NS: f64 = 24.0;
/// Bytes that a traversal reads in a nanosecond, most of them waited for together.
const WALK_BYTES_PER_NS: f64 = 30.0;
/// Nanoseconds of a scan per row, besides what it reads.
const SCAN_NS: f64 = 2.0;
/// Bytes that a scan reads in a nanosecond: what one core gets from memory.
const SCAN_BYTES_PER_NS: f64 = 16.0;
/// Times an unfiltered traversal that one over allowed nodes takes, which has to read many more lists; rather more than that,
/// because a scan finds more.
const TWO_HOP_COST: f64 = 7.0;
/// Below this share of allowed slots, traversing only those is cheaper than traversing all,
const TWO_HOP_SHARE_MAX: f64 = 0.2;
/// and below this one they hang together no more: a node has a thousand neighbours of neighbours, many of them twice.
const TWO_HOP_SHARE_MIN: f64 = 0.05;

/// Times as wide a beam where nothing near the query is allowed,
const FAR_TIMES: usize = 16;
/// and times a walk with it that a scan may take and is preferred.
const FAR_PATIENCE: f64 = 4.0;
/// From this share of allowed slots on, what is not allowed is dropped from what a traversal found: a few deleted
/// rows must not change how everything is searched.
const DROP_SHARE_MIN: f64 = 0.95;

/// Chooses the cheapest way.
pub(crate) fn plan(task: &Task) -> Plan {
    if task.allowed <= task.k {
        return Plan::Scan;
    }
    let (walk_ns, scan_ns) = costs(task.bytes);
    let (way, distances) = walk(task);
    if task.allowed as f64 * scan_ns <= distances * walk_ns {
        Plan::Scan
    } else {
        way
    }
}

/// The cheapest way through the graph.
pub(crate) fn walking(task: &Task) -> Plan {
    walk(task).0
}

/// The cheapest way through the graph, and about how many distances of an unfiltered one it takes the time of.
fn walk(task: &Task) -> (Plan, f64) {
    let share = task.share();
    // A beam of all nodes is a scan.
    let ef = task.ef.min(task.linked);
    let distances = (DISTANCES_START + DISTANCES_PER_EF * ef) as f64;
    let (way, times) = if share >= DROP_SHARE_MIN {
        let width = (ef as f64 / share).ceil() as usize;
        (Plan::Beam { width }, 1.0)
    } else if is_two_hop(share) {
        (Plan::TwoHop { far: false }, TWO_HOP_COST)
    } else {
        (filtered(task), 1.0 / share)
    };
    (way, distances * times)
}

/// How many nodes a walk through a ball may expand before a scan had been cheaper; `None` where it is so already.
pub(crate) fn range_hops(task: &Task) -> Option<u64> {
    let (walk_ns, scan_ns) = costs(task.bytes);
    let scan = task.allowed as f64 * scan_ns;
    let start = (DISTANCES_START + DISTANCES_PER_EF * task.ef.min(task.linked)) as f64 * walk_ns;
    (scan > start).then(|| (scan / (walk_ns * DISTANCES_PER_EF as f64)) as u64)
}

impl From<Plan> for Way {
    fn from(plan: Plan) -> Self {
        match plan {
            Plan::Scan => Self::Scan,
            Plan::Beam { .. } => Self::Beam,
            Plan::Filtered { .. } => Self::Filtered,
            Plan::TwoHop { .. } => Self::TwoHop,
        }
    }
}

/// Nanoseconds per distance of a traversal and of a scan.
fn costs(bytes: usize) -> (f64, f64) {
    let bytes = bytes as f64;
    (
        WALK_NS + bytes / WALK_BYTES_PER_NS,
        SCAN_NS + bytes / SCAN_BYTES_PER_NS,
    )
}

/// Whether traversing only allowed nodes, such a share of all, is the cheapest.
fn is_two_hop(share: f64) -> bool {
    (TWO_HOP_SHARE_MIN..TWO_HOP_SHARE_MAX).contains(&share)
}

/// How to search where [`Plan::Beam`] found too few, or [`Plan::TwoHop`] came to an end.
pub(crate) fn filtered(task: &Task) -> Plan {
    let share = task.share();
    let width = (task.ef.min(task.linked) as f64 / share).ceil() as usize * 2;
    Plan::Filtered { width }
}

/// How to search on vectors, of so many bytes, where [`Plan::Filtered`] and [`Plan::TwoHop`] found too few: by
/// [`Plan::TwoHop`] with a wide beam. `None`: a scan does not take much longer, and finds all.
pub(crate) fn far(task: &Task, bytes: usize) -> Option<Task> {
    let (walk_ns, scan_ns) = costs(bytes);
    let ef = task.ef.saturating_mul(FAR_TIMES).min(task.linked);
    let walk = (DISTANCES_START + DISTANCES_PER_EF * ef) as f64 * walk_ns;
    (task.allowed as f64 * scan_ns > FAR_PATIENCE * walk).then_some(Task { ef, bytes, ..*task })
}

/// The beam when the caller names none: what gives recall@10 of 0.95 and more on text embeddings, where all nodes are
/// allowed.
pub(crate) fn default_ef(k: usize) -> usize {
    k.saturating_mul(2).max(k.saturating_add(64)).max(96)
}

/// As [`default_ef`], where a share of the nodes is allowed, and so many of those found are refined.
///
/// [`Plan::Filtered`] sees all nodes, among which the `k` wanted are the nearest `k / share`: its beam is that for so many,
/// of which a share is allowed. [`Plan::TwoHop`] compares as many for each place in its beam as a walk through all nodes,
/// but only such as are allowed: half as many beyond `k` find as much.
pub(crate) fn default_ef_among(k: usize, share: f64, refined: usize) -> usize {
    let most = default_ef(k);
    let beam = if share >= DROP_SHARE_MIN {
        most
    } else if is_two_hop(share) {
        k.midpoint(most)
    } else {
        (default_ef((k as f64 / share) as usize) as f64 * share) as usize
    };
    beam.max(k).max(refined.min(most))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(allowed: usize) -> Plan {
        plan(&Task {
            k: 10,
            ef: 96,
            linked: 1_000_000,
            allowed,
            bytes: 192,
        })
    }

    #[test]
    fn few_survivors_are_scanned_and_many_traversed() {
        assert_eq!(of(5), Plan::Scan);
        assert_eq!(of(2_000), Plan::Scan);
        assert_eq!(of(50_000), Plan::TwoHop { far: false });
        assert!(matches!(of(500_000), Plan::Filtered { .. }));
        assert_eq!(of(1_000_000), Plan::Beam { width: 96 });
        assert_eq!(of(999_999), Plan::Beam { width: 97 });
        assert_eq!(of(950_000), Plan::Beam { width: 102 });
    }

    #[test]
    fn scans_of_short_rows_are_cheaper_than_those_of_long_ones() {
        let task = |bytes| Task {
            k: 10,
            ef: 64,
            linked: 100_000,
            allowed: 5_000,
            bytes,
        };
        assert_eq!(plan(&task(64)), Plan::Scan);
        assert_eq!(plan(&task(6144)), Plan::TwoHop { far: false });
    }

    #[test]
    fn few_that_do_not_hang_together_are_not_walked_alone() {
        let task = |allowed| Task {
            k: 10,
            ef: 20,
            linked: 100_000_000,
            allowed,
            bytes: 1024,
        };
        assert_eq!(plan(&task(6_000_000)), Plan::TwoHop { far: false });
        assert!(matches!(plan(&task(4_000_000)), Plan::Filtered { .. }));
        assert_eq!(plan(&task(20_000)), Plan::Scan);
    }

    #[test]
    fn default_beams_are_as_wide_as_what_they_have_to_find() {
        assert_eq!(default_ef_among(10, 1.0, 10), 96);
        assert_eq!(default_ef_among(10, 0.99, 10), 96);
        // The nearest 20 of all, in a beam of 96, of which a half is allowed.
        assert_eq!(default_ef_among(10, 0.5, 10), 48);
        assert_eq!(default_ef_among(100, 0.5, 100), 200);
        assert_eq!(default_ef_among(10, 0.1, 10), 53);
        assert_eq!(default_ef_among(100, 0.1, 100), 150);
        // The nearest 1000, in a beam of 2000.
        assert_eq!(default_ef_among(10, 0.01, 10), 20);
        // What is refined must be found first, but no wider a beam is needed than where all are allowed.
        assert_eq!(default_ef_among(10, 0.01, 30), 30);
        assert_eq!(default_ef_among(10, 0.01, 210), 96);
        // Whatever the numbers.
        assert_eq!(default_ef_among(7, 0.0, 0), 7);
        assert_eq!(default_ef_among(usize::MAX, 0.3, usize::MAX), usize::MAX);
    }

    #[test]
    fn a_beam_is_never_wider_than_the_graph() {
        let task = |allowed| Task {
            k: 10,
            ef: usize::MAX,
            linked: 1_000_000,
            allowed,
            bytes: 192,
        };
        for allowed in [1, 1_000, 300_000, 990_000, 1_000_000] {
            assert_eq!(plan(&task(allowed)), Plan::Scan);
        }
    }

    #[test]
    fn small_indexes_are_scanned() {
        assert_eq!(
            plan(&Task {
                k: 10,
                ef: 96,
                linked: 500,
                allowed: 500,
                bytes: 192,
            }),
            Plan::Scan
        );
    }
}
