//! A group forms once: when all its initial keepers have empty disks.
//!
//! A keeper that has never voted nor appended asks the others before its engine starts, in two steps, so that a crash
//! in between does no harm:
//!
//! 1. It forms (durably) when all others answer that their logs are empty. Where one has a log, this keeper has lost its
//!    own: it must not vote under its raft id.
//! 2. It starts when all others have formed too. So whoever has a log knows that all have formed: an empty disk among
//!    them is a lost one.
//!
//! A keeper that did not form the group, or was removed from it and has an empty disk again, waits until it is added: then
//! a raft id is given to its log, and to no other.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use longbow_node::{gossip::Gossip, rpc::Peers};
use longbow_types::{Error, ErrorCode, NodeId, Role};
use longbow_wire::internal::{
    GetKeeperStatusRequest, GetKeeperStatusResponse, KeeperMember, keeper_service_client::KeeperServiceClient,
};
use tonic::Request;

use crate::group::Group;

/// Time between two rounds of questions.
pub(crate) const INTERVAL: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_millis(800);

/// What another keeper answered; `None` if it did not.
pub(crate) type Answer = (NodeId, Option<GetKeeperStatusResponse>);

/// What this keeper says of itself.
pub(crate) struct Own<'a> {
    pub node_id: &'a NodeId,
    pub group: &'a Group,
}

/// What an untouched keeper may do now.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    /// Ask again; what is waited for.
    Wait(String),
    /// Ask again: the group is there, and an operator may add this keeper.
    WaitToBeAdded,
    /// Form the group, durably.
    Form,
    /// Take this raft id, durably: it was given to this keeper's log.
    Join(u64),
    /// Vote and append.
    Start,
    /// Never take part.
    Refuse(Error),
}

/// Decides about a keeper whose own log is empty.
pub(crate) fn step(own: &Own<'_>, answers: &[Answer]) -> Step {
    let Group {
        initial_voters,
        formed,
        ..
    } = own.group;
    let mut silent = Vec::new();
    let mut unformed = Vec::new();
    let mut standing: Option<(&NodeId, &GetKeeperStatusResponse)> = None;
    for (keeper, answer) in answers {
        let is_initial = initial_voters.contains(keeper);
        // A keeper that has just started, or stopped for good, says nothing about its log.
        let Some(answer) = answer.as_ref().filter(|answer| !answer.initial_voters.is_empty()) else {
            silent.extend(is_initial.then_some(keeper));
            continue;
        };
        let theirs = answer.initial_voters.iter().map(String::as_str);
        if !theirs.eq(initial_voters.iter().map(NodeId::as_str)) {
            if !is_initial {
                continue; // of another group, or none of this one yet
            }
            let message = format!(
                "the keeper {keeper} names other voters: {:?}",
                answer.initial_voters
            );
            return Step::Refuse(Error::new(ErrorCode::InvalidValue, message).field("keeper.initial_voters"));
        }
        if answer.term > 0 || answer.last_index > 0 {
            let age = |answer: &GetKeeperStatusResponse| answer.membership.as_ref().map(|group| group.index);
            if standing.is_none_or(|(_, newest)| age(answer) > age(newest)) {
                standing = Some((keeper, answer));
            }
        } else if !is_initial {
        } else if !answer.fatal.is_empty() {
            silent.push(keeper);
        } else if !answer.formed {
            unformed.push(keeper);
        }
    }
    if let Some((keeper, answer)) = standing {
        return beside_a_group(own, keeper, answer);
    }
    let waits = |what: &str, on: &[&NodeId]| {
        let names: Vec<&str> = on.iter().map(|node| node.as_str()).collect();
        Step::Wait(format!("{what}: {}", names.join(", ")))
    };
    match (*formed, silent.is_empty(), unformed.is_empty()) {
        _ if own.group.raft_id == 0 => Step::WaitToBeAdded,
        (_, false, _) => waits("the group forms when all its keepers are there; missing", &silent),
        (false, true, _) => Step::Form,
        (true, true, false) => waits("other keepers have not formed the group yet", &unformed),
        (true, true, true) => Step::Start,
    }
}

/// The group has a log already, which a keeper tells about.
fn beside_a_group(own: &Own<'_>, keeper: &NodeId, answer: &GetKeeperStatusResponse) -> Step {
    if own.group.formed {
        return Step::Start;
    }
    let members = answer.membership.as_ref().map(|group| &group.members[..]);
    let mine = |member: &&KeeperMember| member.node_id == own.node_id.as_str();
    match members.map(|members| members.iter().find(mine)) {
        Some(Some(member)) if member.log_id == own.group.log_id => Step::Join(member.raft_id),
        Some(None) => Step::WaitToBeAdded,
        Some(Some(_)) | None => Step::Refuse(lost(own.node_id, keeper, answer)),
    }
}

fn lost(me: &NodeId, keeper: &NodeId, answer: &GetKeeperStatusResponse) -> Error {
    let message = format!(
        "this keeper has no log, and the keeper {keeper} has one (term {}, entries up to {}): this keeper lost its \
         disk. It must not vote under its old id, or acknowledged writes could be lost: put its data path back, or \
         remove it from the group (longbow keeper remove {me}), start it again and add it (longbow keeper add {me})",
        answer.term, answer.last_index
    );
    Error::new(ErrorCode::Corruption, message).field("data_path")
}

/// Asks all other keepers at once: those that formed the group, and whoever else gossip knows of.
pub(crate) async fn ask(own: &Own<'_>, gossip: &Gossip, peers: &Peers) -> Vec<Answer> {
    let known = gossip
        .live(Role::WalKeeper)
        .into_iter()
        .map(|member| member.node_id);
    let mut others: BTreeSet<NodeId> = own.group.initial_voters.iter().cloned().chain(known).collect();
    others.remove(own.node_id);
    let mut asked = tokio::task::JoinSet::new();
    for keeper in others {
        let member = gossip.member(&keeper).filter(|member| member.is_live());
        let peers = peers.clone();
        asked.spawn(async move {
            let answer = match member {
                Some(member) => status_of(&peers, member.rpc_addr).await,
                None => None,
            };
            (keeper, answer)
        });
    }
    asked.join_all().await
}

/// What a keeper says of itself, if it answers soon.
pub(crate) async fn status_of(peers: &Peers, address: SocketAddr) -> Option<GetKeeperStatusResponse> {
    let mut client = KeeperServiceClient::new(peers.channel(address));
    let mut request = Request::new(GetKeeperStatusRequest {});
    request.set_timeout(PATIENCE);
    let answer = tokio::time::timeout(PATIENCE, client.get_keeper_status(request)).await;
    Some(answer.ok()?.ok()?.into_inner())
}

#[cfg(test)]
mod tests {
    use longbow_cluster::keepers::Keepers;

    use super::*;

    fn voters() -> Vec<NodeId> {
        ["k1", "k2", "k3"]
            .iter()
            .map(|name| name.parse().unwrap())
            .collect()
    }

    fn status(formed: bool, term: u64) -> Option<GetKeeperStatusResponse> {
        Some(GetKeeperStatusResponse {
            initial_voters: voters().iter().map(ToString::to_string).collect(),
            formed,
            term,
            last_index: term * 7,
            membership: Some(Keepers::formed(&voters()).to_proto()),
            ..GetKeeperStatusResponse::default()
        })
    }

    fn decide(
        formed: bool,
        one: Option<GetKeeperStatusResponse>,
        two: Option<GetKeeperStatusResponse>,
    ) -> Step {
        let group = Group {
            raft_id: 1,
            log_id: 5,
            initial_voters: voters(),
            formed,
            incarnation: 1,
        };
        decide_as("k1", &group, one, two)
    }

    fn decide_as(
        me: &str,
        group: &Group,
        one: Option<GetKeeperStatusResponse>,
        two: Option<GetKeeperStatusResponse>,
    ) -> Step {
        let voters = voters();
        let answers = [(voters[1].clone(), one), (voters[2].clone(), two)];
        let node_id = me.parse().unwrap();
        let own = Own {
            node_id: &node_id,
            group,
        };
        step(&own, &answers)
    }

    fn waits(step: &Step) -> bool {
        matches!(step, Step::Wait(_))
    }

    #[test]
    fn it_forms_when_all_are_empty_and_starts_when_all_have_formed() {
        for others in [[false, false], [true, false], [true, true]] {
            let answers = others.map(|formed| status(formed, 0));
            let [one, two] = answers.clone();
            assert_eq!(decide(false, one, two), Step::Form, "a formed log may be empty");
            let [one, two] = answers;
            let step = decide(true, one, two);
            assert_eq!(step == Step::Start, others == [true, true], "{step:?}");
        }
        for formed in [false, true] {
            assert!(waits(&decide(formed, status(true, 0), None)), "one is not there");
        }
    }

    #[test]
    fn an_empty_disk_beside_a_log_is_a_lost_one() {
        for other in [None, status(false, 0), status(true, 0), status(true, 3)] {
            let Step::Refuse(error) = decide(false, other.clone(), status(true, 3)) else {
                panic!("it must not take part");
            };
            assert_eq!(error.code, ErrorCode::Corruption);
            // Who has formed and never voted may go on, whoever else is down.
            assert_eq!(decide(true, other, status(true, 3)), Step::Start);
        }
    }

    #[test]
    fn what_says_nothing_counts_for_nothing() {
        let starting = Some(GetKeeperStatusResponse::default());
        assert!(waits(&decide(false, starting, status(true, 0))));
        let mut failed = status(true, 0);
        failed.as_mut().unwrap().fatal = "CORRUPTION: gone".to_owned();
        assert!(waits(&decide(false, failed, status(true, 0))));
        let mut stranger = status(false, 0);
        stranger.as_mut().unwrap().initial_voters.pop();
        let Step::Refuse(error) = decide(false, stranger, None) else {
            panic!("another group");
        };
        assert_eq!(error.field.as_deref(), Some("keeper.initial_voters"));
    }

    #[test]
    fn who_was_added_joins_under_the_id_that_its_log_was_given() {
        let waiting = Group {
            raft_id: 0,
            log_id: 5,
            initial_voters: voters(),
            formed: false,
            incarnation: 1,
        };
        let decide = |one, two| decide_as("k4", &waiting, one, two);
        assert_eq!(decide(None, None), Step::WaitToBeAdded);
        assert_eq!(decide(status(false, 0), status(true, 0)), Step::WaitToBeAdded);
        assert_eq!(decide(None, status(true, 3)), Step::WaitToBeAdded);
        // One keeper has applied that it was added, the other not yet.
        let added = |log_id| {
            let mut answer = status(true, 3).unwrap();
            let group = answer.membership.as_mut().unwrap();
            group.index = 9;
            group.members.push(KeeperMember {
                raft_id: 4,
                node_id: "k4".to_owned(),
                log_id,
            });
            Some(answer)
        };
        assert_eq!(decide(added(5), status(true, 4)), Step::Join(4));
        assert_eq!(decide(status(true, 4), added(5)), Step::Join(4));
        // The id was given to a log that is lost.
        assert!(matches!(decide(added(6), None), Step::Refuse(_)));
    }

    #[test]
    fn one_of_the_first_that_was_removed_may_be_added_again() {
        let mut gone = status(true, 3).unwrap();
        gone.membership.as_mut().unwrap().members.remove(0);
        assert_eq!(decide(false, Some(gone), None), Step::WaitToBeAdded);
    }
}
