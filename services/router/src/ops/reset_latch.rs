//! Resets a tripped latch.

use std::time::{Duration, Instant};

use longbow_cluster::latch::LatchState;
use longbow_node::rpc::deadline;
use longbow_types::{Error, ErrorCode, Result, Role};
use longbow_wire::{
    convert::status::from_status,
    internal::{LatchRegister, ResetKeeperLatchRequest, keeper_service_client::KeeperServiceClient},
};

use super::{Core, fanout};

/// How long a keeper may take to test its disk.
const DISK_TEST: Duration = Duration::from_secs(10);

impl Core {
    /// Asks every keeper to test its disk and reset the latch. Succeeds if a majority of the voters did.
    ///
    /// # Errors
    /// The refusal of a keeper whose disk still fails; `NO_LEADER` if too few keepers can be reached.
    pub async fn reset_latch(&self, at: Instant) -> Result<LatchRegister> {
        let until = at.min(Instant::now() + DISK_TEST);
        let voters = self
            .keepers(at)
            .await
            .iter()
            .map(|(_, status)| status.voters.len())
            .max()
            .unwrap_or(0);
        let asked = self.0.gossip.live(Role::WalKeeper).into_iter().map(|member| {
            let mut keeper = KeeperServiceClient::new(self.0.peers.channel(member.rpc_addr));
            async move {
                let request = fanout::request(ResetKeeperLatchRequest {}, until);
                let answer = deadline::within(Some(until), keeper.reset_keeper_latch(request)).await?;
                answer
                    .map(tonic::Response::into_inner)
                    .map_err(|status| from_status(&status))
            }
        });
        let (mut latch, mut agreed, mut refusal) = (LatchState::new(self.latch()), 0, None);
        for answer in futures::future::join_all(asked).await {
            match answer {
                Ok(answer) => {
                    agreed += 1;
                    latch.merge(&answer.latch.unwrap_or_default());
                }
                Err(error) => refusal = Some(error),
            }
        }
        if agreed == 0 || agreed < voters / 2 + 1 {
            return Err(refusal.unwrap_or_else(|| {
                let message = format!("only {agreed} wal-keepers could be asked to reset the latch");
                Error::new(ErrorCode::NoLeader, message).limit(format_args!("{} of them", voters / 2 + 1))
            }));
        }
        self.0.gossip.announce_latch(latch.register().clone());
        Ok(latch.register().clone())
    }
}
