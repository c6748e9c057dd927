//! How much more may be logged for this node? It tells the keepers every second: they refuse what it has no room for.
//!
//! A node that has not replayed the log yet does not know what it will hold, and is silent.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use longbow_node::gossip::Gossip;
use longbow_node::rpc::Peers;
use longbow_node::shutdown::Shutdown;
use longbow_storage::Appetite;
use longbow_types::Role;
use longbow_wire::internal::{ReplicaCredit, ReportDurableRequest, ShardCredit};

use crate::memory::Account;
use crate::partition::Key;
use crate::state::State;
use crate::vouch::tell;

/// How often it is told. A keeper that is slower than that is told the next time.
const EVERY: Duration = Duration::from_secs(1);

/// Tells every live keeper until the shutdown.
pub(crate) async fn lend(state: Arc<State>, gossip: Gossip, peers: Peers, shutdown: Shutdown) {
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let telling = async {
        loop {
            tick.tick().await;
            let log = state.catalogue();
            let log_id = log.log_id();
            if log_id == 0 || !state.is_caught_up() {
                continue;
            }
            let report = [ReportDurableRequest {
                replicas: Vec::new(),
                log_id,
                incarnation: log.incarnation(),
                credit: Some(credit(&state)),
            }];
            let keepers = gossip.live(Role::WalKeeper);
            join_all(keepers.iter().map(|keeper| tell(&peers, keeper, &report, EVERY))).await;
        }
    };
    tokio::select! {
        () = telling => {}
        () = shutdown.wait() => {}
    }
}

/// What there is to tell.
fn credit(state: &State) -> ShardCredit {
    // In this order: what is applied meanwhile is counted twice rather than not at all.
    let applied_index = state.routed();
    let taken = Account::of(state).total();
    let partitions = state.partitions();
    let replicas = partitions
        .iter()
        .map(|(&key, partition)| of_replica(key, partition.reader.appetite()));
    ShardCredit {
        applied_index,
        free_bytes: state.memory_budget.saturating_sub(taken),
        budget_bytes: state.memory_budget,
        replicas: replicas.collect(),
    }
}

fn of_replica(key: Key, appetite: Appetite) -> ReplicaCredit {
    let permille = |bytes: u64| {
        let permille = bytes.saturating_mul(1_000).div_ceil(appetite.logged_bytes.max(1));
        u32::try_from(permille).unwrap_or(u32::MAX)
    };
    ReplicaCredit {
        dataset_id: key.dataset.0,
        partition: key.ordinal,
        reusable_bytes: appetite.free_slots.saturating_mul(appetite.logged_bytes),
        reused_growth_permille: permille(appetite.reused_bytes),
        growth_permille: permille(appetite.fresh_bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::PROCESS_BYTES;
    use crate::partition::Partition;
    use crate::state::tests::{schema, upsert_body};
    use longbow_storage::{Options, Replica, WriteKind};
    use longbow_types::DatasetId;

    const ROWS: u64 = 10_000;

    #[test]
    fn what_rows_are_said_to_take_is_what_they_take() {
        let budget = PROCESS_BYTES + (64 << 20);
        let mut state = State::new("s1".parse().unwrap());
        state.memory_budget = budget;
        assert_eq!(credit(&state).free_bytes, 64 << 20);
        let key = Key {
            dataset: DatasetId(3),
            ordinal: 0,
        };
        let mut replica = Replica::new(schema(), &Options::default(), 3);
        let partition = Partition::new(key, "d".into(), replica.reader().clone());
        state.change_partitions(|all| drop(all.insert(key, partition.into())));
        let (free, mut logged) = (credit(&state).free_bytes, 0);
        for round in 0..8 {
            let ids: Vec<u64> = (round * ROWS..(round + 1) * ROWS).collect();
            let told = credit(&state).replicas[0];
            replica
                .apply(4 + round, WriteKind::Upsert, &upsert_body(&ids), ROWS as u32)
                .unwrap();
            replica.publish();
            // Two elements and an id.
            logged += 16 * ROWS;
            assert_eq!(told.reusable_bytes, 0);
            let said = logged * u64::from(told.growth_permille) / 1_000;
            let taken = free - credit(&state).free_bytes;
            // Tables double and huge pages are taken whole, so one round takes more than another.
            if round > 2 {
                assert!(taken <= said * 2 && said <= taken * 3, "{taken} of {said}");
            }
        }
        let told = credit(&state);
        assert_eq!((told.applied_index, told.budget_bytes), (state.routed(), budget));
    }
}
