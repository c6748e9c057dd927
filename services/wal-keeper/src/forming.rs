//! A group forms once: when all its initial keepers have empty disks.
//!
//! A keeper that has never voted nor appended asks the others before its engine starts, in two steps, so that a crash
//! in between does no harm:
//!
//! 1. It forms (durably) when all others answer that their logs are empty. Where one has a log, this keeper has lost its
//!    own: it must not vote under its raft id.
//! 2. It starts when all others have formed too. So whoever has a log knows that all have formed: an empty disk among
//!    them is a lost one.

use std::time::Duration;

use longbow_node::{gossip::Gossip, rpc::Peers};
use longbow_types::{Error, ErrorCode, NodeId};
use longbow_wire::internal::{
    GetKeeperStatusRequest, GetKeeperStatusResponse, keeper_service_client::KeeperServiceClient,
};
use tonic::Request;

/// Time between two rounds of questions.
pub(crate) const INTERVAL: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_millis(800);

/// What another voter answered; `None` if it did not.
pub(crate) type Answer = (NodeId, Option<GetKeeperStatusResponse>);

/// What an untouched keeper may do now.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    /// Ask again; what is waited for.
    Wait(String),
    /// Form the group, durably.
    Form,
    /// Vote and append.
    Start,
    /// Never take part.
    Refuse(Error),
}

/// Decides about a keeper whose own log is empty. `formed`: it said so, durably.
pub(crate) fn step(formed: bool, voters: &[NodeId], answers: &[Answer]) -> Step {
    let mut silent = Vec::new();
    let mut unformed = Vec::new();
    let mut started = false;
    for (voter, answer) in answers {
        // A keeper that has just started, or stopped for good, says nothing about its log.
        let Some(answer) = answer.as_ref().filter(|answer| !answer.voters.is_empty()) else {
            silent.push(voter);
            continue;
        };
        if !answer
            .voters
            .iter()
            .map(String::as_str)
            .eq(voters.iter().map(NodeId::as_str))
        {
            let message = format!("the keeper {voter} names other voters: {:?}", answer.voters);
            return Step::Refuse(Error::new(ErrorCode::InvalidValue, message).field("keeper.initial_voters"));
        }
        if answer.term > 0 || answer.last_index > 0 {
            if !formed {
                return Step::Refuse(lost(voter, answer));
            }
            started = true;
        } else if !answer.fatal.is_empty() {
            silent.push(voter);
        } else if !answer.formed {
            unformed.push(voter);
        }
    }
    if started {
        return Step::Start;
    }
    let waits = |what: &str, on: &[&NodeId]| {
        let names: Vec<&str> = on.iter().map(|node| node.as_str()).collect();
        Step::Wait(format!("{what}: {}", names.join(", ")))
    };
    match (formed, silent.is_empty(), unformed.is_empty()) {
        (_, false, _) => waits("the group forms when all its keepers are there; missing", &silent),
        (false, true, _) => Step::Form,
        (true, true, false) => waits("other keepers have not formed the group yet", &unformed),
        (true, true, true) => Step::Start,
    }
}

fn lost(voter: &NodeId, answer: &GetKeeperStatusResponse) -> Error {
    let message = format!(
        "this keeper has no log, and the keeper {voter} has one (term {}, entries up to {}): this keeper lost its \
         disk. It must not vote under its old id, or acknowledged writes could be lost: put its data path back, or \
         give the group a new keeper",
        answer.term, answer.last_index
    );
    Error::new(ErrorCode::Corruption, message).field("data_path")
}

/// Asks all other voters at once.
pub(crate) async fn ask(others: &[NodeId], gossip: &Gossip, peers: &Peers) -> Vec<Answer> {
    let mut asked = tokio::task::JoinSet::new();
    for (at, voter) in others.iter().enumerate() {
        let member = gossip.member(voter).filter(|member| member.is_live());
        let peers = peers.clone();
        asked.spawn(async move {
            let mut client = KeeperServiceClient::new(peers.channel(member?.rpc_addr));
            let mut request = Request::new(GetKeeperStatusRequest {});
            request.set_timeout(PATIENCE);
            let answer = tokio::time::timeout(PATIENCE, client.get_keeper_status(request)).await;
            Some((at, answer.ok()?.ok()?.into_inner()))
        });
    }
    let mut answers: Vec<Answer> = others.iter().map(|voter| (voter.clone(), None)).collect();
    for (at, answer) in asked.join_all().await.into_iter().flatten() {
        answers[at].1 = Some(answer);
    }
    answers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voters() -> Vec<NodeId> {
        ["k1", "k2", "k3"]
            .iter()
            .map(|name| name.parse().unwrap())
            .collect()
    }

    fn status(formed: bool, term: u64) -> Option<GetKeeperStatusResponse> {
        Some(GetKeeperStatusResponse {
            voters: voters().iter().map(ToString::to_string).collect(),
            formed,
            term,
            last_index: term * 7,
            ..GetKeeperStatusResponse::default()
        })
    }

    fn decide(
        formed: bool,
        one: Option<GetKeeperStatusResponse>,
        two: Option<GetKeeperStatusResponse>,
    ) -> Step {
        let voters = voters();
        let answers = [(voters[1].clone(), one), (voters[2].clone(), two)];
        step(formed, &voters, &answers)
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
        stranger.as_mut().unwrap().voters.pop();
        let Step::Refuse(error) = decide(false, stranger, None) else {
            panic!("another group");
        };
        assert_eq!(error.field.as_deref(), Some("keeper.initial_voters"));
    }
}
