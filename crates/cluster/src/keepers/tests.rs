//! Which changes are let through, and what becomes of the membership.

use prost::Message;

use super::*;
use longbow_types::{Error, ErrorCode};
use longbow_wire::internal::KeeperChange;

fn node(name: &str) -> NodeId {
    name.parse().unwrap()
}

fn three() -> Keepers {
    Keepers::formed(&["k1", "k2", "k3"].map(node))
}

fn conf(voters: &[u64], learners: &[u64]) -> RaftConfState {
    RaftConfState {
        voters: voters.to_vec(),
        learners: learners.to_vec(),
        ..RaftConfState::default()
    }
}

fn ask(change: KeeperChange, name: &str, log_id: u64) -> Ask {
    Ask {
        change,
        node_id: node(name),
        log_id,
        force: false,
    }
}

/// All heard of, all up to date, all with the log from its first entry on.
fn healthy(keepers: &Keepers) -> BTreeMap<u64, Progress> {
    let progress = Progress {
        matched: 5_000,
        is_active: true,
        first_index: Some(1),
    };
    keepers
        .members()
        .map(|member| (member.raft_id, progress))
        .collect()
}

fn decide(keepers: &Keepers, progress: &BTreeMap<u64, Progress>, ask: &Ask) -> Result<Plan, Error> {
    let now = Situation {
        keepers,
        me: 1,
        last_index: 5_000,
        is_changing: false,
        needed_from: 3_000,
        progress,
    };
    plan(&now, ask)
}

fn code(decided: Result<Plan, Error>) -> ErrorCode {
    decided.unwrap_err().code
}

/// Three that formed, and a learner.
fn with_learner() -> Keepers {
    let mut keepers = three();
    let member = keepers.next_member(node("k4"), 77);
    let change = Change::Add(member).to_entry(&keepers);
    let change = Change::decode(&change.encode_to_vec()).unwrap();
    keepers.apply(9, &change, conf(&[1, 2, 3], &[4]));
    keepers
}

#[test]
fn a_raft_id_is_never_given_twice() {
    let mut keepers = with_learner();
    assert_eq!(keepers.member_at(&node("k4")).unwrap().raft_id, 4);
    assert!(!keepers.is_voter(4) && keepers.was_given(4) && !keepers.was_given(5));
    let remove = Change::Remove(4).to_entry(&keepers);
    keepers.apply(10, &remove, conf(&[1, 2, 3], &[]));
    assert_eq!(keepers.member_at(&node("k4")), None);
    assert!(keepers.was_given(4));
    // The same node, with a log of its own: another member.
    assert_eq!(keepers.next_member(node("k4"), 78).raft_id, 5);
    assert_eq!(Keepers::from_proto(&keepers.to_proto()).unwrap(), keepers);
}

#[test]
fn one_whose_vote_ends_stays_a_member_until_the_change_is_done() {
    let mut keepers = three();
    let change = Change::Remove(3).to_entry(&keepers);
    let joint = RaftConfState {
        voters_outgoing: vec![1, 2, 3],
        auto_leave: true,
        ..conf(&[1, 2], &[])
    };
    keepers.apply(5, &change, joint);
    assert!(keepers.is_joint() && keepers.node_of(3).is_some());
    assert_eq!(keepers.voters(), ["k1", "k2"].map(node));
    assert_eq!(Keepers::from_proto(&keepers.to_proto()).unwrap(), keepers);
    keepers.apply(6, &RaftConfChange::default(), conf(&[1, 2], &[]));
    assert!(!keepers.is_joint() && keepers.node_of(3).is_none());
}

#[test]
fn who_is_added_is_named_and_new() {
    let keepers = with_learner();
    let progress = healthy(&keepers);
    let decide = |ask: &Ask| decide(&keepers, &progress, ask);
    let Ok(Plan::Propose(Change::Add(member))) = decide(&ask(KeeperChange::Add, "k5", 3)) else {
        panic!("a new keeper is added");
    };
    assert_eq!((member.raft_id, member.log_id), (5, 3));
    assert_eq!(
        decide(&ask(KeeperChange::Add, "k4", 77)),
        Ok(Plan::Done),
        "asked twice"
    );
    assert_eq!(
        code(decide(&ask(KeeperChange::Add, "k4", 78))),
        ErrorCode::KeeperExists
    );
    assert_eq!(
        code(decide(&ask(KeeperChange::Add, "k2", 78))),
        ErrorCode::KeeperExists
    );
    assert_eq!(
        code(decide(&ask(KeeperChange::Add, "k5", 0))),
        ErrorCode::MissingField
    );
    assert_eq!(
        code(decide(&ask(KeeperChange::Unspecified, "k5", 1))),
        ErrorCode::MissingField
    );
}

#[test]
fn a_learner_gets_a_vote_when_it_has_caught_up() {
    let keepers = with_learner();
    let mut progress = healthy(&keepers);
    let promote = ask(KeeperChange::Promote, "k4", 0);
    assert_eq!(
        decide(&keepers, &progress, &promote),
        Ok(Plan::Propose(Change::Promote(4)))
    );
    progress.get_mut(&4).unwrap().matched = 5_000 - LAG_MAX - 1;
    assert_eq!(
        code(decide(&keepers, &progress, &promote)),
        ErrorCode::LearnerBehind
    );
    let forced = Ask {
        force: true,
        ..promote.clone()
    };
    assert_eq!(
        decide(&keepers, &progress, &forced),
        Ok(Plan::Propose(Change::Promote(4)))
    );
    progress.get_mut(&4).unwrap().is_active = false;
    assert_eq!(
        code(decide(&keepers, &progress, &promote)),
        ErrorCode::LearnerBehind
    );
    // Three of four would do; two would not, and no force helps.
    assert!(decide(&keepers, &progress, &forced).is_ok());
    progress.get_mut(&3).unwrap().is_active = false;
    assert_eq!(
        code(decide(&keepers, &progress, &forced)),
        ErrorCode::QuorumAtRisk
    );
    assert_eq!(
        decide(&keepers, &progress, &ask(KeeperChange::Promote, "k2", 0)),
        Ok(Plan::Done)
    );
    assert_eq!(
        code(decide(&keepers, &progress, &ask(KeeperChange::Promote, "k9", 0))),
        ErrorCode::KeeperNotFound
    );
}

#[test]
fn nobody_is_removed_whose_vote_is_needed() {
    let keepers = three();
    let mut progress = healthy(&keepers);
    let remove = |name| ask(KeeperChange::Remove, name, 0);
    assert_eq!(
        decide(&keepers, &progress, &remove("k3")),
        Ok(Plan::Propose(Change::Remove(3)))
    );
    assert_eq!(
        decide(&keepers, &progress, &remove("k1")),
        Ok(Plan::HandOver),
        "the leader itself"
    );
    progress.get_mut(&2).unwrap().is_active = false;
    assert_eq!(
        decide(&keepers, &progress, &remove("k2")),
        Ok(Plan::Propose(Change::Remove(2)))
    );
    let refused = decide(&keepers, &progress, &remove("k3")).unwrap_err();
    assert_eq!(refused.code, ErrorCode::QuorumAtRisk);
    assert!(refused.message.contains("k2"), "{refused}");
    let alone = Keepers::formed(&[node("k1")]);
    assert_eq!(
        code(decide(&alone, &healthy(&alone), &remove("k1"))),
        ErrorCode::QuorumAtRisk
    );
    assert_eq!(
        code(decide(&alone, &healthy(&alone), &remove("k7"))),
        ErrorCode::KeeperNotFound
    );
}

#[test]
fn a_silent_keeper_is_no_copy_to_count_on() {
    let keepers = Keepers::formed(&["k1", "k2", "k3", "k4"].map(node));
    let mut progress = healthy(&keepers);
    let remove = ask(KeeperChange::Remove, "k3", 0);
    for begins_late in [1, 4] {
        progress.get_mut(&begins_late).unwrap().first_index = Some(4_000);
    }
    assert!(decide(&keepers, &progress, &remove).is_ok(), "k2 has them, too");
    // The quorum of those left does not need it.
    progress.get_mut(&2).unwrap().is_active = false;
    let error = decide(&keepers, &progress, &remove).unwrap_err();
    assert_eq!(error.code, ErrorCode::QuorumAtRisk);
    assert!(error.message.contains("alone holds the log"), "{error}");
}

#[test]
fn the_only_copy_of_old_entries_is_not_given_up_without_saying_so() {
    let keepers = three();
    let mut progress = healthy(&keepers);
    let remove = ask(KeeperChange::Remove, "k3", 0);
    progress.get_mut(&1).unwrap().first_index = Some(4_000);
    assert!(decide(&keepers, &progress, &remove).is_ok(), "k2 has them, too");
    progress.get_mut(&2).unwrap().first_index = None;
    assert_eq!(
        code(decide(&keepers, &progress, &remove)),
        ErrorCode::MembershipChanging,
        "k2 will tell"
    );
    progress.get_mut(&2).unwrap().first_index = Some(3_001);
    assert_eq!(
        code(decide(&keepers, &progress, &remove)),
        ErrorCode::QuorumAtRisk
    );
    let forced = Ask {
        force: true,
        ..remove.clone()
    };
    assert!(decide(&keepers, &progress, &forced).is_ok());
    progress.get_mut(&2).unwrap().first_index = Some(3_000);
    assert!(
        decide(&keepers, &progress, &remove).is_ok(),
        "what it lacks is needed by nobody"
    );
}

#[test]
fn one_change_at_a_time() {
    let keepers = with_learner();
    let progress = healthy(&keepers);
    let now = Situation {
        keepers: &keepers,
        me: 1,
        last_index: 5_000,
        is_changing: true,
        needed_from: 1,
        progress: &progress,
    };
    for change in [KeeperChange::Add, KeeperChange::Promote, KeeperChange::Remove] {
        assert_eq!(
            code(plan(&now, &ask(change, "k4", 77))),
            ErrorCode::MembershipChanging
        );
    }
}

#[test]
fn what_raft_would_panic_on_is_refused() {
    let whole = with_learner().to_proto();
    let refused = |change: &dyn Fn(&mut longbow_wire::internal::KeeperMembership)| {
        let mut message = whole.clone();
        change(&mut message);
        assert_eq!(
            Keepers::from_proto(&message).unwrap_err().code,
            ErrorCode::Corruption,
            "{message:?}"
        );
    };
    let conf = |message: &mut longbow_wire::internal::KeeperMembership| message.conf_state.clone().unwrap();
    refused(&|m| m.conf_state = None);
    refused(&|m| m.next_raft_id = 4);
    refused(&|m| drop(m.members.pop()));
    refused(&|m| m.members[1] = m.members[0].clone());
    refused(&|m| {
        m.conf_state = Some(RaftConfState {
            learners: vec![3],
            ..conf(m)
        })
    });
    refused(&|m| {
        m.conf_state = Some(RaftConfState {
            voters: vec![1, 2, 3, 3],
            ..conf(m)
        })
    });
    refused(&|m| {
        m.conf_state = Some(RaftConfState {
            auto_leave: true,
            ..conf(m)
        })
    });
    refused(&|m| {
        m.conf_state = Some(RaftConfState {
            learners_next: vec![2],
            ..conf(m)
        })
    });
}

#[test]
fn entries_that_keepers_do_not_write_are_refused() {
    let keepers = three();
    let add = Change::Add(keepers.next_member(node("k4"), 1)).to_entry(&keepers);
    let good = [
        add.clone(),
        Change::Promote(3).to_entry(&keepers),
        Change::Remove(3).to_entry(&keepers),
        RaftConfChange::default(),
    ];
    for change in good {
        assert_eq!(Change::decode(&change.encode_to_vec()), Ok(change));
    }
    let mut unnamed = add.clone();
    unnamed.context.clear();
    let mut other = add.clone();
    other.changes[0].raft_id = 5;
    let mut two = add.clone();
    two.changes.push(two.changes[0]);
    let mut kind = add.clone();
    kind.changes[0].change_type = 9;
    let mut long = add;
    long.context = vec![0; 1 << 20].into();
    for change in [unnamed, other, two, kind, long] {
        assert!(Change::decode(&change.encode_to_vec()).is_err());
    }
    assert!(Change::decode(&[0xff; 9]).is_err());
}
