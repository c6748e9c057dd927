//! How are the disks of the other keepers? Asked often enough to hear of a fatal error before its keeper ends.

use std::{sync::Arc, time::Duration};

use longbow_node::{gossip::Gossip, rpc::Peers, shutdown::Shutdown};
use longbow_types::NodeId;
use longbow_wire::internal::{GetKeeperStatusRequest, keeper_service_client::KeeperServiceClient};
use tonic::Request;

use crate::latch::Latch;

const INTERVAL: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_millis(800);

/// Watches the other voters until the shutdown, and passes the latch register between it and gossip.
pub(crate) fn start(
    me: &NodeId,
    voters: &[NodeId],
    peers: &Peers,
    gossip: &Gossip,
    latch: &Arc<Latch>,
    shutdown: &Shutdown,
) {
    for voter in voters.iter().filter(|voter| *voter != me) {
        let watch = watch(voter.clone(), peers.clone(), gossip.clone(), latch.clone());
        spawn_until(shutdown, watch);
    }
    spawn_until(shutdown, listen(gossip.clone(), latch.clone()));
    spawn_until(shutdown, announce(gossip.clone(), latch.clone()));
}

fn spawn_until(shutdown: &Shutdown, work: impl Future<Output = ()> + Send + 'static) {
    let shutdown = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = work => {}
            () = shutdown.wait() => {}
        }
    });
}

async fn watch(voter: NodeId, peers: Peers, gossip: Gossip, latch: Arc<Latch>) {
    let mut every = tokio::time::interval(INTERVAL);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let Some(member) = gossip.member(&voter).filter(|member| member.is_live()) else {
            continue;
        };
        let mut client = KeeperServiceClient::new(peers.channel(member.rpc_addr));
        let mut request = Request::new(GetKeeperStatusRequest {});
        request.set_timeout(PATIENCE);
        // Not to be reached is no signal.
        if let Ok(Ok(answer)) = tokio::time::timeout(PATIENCE, client.get_keeper_status(request)).await {
            let answer = answer.into_inner();
            // A damaged log is that keeper's own affair: only failed flushes feed the latch.
            let cause = answer.flush_failed.then_some(answer.fatal.as_str());
            latch.observe(&voter, member.generation, cause);
        }
    }
}

async fn listen(gossip: Gossip, latch: Arc<Latch>) {
    let mut heard = gossip.latch();
    loop {
        let register = heard.borrow_and_update().clone();
        latch.merge(&register);
        if heard.changed().await.is_err() {
            return;
        }
    }
}

async fn announce(gossip: Gossip, latch: Arc<Latch>) {
    let mut register = latch.register();
    loop {
        let current = register.borrow_and_update().clone();
        if current.epoch > 0 {
            gossip.announce_latch(current);
        }
        if register.changed().await.is_err() {
            return;
        }
    }
}
