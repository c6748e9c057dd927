//! Tells the keepers that this node may hold replicas.

use std::time::Duration;

use bytes::Bytes;
use longbow_cluster::catalogue::error_of;
use longbow_node::keeper_client::KeeperClient;
use longbow_node::shutdown::Shutdown;
use longbow_types::NodeId;
use longbow_wire::internal::entry_header::Command;
use longbow_wire::internal::{EntryHeader, RegisterShardCommand};
use prost::Message as _;

/// Pause after an attempt failed; the client itself looks for a leader for a while.
const PAUSE: Duration = Duration::from_millis(500);

/// Registers, however long it takes. Registering twice is harmless.
pub(super) async fn register(keeper: KeeperClient, me: NodeId, shutdown: Shutdown) {
    let command = Command::RegisterShard(RegisterShardCommand {
        node_id: me.to_string(),
        // The leader's to say.
        log_id: 0,
    });
    let header = EntryHeader {
        command: Some(command),
        ..EntryHeader::default()
    };
    let header = Bytes::from(header.encode_to_vec());
    loop {
        let answer = tokio::select! {
            answer = keeper.append(header.clone(), Bytes::new(), None) => answer,
            () = shutdown.wait() => return,
        };
        let error = match answer {
            Ok(response) => match error_of(&response.verdict.unwrap_or_default()) {
                None => {
                    tracing::info!(index = response.index, "registered with the keepers");
                    return;
                }
                Some(error) => error,
            },
            Err(error) => error,
        };
        tracing::warn!("registering with the keepers: {error}");
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = shutdown.wait() => return,
        }
    }
}
