//! Who are the wal-keepers, and who shall be?

use std::{collections::BTreeMap, time::Instant};

use longbow_types::{Error, ErrorCode, NodeId, Result};
use longbow_wire::{
    internal::{ChangeKeepersRequest, GetKeeperStatusResponse, KeeperChange, KeeperMembership},
    v1,
};

use super::Core;

/// What keepers answered at once, by node id.
type Told = BTreeMap<String, GetKeeperStatusResponse>;

impl Core {
    /// All members, as the most recent keeper tells, then those that wait to be added.
    ///
    /// # Errors
    /// `NO_LEADER` if no keeper tells who is in the group.
    pub async fn list_keepers(&self, at: Instant) -> Result<Vec<v1::Keeper>> {
        let told = self.told(at).await;
        let group = told
            .values()
            .filter(|status| status.formed)
            .filter_map(|status| status.membership.as_ref())
            .max_by_key(|group| group.index);
        let group =
            group.ok_or_else(|| Error::new(ErrorCode::NoLeader, "no keeper tells who is in the group"))?;
        Ok(listed(group, &told))
    }

    /// Adds a keeper that waits for it, as a learner.
    ///
    /// # Errors
    /// `KEEPER_NOT_FOUND` if none of that name waits; those of the leader.
    pub async fn add_keeper(&self, node_id: &str, at: Instant) -> Result<v1::Keeper> {
        let node = named(node_id)?;
        let told = self.told(at).await;
        let Some(status) = told.get(node_id) else {
            let message = format!("no wal-keeper {node_id} answers: start it, with an empty data path");
            return Err(Error::new(ErrorCode::KeeperNotFound, message).field("node_id"));
        };
        // One that was added already is told so by the leader.
        if !status.is_waiting && !is_member(status) {
            let message = match status.fatal.is_empty() {
                true => format!(
                    "{node_id} does not wait to be added: it has a log of its own, or has just started"
                ),
                false => format!("{node_id} cannot be added: {}", status.fatal),
            };
            return Err(Error::new(ErrorCode::KeeperNotFound, message).field("node_id"));
        }
        let request = ChangeKeepersRequest {
            change: KeeperChange::Add as i32,
            node_id: node.to_string(),
            log_id: status.log_id,
            force: false,
        };
        self.change_keepers(request, at).await
    }

    /// Gives a learner a vote.
    ///
    /// # Errors
    /// `LEARNER_BEHIND` unless forced, `QUORUM_AT_RISK`, `KEEPER_NOT_FOUND`; those of the leader.
    pub async fn promote_keeper(&self, node_id: &str, force: bool, at: Instant) -> Result<v1::Keeper> {
        let request = ChangeKeepersRequest {
            change: KeeperChange::Promote as i32,
            node_id: named(node_id)?.to_string(),
            log_id: 0,
            force,
        };
        self.change_keepers(request, at).await
    }

    /// Takes a keeper out of the group.
    ///
    /// # Errors
    /// `QUORUM_AT_RISK`, of which a force overcomes only the loss of old entries, `KEEPER_NOT_FOUND`; those of the leader.
    pub async fn remove_keeper(&self, node_id: &str, force: bool, at: Instant) -> Result<()> {
        let request = ChangeKeepersRequest {
            change: KeeperChange::Remove as i32,
            node_id: named(node_id)?.to_string(),
            log_id: 0,
            force,
        };
        self.0.keeper.change_keepers(request, Some(at)).await.map(drop)
    }

    /// Makes a change, and tells of the keeper that it was about.
    async fn change_keepers(&self, request: ChangeKeepersRequest, at: Instant) -> Result<v1::Keeper> {
        let node_id = request.node_id.clone();
        let group = self.0.keeper.change_keepers(request, Some(at)).await?;
        let keepers = listed(&group, &self.told(at).await);
        let found = keepers.into_iter().find(|keeper| keeper.node_id == node_id);
        found.ok_or_else(|| {
            Error::new(
                ErrorCode::Internal,
                "the change is made, and the keeper is not there",
            )
        })
    }

    async fn told(&self, at: Instant) -> Told {
        let keepers = self.keepers(at).await.into_iter();
        keepers
            .map(|(member, status)| (member.node_id.to_string(), status))
            .collect()
    }
}

fn named(node_id: &str) -> Result<NodeId> {
    node_id.parse().map_err(|error: Error| error.field("node_id"))
}

/// Whether a keeper's log is the one that a raft id was given to.
fn is_member(status: &GetKeeperStatusResponse) -> bool {
    let members = status.membership.iter().flat_map(|group| &group.members);
    status.log_id != 0 && members.into_iter().any(|member| member.log_id == status.log_id)
}

fn listed(group: &KeeperMembership, told: &Told) -> Vec<v1::Keeper> {
    let conf = group.conf_state.clone().unwrap_or_default();
    let leader = told
        .values()
        .filter(|status| !status.leader.is_empty())
        .max_by_key(|status| status.term)
        .map_or("", |status| status.leader.as_str());
    let members = group.members.iter().map(|member| {
        let role = match conf.voters.contains(&member.raft_id) {
            true => v1::KeeperRole::Voter,
            false => v1::KeeperRole::Learner,
        };
        // A node whose former life is the member, and whose disk is new, speaks for another log.
        let status = told.get(&member.node_id);
        let status = status
            .filter(|status| !status.is_waiting && (member.log_id == 0 || member.log_id == status.log_id));
        keeper(
            &member.node_id,
            member.raft_id,
            role,
            leader == member.node_id,
            status,
        )
    });
    let waiting = told.iter().filter(|(_, status)| status.is_waiting);
    let waiting =
        waiting.map(|(node_id, status)| keeper(node_id, 0, v1::KeeperRole::Waiting, false, Some(status)));
    members.chain(waiting).collect()
}

fn keeper(
    node_id: &str,
    raft_id: u64,
    role: v1::KeeperRole,
    is_leader: bool,
    status: Option<&GetKeeperStatusResponse>,
) -> v1::Keeper {
    let told = status.cloned().unwrap_or_default();
    v1::Keeper {
        node_id: node_id.to_owned(),
        raft_id,
        role: role as i32,
        is_leader,
        reachable: status.is_some(),
        first_index: told.first_index,
        last_index: told.last_index,
        applied_index: told.applied_index,
        log_bytes: told.log_bytes,
        fatal: told.fatal,
    }
}

#[cfg(test)]
mod tests {
    use longbow_wire::internal::{KeeperMember, RaftConfState};

    use super::*;

    fn group() -> KeeperMembership {
        let member = |raft_id, node_id: &str, log_id| KeeperMember {
            raft_id,
            node_id: node_id.to_owned(),
            log_id,
        };
        KeeperMembership {
            index: 9,
            members: vec![member(1, "k1", 0), member(4, "k2", 77)],
            next_raft_id: 5,
            conf_state: Some(RaftConfState {
                voters: vec![1],
                learners: vec![4],
                ..RaftConfState::default()
            }),
        }
    }

    fn status(log_id: u64, is_waiting: bool) -> GetKeeperStatusResponse {
        GetKeeperStatusResponse {
            leader: "k1".to_owned(),
            term: 2,
            last_index: 30,
            log_id,
            is_waiting,
            ..GetKeeperStatusResponse::default()
        }
    }

    #[test]
    fn members_come_first_and_who_lost_its_log_does_not_speak_for_its_former_life() {
        let told: Told = [
            ("k1".to_owned(), status(5, false)),
            ("k2".to_owned(), status(78, true)),
            ("k9".to_owned(), status(6, true)),
        ]
        .into();
        let all = listed(&group(), &told);
        let seen: Vec<_> = all
            .iter()
            .map(|keeper| {
                (
                    keeper.node_id.as_str(),
                    keeper.raft_id,
                    keeper.role(),
                    keeper.reachable,
                )
            })
            .collect();
        use v1::KeeperRole as R;
        assert_eq!(
            seen,
            [
                ("k1", 1, R::Voter, true),
                ("k2", 4, R::Learner, false),
                ("k2", 0, R::Waiting, true),
                ("k9", 0, R::Waiting, true),
            ]
        );
        assert!(all[0].is_leader && !all[1].is_leader);
        assert_eq!((all[0].last_index, all[1].last_index), (30, 0));
    }
}
