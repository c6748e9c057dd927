//! Following one stream after another.

use std::{pin::pin, sync::Arc, time::Duration};

use longbow_cluster::catalogue::Catalogue;
use longbow_types::Role;
use longbow_wire::internal::{
    WatchCatalogueRequest, WatchCatalogueResponse, WatchShardCatalogueRequest,
    keeper_service_client::KeeperServiceClient, shard_service_client::ShardServiceClient,
};
use rand::seq::SliceRandom;
use tokio::sync::watch;
use tonic::{Status, Streaming};

use super::CatalogueView;
use crate::{
    gossip::{Gossip, Member},
    rpc::{MESSAGE_BYTES_MAX, Peers},
    shutdown::Shutdown,
};

/// How long a node may take to send its first view.
const FIRST_VIEW: Duration = Duration::from_secs(3);
/// Pauses between rounds that found nobody.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// How long to stay with a source that is second best (a shard, or a keeper that knows no leader) before looking again.
const SECOND_BEST: Duration = Duration::from_secs(2);

type View = watch::Sender<Option<Arc<CatalogueView>>>;

/// Follows until the shutdown, or until nobody looks any more.
pub(super) async fn follow(peers: Peers, gossip: Gossip, publish: View, shutdown: Shutdown) {
    let mut pause = PAUSE_MIN;
    let rounds = async {
        loop {
            if round(&peers, &gossip, &publish).await {
                pause = PAUSE_MIN;
            }
            let mut members = gossip.watch();
            members.mark_unchanged();
            // A node that appears ends the pause early; gossip that has stopped must not make it zero.
            if let Ok(Err(_)) = tokio::time::timeout(pause, members.changed()).await {
                tokio::time::sleep(pause).await;
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    };
    tokio::select! {
        () = rounds => {}
        () = shutdown.wait() => {}
        () = publish.closed() => {}
    }
}

/// Tries every live keeper in random order, then every live shard. Returns whether anybody sent a view.
async fn round(peers: &Peers, gossip: &Gossip, publish: &View) -> bool {
    let mut any = false;
    for role in [Role::WalKeeper, Role::Shard] {
        let mut nodes = gossip.live(role);
        nodes.shuffle(&mut rand::rng());
        let alone = nodes.len() == 1;
        for node in &nodes {
            match follow_one(peers, node, publish, alone).await {
                Ok(()) => {
                    tracing::debug!(node = %node.node_id, "left a source of the catalogue");
                    any = true;
                }
                Err(status) => {
                    tracing::debug!(node = %node.node_id, %status, "a source of the catalogue failed");
                    continue;
                }
            }
            if role == Role::Shard {
                return any; // keepers first, again
            }
        }
        if any {
            return true;
        }
    }
    any
}

/// The present view of one node.
pub(super) async fn first(peers: &Peers, node: &Member) -> Result<CatalogueView, Status> {
    let first = open(peers, node).await?.message().await?;
    let first = first.ok_or_else(|| Status::unavailable("the stream ended before a view"))?;
    view_of(first).map_err(|error| Status::data_loss(error.to_string()))
}

/// Follows one node for as long as it is a good source. An error only if it never sent a view.
async fn follow_one(peers: &Peers, node: &Member, publish: &View, alone: bool) -> Result<(), Status> {
    let opened = tokio::time::timeout(FIRST_VIEW, async {
        let mut stream = open(peers, node).await?;
        let first = stream.message().await?;
        Ok::<_, Status>((stream, first))
    });
    let late = |_| Status::deadline_exceeded("no view in time");
    let (mut stream, first) = opened.await.map_err(late)??;
    let mut next = first.ok_or_else(|| Status::unavailable("the stream ended before a view"))?;
    loop {
        let leads = !next.leader.is_empty();
        take_in(node, next, publish);
        let patient = node.role == Role::WalKeeper && (leads || alone);
        let mut message = pin!(stream.message());
        let answer = if patient {
            message.await
        } else {
            match tokio::time::timeout(SECOND_BEST, &mut message).await {
                Ok(answer) => answer,
                Err(_) => return Ok(()), // somebody better may be there by now
            }
        };
        match answer {
            Ok(Some(view)) => next = view,
            Ok(None) => return Ok(()),
            Err(status) => {
                tracing::debug!(node = %node.node_id, %status, "the catalogue stream broke");
                return Ok(());
            }
        }
    }
}

async fn open(peers: &Peers, node: &Member) -> Result<Streaming<WatchCatalogueResponse>, Status> {
    let channel = peers.channel(node.rpc_addr);
    let answer = match node.role {
        Role::WalKeeper => {
            let mut keeper = KeeperServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
            keeper.watch_catalogue(WatchCatalogueRequest {}).await?
        }
        _ => {
            let mut shard = ShardServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
            shard.watch_shard_catalogue(WatchShardCatalogueRequest {}).await?
        }
    };
    Ok(answer.into_inner())
}

/// Publishes a view unless it is older than the one that is there. Of equal ones the newer message counts, for its
/// leader and its latch.
fn take_in(node: &Member, message: WatchCatalogueResponse, publish: &View) {
    let view = match view_of(message) {
        Ok(view) => view,
        Err(error) => {
            tracing::warn!(node = %node.node_id, %error, "a catalogue that cannot be read");
            return;
        }
    };
    publish.send_if_modified(|current| {
        let order = |view: &CatalogueView| (view.incarnation, view.catalogue.applied_index());
        let newer = current.as_ref().is_none_or(|have| order(have) <= order(&view));
        if newer {
            *current = Some(Arc::new(view));
        }
        newer
    });
}

fn view_of(message: WatchCatalogueResponse) -> longbow_types::Result<CatalogueView> {
    Ok(CatalogueView {
        catalogue: Catalogue::from_proto(&message.catalogue.unwrap_or_default())?,
        leader: message.leader.parse().ok(),
        latch: message.latch.unwrap_or_default(),
        incarnation: message.incarnation,
    })
}
