//! Where the copies of a new dataset's partitions go: data in, plan out.
//!
//! Wished for, and tested: no two copies of a partition on one shard; shards that start equally loaded end within one
//! replica of each other; first copies are spread too; a shard that is down gets a copy only where those that live are
//! too few for all of them; the same input gives the same plan.

use std::collections::{BTreeMap, BTreeSet};

use longbow_types::{Error, ErrorCode, NodeId, Result};

/// Copies of each partition when the caller leaves the choice, if there are shards enough.
pub const COPIES_DEFAULT: u32 = 2;

/// Chooses shards for each copy of each partition.
///
/// `replication_factor` 0 means two copies, or one if there is one shard. `load` is the number of replicas that each
/// shard holds already; shards that it does not name hold none. Of `shards`, those in `live` are preferred. O(partitions · shards · log shards).
pub fn assign(
    partition_count: u32,
    replication_factor: u32,
    shards: &BTreeSet<NodeId>,
    live: &BTreeSet<NodeId>,
    load: &BTreeMap<NodeId, u64>,
) -> Result<Vec<Vec<NodeId>>> {
    let shard_count = u32::try_from(shards.len()).unwrap_or(u32::MAX);
    let copies = match replication_factor {
        0 => COPIES_DEFAULT.min(shard_count).max(1),
        asked => asked,
    };
    if copies > shard_count {
        let message = format!("{copies} shards are needed, {shard_count} are registered");
        return Err(Error::new(ErrorCode::NotEnoughShards, message)
            .field("replication_factor")
            .limit(shard_count));
    }
    let mut candidates: Vec<Candidate<'_>> = shards
        .iter()
        .map(|node| Candidate {
            replicas: load.get(node).copied().unwrap_or(0),
            firsts: 0,
            is_down: !live.contains(node),
            node,
        })
        .collect();
    Ok((0..partition_count)
        .map(|_| place_one(&mut candidates, copies as usize))
        .collect())
}

struct Candidate<'a> {
    replicas: u64,
    firsts: u64,
    is_down: bool,
    node: &'a NodeId,
}

/// The least loaded shards get the copies; of those, the one with the fewest first copies gets the first.
fn place_one(candidates: &mut [Candidate<'_>], copies: usize) -> Vec<NodeId> {
    candidates.sort_by_key(|c| (c.is_down, c.replicas, c.firsts, c.node));
    let chosen = &mut candidates[..copies];
    chosen.sort_by_key(|c| (c.is_down, c.firsts, c.replicas, c.node));
    chosen[0].firsts += 1;
    for candidate in chosen.iter_mut() {
        candidate.replicas += 1;
    }
    chosen.iter().map(|candidate| candidate.node.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shards(count: usize) -> BTreeSet<NodeId> {
        (0..count)
            .map(|i| format!("shard-{i}").parse().unwrap())
            .collect()
    }

    proptest! {
        #[test]
        fn spreads_and_never_doubles(partitions in 1u32..64, copies in 0u32..5, count in 0usize..8,
                                     held in proptest::collection::vec(0u64..40, 8)) {
            let shards = shards(count);
            let load: BTreeMap<NodeId, u64> = shards.iter().cloned().zip(held).collect();
            let plan = assign(partitions, copies, &shards, &shards, &load);
            let wanted = if copies == 0 { 2.min(count.max(1)) } else { copies as usize };
            if wanted > count {
                prop_assert_eq!(plan.unwrap_err().code, ErrorCode::NotEnoughShards);
                return Ok(());
            }
            let plan = plan.unwrap();
            prop_assert_eq!(plan.len(), partitions as usize);
            let mut after = load.clone();
            for replicas in &plan {
                prop_assert_eq!(replicas.len(), wanted);
                prop_assert_eq!(replicas.iter().collect::<BTreeSet<_>>().len(), wanted);
                for node in replicas {
                    *after.get_mut(node).unwrap() += 1;
                }
            }
            // Whoever got a replica is not left above a shard that could have taken it.
            for (node, now) in &after {
                for (other, spare) in &after {
                    let took = *now > load[node];
                    let could_take = *spare < load[other] + u64::from(partitions);
                    prop_assert!(!(took && could_take) || *now <= spare + 1, "{:?}", after);
                }
            }
            prop_assert_eq!(plan, assign(partitions, copies, &shards, &shards, &load).unwrap());
        }

        #[test]
        fn shards_that_are_down_come_last(partitions in 1u32..16, copies in 1usize..4, up in 0usize..6) {
            let all = shards(6);
            let live: BTreeSet<NodeId> = all.iter().take(up).cloned().collect();
            // What is down is empty, what lives is full: load alone would choose the dead.
            let load = live.iter().map(|node| (node.clone(), 1_000)).collect();
            for replicas in assign(partitions, copies as u32, &all, &live, &load).unwrap() {
                let alive = replicas.iter().filter(|node| live.contains(*node)).count();
                prop_assert_eq!(alive, copies.min(up));
                prop_assert!(up == 0 || live.contains(&replicas[0]));
            }
        }

        #[test]
        fn equal_shards_end_equal(partitions in 1u32..64, copies in 1u32..4, count in 4usize..8) {
            let plan = assign(partitions, copies, &shards(count), &shards(count), &BTreeMap::new()).unwrap();
            let mut all = BTreeMap::<&NodeId, u64>::new();
            let mut firsts = BTreeMap::<&NodeId, u64>::new();
            for replicas in &plan {
                *firsts.entry(&replicas[0]).or_default() += 1;
                replicas.iter().for_each(|node| *all.entry(node).or_default() += 1);
            }
            let total = u64::from(partitions) * u64::from(copies);
            prop_assert!(*all.values().max().unwrap() <= total.div_ceil(count as u64));
            prop_assert!(*firsts.values().max().unwrap() <= u64::from(partitions).div_ceil(count as u64) + 1);
        }
    }
}
