//! What does this node tell the keepers is safe outside the log? They cut it below that, so nothing is told that a
//! restart might still need.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use longbow_node::gossip::{Gossip, Member};
use longbow_node::rpc::Peers;
use longbow_node::shutdown::Shutdown;
use longbow_types::Role;
use longbow_wire::convert::status::from_status;
use longbow_wire::internal::keeper_service_client::KeeperServiceClient;
use longbow_wire::internal::{DurableReplica, ReportDurableRequest};

use crate::partition::{Key, Partition};
use crate::snapshots::Store;
use crate::state::State;

/// How often it is told again: a keeper that starts knows nothing.
const EVERY: Duration = Duration::from_secs(10);
/// A keeper that takes longer is told the next time.
const PATIENCE: Duration = Duration::from_secs(5);
/// Most replicas in one report. Keepers take no more.
const REPLICAS_MAX: usize = 65_536;

/// Tells every live keeper, now and then and after each round of snapshots, until the shutdown.
pub(crate) async fn vouch(
    state: Arc<State>,
    store: Arc<Store>,
    gossip: Gossip,
    peers: Peers,
    shutdown: Shutdown,
) {
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let telling = async {
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = store.durable.changed() => {}
            }
            let reports = reports(&state, &store);
            let keepers = gossip.live(Role::WalKeeper);
            join_all(
                keepers
                    .iter()
                    .map(|keeper| tell(&peers, keeper, &reports, PATIENCE)),
            )
            .await;
        }
    };
    tokio::select! {
        () = telling => {}
        () = shutdown.wait() => {}
    }
}

/// What there is to tell. Nothing before the log is known.
fn reports(state: &State, store: &Store) -> Vec<ReportDurableRequest> {
    let log = state.catalogue();
    let log_id = log.log_id();
    let partitions = state.partitions();
    // One that stopped writes no more snapshots: what was said of it stays said. One that is lost has nothing to say.
    let told = |(_, partition): &(&Key, &Arc<Partition>)| partition.stopped().is_none() && log_id != 0;
    let durable = |(key, _): (&Key, &Arc<Partition>)| DurableReplica {
        dataset_id: key.dataset.0,
        partition: key.ordinal,
        index: store.durable.index(key, &log),
    };
    let replicas: Vec<DurableReplica> = partitions.iter().filter(told).map(durable).collect();
    let report = |replicas: &[DurableReplica]| ReportDurableRequest {
        replicas: replicas.to_vec(),
        log_id,
        incarnation: log.incarnation(),
        credit: None,
    };
    replicas.chunks(REPLICAS_MAX).map(report).collect()
}

/// Tells a keeper, as long as it takes each report within `patience`.
pub(crate) async fn tell(
    peers: &Peers,
    keeper: &Member,
    reports: &[ReportDurableRequest],
    patience: Duration,
) {
    let mut client = KeeperServiceClient::new(peers.channel(keeper.rpc_addr));
    for report in reports {
        let told = tokio::time::timeout(patience, client.report_durable(report.clone())).await;
        let error = match told {
            Ok(Ok(_)) => continue,
            Ok(Err(status)) => from_status(&status).to_string(),
            Err(_) => "it did not answer".to_owned(),
        };
        // Told again soon.
        tracing::debug!(keeper = %keeper.node_id, "it could not be told: {error}");
        return;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::tests::schema;
    use longbow_cluster::catalogue::Catalogue;
    use longbow_storage::{Options, Replica};
    use longbow_types::DatasetId;
    use longbow_wire::internal;

    fn place(state: &State, count: u32) {
        for ordinal in 0..count {
            let key = Key {
                dataset: DatasetId(3),
                ordinal,
            };
            let replica = Replica::new(schema(), &Options::default(), 3);
            let partition = Partition::new(key, "d".into(), replica.reader().clone());
            state.change_partitions(|all| drop(all.insert(key, Arc::new(partition))));
        }
    }

    fn know_log(state: &State, log_id: u64) {
        let message = internal::Catalogue {
            log_id,
            ..internal::Catalogue::default()
        };
        state.set_catalogue(Catalogue::from_proto(&message).unwrap());
    }

    #[test]
    fn replicas_that_follow_a_known_log_are_told_of() {
        let folder = tempfile::tempdir().unwrap();
        let (state, store) = (State::new("s1".parse().unwrap()), Store::new(folder.path(), 2));
        place(&state, 3);
        assert!(reports(&state, &store).is_empty(), "of which log?");
        know_log(&state, 9);
        let stopped = state.partitions().keys().next().copied().unwrap();
        state.partitions()[&stopped].stop("boom".into());
        let told = reports(&state, &store);
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].log_id, 9);
        let told: Vec<_> = told[0].replicas.iter().map(|r| (r.partition, r.index)).collect();
        assert_eq!(told, [(1, 0), (2, 0)], "none has a snapshot");
    }
}
