//! How are the other keepers? Asked often enough to hear of a fatal error before its keeper ends, and of having been
//! removed from the group while this keeper was away.

use std::{sync::Arc, time::Duration};

use longbow_node::{gossip::Gossip, rpc::Peers, shutdown::Shutdown};
use longbow_types::NodeId;
use longbow_wire::internal::GetKeeperStatusResponse;
use tokio::task::JoinSet;

use crate::{forming, latch::Latch, mailbox::Mailbox, roster::Roster};

const INTERVAL: Duration = Duration::from_secs(1);

/// What the watch works with.
#[derive(Clone)]
pub(crate) struct Watch {
    pub me: NodeId,
    pub roster: Arc<Roster>,
    pub peers: Peers,
    pub gossip: Gossip,
    pub latch: Arc<Latch>,
    pub mailbox: Arc<Mailbox>,
}

/// Watches the other members until the shutdown, and passes the latch register between it and gossip.
pub(crate) fn start(watch: Watch, shutdown: &Shutdown) {
    spawn_until(shutdown, listen(watch.gossip.clone(), watch.latch.clone()));
    spawn_until(shutdown, announce(watch.gossip.clone(), watch.latch.clone()));
    spawn_until(shutdown, watch.run());
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

impl Watch {
    async fn run(self) {
        let mut every = tokio::time::interval(INTERVAL);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            let keepers = self.roster.current();
            let mut asked = JoinSet::new();
            for member in keepers.members().filter(|member| member.node_id != self.me) {
                let (watch, raft_id, node) = (self.clone(), member.raft_id, member.node_id.clone());
                asked.spawn(async move { watch.ask(raft_id, &node).await });
            }
            // All end within their patience, which is less than the interval.
            asked.join_all().await;
        }
    }

    async fn ask(&self, raft_id: u64, node: &NodeId) {
        let Some(member) = self.gossip.member(node).filter(|member| member.is_live()) else {
            return;
        };
        // Not to be reached is no signal.
        if let Some(answer) = forming::status_of(&self.peers, member.rpc_addr).await {
            // A damaged log is that keeper's own affair: only failed flushes feed the latch.
            let cause = answer.flush_failed.then_some(answer.fatal.as_str());
            self.latch.observe(node, member.generation, cause);
            if answer.formed {
                self.roster.note_first_index(raft_id, answer.first_index);
            }
            if is_gone(self.roster.me(), &answer) {
                self.mailbox.removed();
            }
        }
    }
}

/// Whether a keeper answers that this one was removed. It told what it has applied, and raft ids are never given again:
/// one that knows is enough.
fn is_gone(me: u64, answer: &GetKeeperStatusResponse) -> bool {
    let Some(membership) = answer.membership.as_ref().filter(|_| me != 0 && answer.formed) else {
        return false;
    };
    me < membership.next_raft_id && membership.members.iter().all(|member| member.raft_id != me)
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

#[cfg(test)]
mod tests {
    use longbow_wire::internal::{KeeperMember, KeeperMembership};

    use super::*;

    #[test]
    fn only_an_id_that_was_given_and_has_no_member_is_gone() {
        let member = |raft_id| KeeperMember {
            raft_id,
            ..KeeperMember::default()
        };
        let mut answer = GetKeeperStatusResponse {
            formed: true,
            membership: Some(KeeperMembership {
                members: vec![member(1), member(3)],
                next_raft_id: 5,
                ..KeeperMembership::default()
            }),
            ..GetKeeperStatusResponse::default()
        };
        let gone: Vec<u64> = (0..7).filter(|&me| is_gone(me, &answer)).collect();
        // 5 and above may have been given after what this keeper has applied.
        assert_eq!(gone, [2, 4]);
        answer.formed = false;
        assert!(!is_gone(2, &answer));
    }
}
