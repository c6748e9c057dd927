//! The catalogue as it changes: followed from any live keeper, or from a shard while no keeper answers.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use longbow_cluster::catalogue::Catalogue;
use longbow_types::{Error, NodeId, Role};
use longbow_wire::internal::LatchRegister;
use tokio::sync::watch;

use crate::{
    gossip::Gossip,
    rpc::{Peers, deadline},
    shutdown::Shutdown,
};

mod follow;

/// How long one keeper may take to tell its catalogue.
const ASK_TIMEOUT: Duration = Duration::from_millis(500);
/// Pause between two rounds of asking.
const ASK_PAUSE: Duration = Duration::from_millis(20);

/// The catalogue at one index, and what came with it.
#[derive(Debug, Clone)]
pub struct CatalogueView {
    /// The catalogue, without producers.
    pub catalogue: Catalogue,
    /// Who leads, if known.
    pub leader: Option<NodeId>,
    /// The latch register.
    pub latch: LatchRegister,
    /// Incarnation of the log group.
    pub incarnation: u32,
}

/// A view that has applied an index, asked of the keepers one after the other, until the deadline.
///
/// # Errors
/// `NO_LEADER` if none of them has come that far in time.
pub async fn ask(
    peers: &Peers,
    gossip: &Gossip,
    index: u64,
    until: Instant,
) -> Result<Arc<CatalogueView>, Error> {
    let asking = async {
        loop {
            for keeper in gossip.live(Role::WalKeeper) {
                let first = tokio::time::timeout(ASK_TIMEOUT, follow::first(peers, &keeper)).await;
                if let Ok(Ok(view)) = first
                    && view.catalogue.applied_index() >= index
                {
                    return Arc::new(view);
                }
            }
            tokio::time::sleep(ASK_PAUSE).await;
        }
    };
    tokio::time::timeout_at(until.into(), asking).await.map_err(|_| {
        let message = format!("no keeper tells the catalogue as of entry {index}");
        Error::new(longbow_types::ErrorCode::NoLeader, message).retry_after(Duration::from_secs(1))
    })
}

/// A running watch. Clones are the same one.
#[derive(Debug, Clone)]
pub struct CatalogueWatch {
    view: watch::Receiver<Option<Arc<CatalogueView>>>,
}

impl CatalogueWatch {
    /// Starts following, until the shutdown.
    pub fn start(peers: Peers, gossip: Gossip, shutdown: Shutdown) -> Self {
        let (publish, view) = watch::channel(None);
        tokio::spawn(follow::follow(peers, gossip, publish, shutdown));
        Self { view }
    }

    /// The newest view; none until the first answer. A view never goes back in (incarnation, index).
    pub fn current(&self) -> Option<Arc<CatalogueView>> {
        self.view.borrow().clone()
    }

    /// Follows the view.
    pub fn changed(&self) -> watch::Receiver<Option<Arc<CatalogueView>>> {
        self.view.clone()
    }

    /// Waits until a view has applied an index, and gives that view.
    pub async fn wait_for_index(
        &self,
        index: u64,
        deadline: Option<Instant>,
    ) -> Result<Arc<CatalogueView>, Error> {
        let mut view = self.view.clone();
        let reached = |view: &Option<Arc<CatalogueView>>| {
            view.as_ref()
                .is_some_and(|view| view.catalogue.applied_index() >= index)
        };
        let found = deadline::within(deadline, view.wait_for(reached)).await?;
        let stopped = || Error::new(longbow_types::ErrorCode::Stopping, "the node is stopping");
        found.ok().and_then(|view| view.clone()).ok_or_else(stopped)
    }
}
