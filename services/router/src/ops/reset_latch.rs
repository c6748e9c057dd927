//! Resets a tripped latch.

use std::time::{Duration, Instant};

use longbow_cluster::latch::LatchState;
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
    /// Asks every keeper to test its disk and, if a majority of the voters passed, those to reset the latch.
    ///
    /// In two steps, because the first reset raises the epoch and so opens the latch everywhere. Succeeds if a majority
    /// of the voters did both.
    ///
    /// # Errors
    /// The refusal of a keeper whose disk still fails; `NO_LEADER` if too few keepers can be reached.
    pub async fn reset_latch(&self, at: Instant) -> Result<LatchRegister> {
        let voters = self
            .keepers(at)
            .await
            .iter()
            .map(|(_, status)| status.voters.len())
            .max()
            .unwrap_or(0);
        let quorum = voters / 2 + 1;
        let all = self.0.gossip.live(Role::WalKeeper);
        let tested = self.ask_keepers(all, true, at).await.of_quorum(quorum)?;
        let reset = self
            .ask_keepers(tested.agreed, false, at)
            .await
            .of_quorum(quorum)?;
        let mut latch = LatchState::new(self.latch());
        for register in &reset.registers {
            latch.merge(register);
        }
        self.0.gossip.announce_latch(latch.register().clone());
        Ok(latch.register().clone())
    }

    async fn ask_keepers(&self, keepers: Vec<Member>, test_only: bool, at: Instant) -> Answers {
        let until = at.min(Instant::now() + DISK_TEST);
        let asked = keepers.into_iter().map(|member| {
            let mut keeper = KeeperServiceClient::new(self.0.peers.channel(member.rpc_addr));
            async move {
                let request = fanout::request(ResetKeeperLatchRequest { test_only }, until);
                let answer = deadline::within(Some(until), keeper.reset_keeper_latch(request)).await?;
                answer
                    .map(|answer| (member, answer.into_inner().latch.unwrap_or_default()))
                    .map_err(|status| from_status(&status))
            }
        });
        let mut answers = Answers::default();
        for answer in futures::future::join_all(asked).await {
            match answer {
                Ok((member, register)) => {
                    answers.agreed.push(member);
                    answers.registers.push(register);
                }
                Err(error) => answers.refusal = Some(error),
            }
        }
        answers
    }
}

/// What keepers said to one step.
#[derive(Default)]
struct Answers {
    agreed: Vec<Member>,
    registers: Vec<LatchRegister>,
    refusal: Option<Error>,
}

impl Answers {
    /// Itself, if at least so many agreed.
    fn of_quorum(self, quorum: usize) -> Result<Self> {
        let agreed = self.agreed.len();
        if agreed >= quorum {
            return Ok(self);
        }
        Err(self.refusal.unwrap_or_else(|| {
            let message = format!("only {agreed} wal-keepers could be asked to reset the latch");
            Error::new(ErrorCode::NoLeader, message).limit(format_args!("{quorum} of them"))
        }))
    }
}
