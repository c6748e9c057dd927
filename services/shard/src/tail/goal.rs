//! How far was the log when this node started? Only the keeper that leads can tell: one that has just started itself
//! knows less than was acknowledged.

use std::time::Duration;

use longbow_node::keeper_client::KeeperClient;
use longbow_node::shutdown::Shutdown;
use tokio::sync::watch;

/// Pause after an attempt failed; the client itself looks for a leader for a while.
const PAUSE: Duration = Duration::from_millis(500);

/// Asks until a leader answers, however long it takes.
pub(super) async fn ask(keeper: KeeperClient, goal: watch::Sender<Option<u64>>, shutdown: Shutdown) {
    let asking = async {
        loop {
            match keeper.read_index(None).await {
                Ok(lsn) => return goal.send_replace(Some(lsn.index)),
                Err(error) => tracing::warn!("asking how far the log is: {error}"),
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::select! {
        _ = asking => {}
        () = shutdown.wait() => {}
    }
}
