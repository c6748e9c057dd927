//! May a change be made now? Plain data in, a plan or a refusal out.

use std::collections::BTreeMap;

use longbow_types::{Error, ErrorCode, NodeId, Result};
use longbow_wire::internal::KeeperChange;

use super::{Change, Keepers};

/// A learner that lacks more entries than this has not caught up.
pub const LAG_MAX: u64 = 1_000;
/// Most members of a group. More make every write slower and no safer.
pub const MEMBERS_MAX: usize = 9;

/// What an operator asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// What is to become of the keeper.
    pub change: KeeperChange,
    /// The keeper.
    pub node_id: NodeId,
    /// The log of one to be added.
    pub log_id: u64,
    /// Although it lags, or alone holds old entries.
    pub force: bool,
}

/// What the leader knows of one member.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Last entry known to be in its log.
    pub matched: u64,
    /// Whether it was heard of within an election timeout.
    pub is_active: bool,
    /// First entry in its log, if it told; what stands before came as a snapshot.
    pub first_index: Option<u64>,
}

/// How things are with the leader.
#[derive(Debug, Clone)]
pub struct Situation<'a> {
    /// The membership.
    pub keepers: &'a Keepers,
    /// The leader.
    pub me: u64,
    /// Last entry of its log.
    pub last_index: u64,
    /// Whether a change is under way.
    pub is_changing: bool,
    /// What stands before this entry is needed by nobody: it is durable elsewhere.
    pub needed_from: u64,
    /// By raft id, the leader included.
    pub progress: &'a BTreeMap<u64, Progress>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// To propose this.
    Propose(Change),
    /// Nothing: it is so already.
    Done,
    /// Somebody else must lead first: the leader itself is to go.
    HandOver,
}

/// Decides what an operator asks for.
///
/// # Errors
/// `MEMBERSHIP_CHANGING`, `KEEPER_NOT_FOUND`, `KEEPER_EXISTS`, `LEARNER_BEHIND`, `QUORUM_AT_RISK`: nothing is to be done.
pub fn plan(now: &Situation<'_>, ask: &Ask) -> Result<Plan> {
    if now.is_changing || now.keepers.is_joint() {
        let message = "another change of the keepers' group is under way";
        return Err(Error::new(ErrorCode::MembershipChanging, message)
            .retry_after(std::time::Duration::from_millis(500)));
    }
    match ask.change {
        KeeperChange::Add => add(now, ask),
        KeeperChange::Promote => promote(now, ask),
        KeeperChange::Remove => remove(now, ask),
        KeeperChange::Unspecified => {
            Err(Error::new(ErrorCode::MissingField, "what is to become of the keeper").field("change"))
        }
    }
}

fn add(now: &Situation<'_>, ask: &Ask) -> Result<Plan> {
    if ask.log_id == 0 {
        return Err(Error::new(ErrorCode::MissingField, "a keeper without a log").field("log_id"));
    }
    if let Some(member) = now.keepers.member_at(&ask.node_id) {
        if member.log_id == ask.log_id {
            return Ok(Plan::Done);
        }
        let message = format!(
            "{} is in the group already, as {} and with another log: if that log is lost, remove it first (longbow \
             keeper remove {0})",
            ask.node_id, member.raft_id
        );
        return Err(Error::new(ErrorCode::KeeperExists, message).field("node_id"));
    }
    if now.keepers.members().count() >= MEMBERS_MAX {
        let message = "the group is as large as it may be: remove a keeper first";
        return Err(Error::new(ErrorCode::TooLarge, message)
            .field("node_id")
            .limit(MEMBERS_MAX));
    }
    let member = now.keepers.next_member(ask.node_id.clone(), ask.log_id);
    Ok(Plan::Propose(Change::Add(member)))
}

fn promote(now: &Situation<'_>, ask: &Ask) -> Result<Plan> {
    let member = found(now, ask)?;
    if now.keepers.is_voter(member) {
        return Ok(Plan::Done);
    }
    let progress = now.progress.get(&member).copied().unwrap_or_default();
    let lag = now.last_index.saturating_sub(progress.matched);
    if !ask.force && (lag > LAG_MAX || !progress.is_active) {
        let message = match progress.is_active {
            true => format!("{} lacks {lag} entries: wait, or force it", ask.node_id),
            false => format!("{} is not heard of: start it, or force it", ask.node_id),
        };
        return Err(Error::new(ErrorCode::LearnerBehind, message)
            .field("node_id")
            .limit(format_args!("at most {LAG_MAX} entries behind")));
    }
    let mut voters = now.keepers.conf_state().voters.clone();
    voters.push(member);
    check_quorum(now, &voters)?;
    Ok(Plan::Propose(Change::Promote(member)))
}

fn remove(now: &Situation<'_>, ask: &Ask) -> Result<Plan> {
    let member = found(now, ask)?;
    if now.keepers.is_voter(member) {
        let mut voters = now.keepers.conf_state().voters.clone();
        voters.retain(|&voter| voter != member);
        check_quorum(now, &voters)?;
    }
    if !ask.force {
        check_copies(now, member, ask)?;
    }
    if member == now.me {
        return Ok(Plan::HandOver);
    }
    Ok(Plan::Propose(Change::Remove(member)))
}

fn found(now: &Situation<'_>, ask: &Ask) -> Result<u64> {
    let member = now.keepers.member_at(&ask.node_id);
    member.map(|member| member.raft_id).ok_or_else(|| {
        let message = format!("{} is not in the keepers' group", ask.node_id);
        Error::new(ErrorCode::KeeperNotFound, message).field("node_id")
    })
}

/// Refuses a change after which those that are heard of could not commit anything.
fn check_quorum(now: &Situation<'_>, voters: &[u64]) -> Result<()> {
    let needed = voters.len() / 2 + 1;
    let is_active =
        |voter: &u64| *voter == now.me || now.progress.get(voter).is_some_and(|progress| progress.is_active);
    let active = voters.iter().filter(|voter| is_active(voter)).count();
    if !voters.is_empty() && active >= needed {
        return Ok(());
    }
    let silent: Vec<&str> = voters
        .iter()
        .filter(|voter| !is_active(voter))
        .filter_map(|voter| now.keepers.node_of(*voter).map(NodeId::as_str))
        .collect();
    let message = match voters.is_empty() {
        true => "it is the only keeper with a vote: add another and promote it first".to_owned(),
        false => format!(
            "of {} keepers with a vote only {active} would be heard of; bring back {} first, or add others",
            voters.len(),
            silent.join(", ")
        ),
    };
    Err(Error::new(ErrorCode::QuorumAtRisk, message)
        .field("node_id")
        .limit(format_args!(
            "{} keepers with a vote that are heard of",
            needed.max(1)
        )))
}

/// Refuses to remove the only keeper that is known to hold the oldest entries: shards may need them still.
fn check_copies(now: &Situation<'_>, member: u64, ask: &Ask) -> Result<()> {
    let first_of = |id: &u64| now.progress.get(id).and_then(|progress| progress.first_index);
    let Some(first) = first_of(&member).map(|first| first.max(now.needed_from)) else {
        return Ok(());
    };
    let others = || now.keepers.members().filter(|other| other.raft_id != member);
    // What a keeper told that is silent now is no copy to count on.
    let is_heard = |id: &u64| now.progress.get(id).is_some_and(|progress| progress.is_active);
    let reaches = |id: u64| is_heard(&id) && first_of(&id).is_some_and(|other| other <= first);
    if others().any(|other| reaches(other.raft_id)) {
        return Ok(());
    }
    let is_untold = |id: u64| is_heard(&id) && first_of(&id).is_none();
    if let Some(untold) = others().find(|other| is_untold(other.raft_id)) {
        let message = format!("{} has not told yet where its log begins", untold.node_id);
        return Err(Error::new(ErrorCode::MembershipChanging, message)
            .retry_after(std::time::Duration::from_millis(500)));
    }
    let message = format!(
        "{} alone holds the log from entry {first} on, and shards may need it: let another keeper catch up from it, or \
         force it",
        ask.node_id
    );
    Err(Error::new(ErrorCode::QuorumAtRisk, message).field("node_id"))
}
