//! Resets a tripped latch.

use std::time::{Duration, Instant};

use longbow_cluster::latch::{LatchState, check_reason};
use longbow_node::{gossip::Member, rpc::deadline};
use longbow_types::{Error, ErrorCode, Result, Role};
use longbow_wire::{
    convert::status::from_status,
    internal::{LatchRegister, ResetKeeperLatchRequest, keeper_service_client::KeeperServiceClient},
};

use super::{Core, fanout};

/// How long a keeper may take to test its disk.
const DISK_TEST: Duration = Duration::from_secs(10);

impl Core {
    /// Asks every keeper to test its disk, and once a majority of the voters have passed, asks those to reset the latch.
    /// A keeper's reset holds for the whole cluster at once, so nobody is asked for it before that.
    ///
    /// # Errors
    /// With the latch as it was: `TOO_LARGE` for the reason; the refusal of a keeper whose disk still fails; `NO_LEADER` if too few keepers can be
    /// reached. `LATCH_TRIPPED` if it tripped again meanwhile.
    pub async fn reset_latch(&self, reason: &str, at: Instant) -> Result<LatchRegister> {
        check_reason(reason)?;
        let voters = self
            .keepers(at)
            .await
            .iter()
            .map(|(_, status)| status.voters.len())
            .max()
            .unwrap_or(0);
        let live = self.0.gossip.live(Role::WalKeeper);
        let test = ResetKeeperLatchRequest {
            test_only: true,
            reason: String::new(),
        };
        let (tested, refusal) = self.each_keeper(live, test, at).await;
        check_majority(tested.len(), voters, refusal)?;
        let passed = tested.into_iter().map(|(member, _)| member).collect();
        let reset = ResetKeeperLatchRequest {
            test_only: false,
            reason: reason.to_owned(),
        };
        let (reset, refusal) = self.each_keeper(passed, reset, at).await;
        if reset.is_empty() {
            return Err(refusal.unwrap_or_else(|| unreachable(0, 1)));
        }
        let mut latch = LatchState::new(self.latch());
        for (_, register) in &reset {
            latch.merge(register);
        }
        self.0.gossip.announce_latch(latch.register().clone());
        match latch.refusal() {
            Some(tripped_again) => Err(tripped_again),
            None => Ok(latch.register().clone()),
        }
    }

    /// Asks keepers to test their disks, and to reset the latch unless that is all. Gives those that did, each with its
    /// register, and the last refusal of the others.
    async fn each_keeper(
        &self,
        keepers: Vec<Member>,
        wanted: ResetKeeperLatchRequest,
        at: Instant,
    ) -> (Vec<(Member, LatchRegister)>, Option<Error>) {
        let until = at.min(Instant::now() + DISK_TEST);
        let asked = keepers.into_iter().map(|member| {
            let mut keeper = KeeperServiceClient::new(self.0.peers.channel(member.rpc_addr));
            let request = fanout::request(wanted.clone(), until);
            async move {
                let answer = deadline::within(Some(until), keeper.reset_keeper_latch(request)).await?;
                let answer = answer.map_err(|status| from_status(&status))?;
                Ok((member, answer.into_inner().latch.unwrap_or_default()))
            }
        });
        let (mut done, mut refusal) = (Vec::new(), None);
        for answer in futures::future::join_all(asked).await {
            match answer {
                Ok(keeper) => done.push(keeper),
                Err(error) => refusal = Some(error),
            }
        }
        (done, refusal)
    }
}

/// Refuses a reset for which too few keepers proved that their disks work.
fn check_majority(passed: usize, voters: usize, refusal: Option<Error>) -> Result<()> {
    let needed = voters / 2 + 1;
    if passed >= needed {
        return Ok(());
    }
    Err(refusal.unwrap_or_else(|| unreachable(passed, needed)))
}

fn unreachable(reached: usize, needed: usize) -> Error {
    let message = format!("only {reached} wal-keepers could be asked to reset the latch");
    Error::new(ErrorCode::NoLeader, message).limit(format_args!("{needed} of them"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minority_of_working_disks_resets_nothing() {
        let code =
            |passed, voters, refusal| check_majority(passed, voters, refusal).map_err(|error| error.code);
        assert_eq!(code(2, 3, None), Ok(()));
        assert_eq!(code(1, 1, None), Ok(()));
        assert_eq!(code(1, 3, None), Err(ErrorCode::NoLeader));
        // Nobody tells who votes.
        assert_eq!(code(0, 0, None), Err(ErrorCode::NoLeader));
        let failed = Error::new(ErrorCode::StorageFailed, "the disk test failed");
        assert_eq!(code(1, 3, Some(failed)), Err(ErrorCode::StorageFailed));
    }
}
