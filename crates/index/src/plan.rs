//! How a search is carried out: exact scan or one of the traversals, by estimated cost.

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
    TwoHop,
}

/// Distances that a traversal computes per place in its beam, about.
const DISTANCES_PER_EF: usize = 12;
/// Distances before a traversal's beam is full, about.
const DISTANCES_START: usize = 200;
/// Rows a scan compares in the time of one distance of a traversal, which waits for memory.
const SCAN_SPEED: usize = 3;
/// Times an unfiltered traversal that one over allowed nodes takes: it has to read many more lists.
const TWO_HOP_COST: usize = 3;
/// Below this share of allowed slots, traversing only those is cheaper than traversing all.
const TWO_HOP_SHARE_MAX: f64 = 0.2;

/// From this share of allowed slots on, what is not allowed is dropped from what a traversal found: a few deleted
/// rows must not change how everything is searched.
const DROP_SHARE_MIN: f64 = 0.95;

/// Chooses the cheapest way.
pub(crate) fn plan(task: &Task) -> Plan {
    if task.allowed <= task.k {
        return Plan::Scan;
    }
    let share = task.allowed as f64 / task.linked as f64;
    // A beam of all nodes is a scan.
    let ef = task.ef.min(task.linked);
    let unfiltered = DISTANCES_START + DISTANCES_PER_EF * ef;
    let (way, cost) = if share >= DROP_SHARE_MIN {
        let width = (ef as f64 / share).ceil() as usize;
        (Plan::Beam { width }, unfiltered)
    } else if share >= TWO_HOP_SHARE_MAX {
        (filtered(task), (unfiltered as f64 / share) as usize)
    } else {
        (Plan::TwoHop, TWO_HOP_COST * unfiltered)
    };
    if task.allowed <= cost * SCAN_SPEED {
        Plan::Scan
    } else {
        way
    }
}

/// How to search where [`Plan::Beam`] found too few.
pub(crate) fn filtered(task: &Task) -> Plan {
    let share = task.allowed as f64 / task.linked as f64;
    let width = (task.ef.min(task.linked) as f64 / share).ceil() as usize * 2;
    Plan::Filtered { width }
}

/// The beam when the caller names none: what gives recall@10 of 0.95 and more on text embeddings.
pub(crate) fn default_ef(k: usize) -> usize {
    k.saturating_mul(2).max(k.saturating_add(64)).max(96)
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
        })
    }

    #[test]
    fn few_survivors_are_scanned_and_many_traversed() {
        assert_eq!(of(5), Plan::Scan);
        assert_eq!(of(2_000), Plan::Scan);
        assert_eq!(of(50_000), Plan::TwoHop);
        assert!(matches!(of(500_000), Plan::Filtered { .. }));
        assert_eq!(of(1_000_000), Plan::Beam { width: 96 });
        assert_eq!(of(999_999), Plan::Beam { width: 97 });
        assert_eq!(of(950_000), Plan::Beam { width: 102 });
    }

    #[test]
    fn a_beam_is_never_wider_than_the_graph() {
        let task = |allowed| Task {
            k: 10,
            ef: usize::MAX,
            linked: 1_000_000,
            allowed,
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
                allowed: 500
            }),
            Plan::Scan
        );
    }
}
