//! The group changes: keepers are added, promoted, removed, and come back under another raft id.

use longbow_types::{Error, ErrorCode, Role};
use longbow_wire::{
    convert::status::from_status,
    internal::{
        ChangeKeepersRequest, GetKeeperStatusRequest, GetKeeperStatusResponse, KeeperChange,
        KeeperMembership, TailEntry,
    },
};

use crate::{
    cluster::{Keepers, Node, dataset, until, write},
    tail,
};

pub async fn status(node: &Node, keepers: &Keepers, at: usize) -> Option<GetKeeperStatusResponse> {
    let mut keeper = node.keeper(keepers.addr(at));
    let answer = keeper.get_keeper_status(GetKeeperStatusRequest {}).await;
    Some(answer.ok()?.into_inner())
}

/// Asks whoever leads for a change.
pub async fn ask(
    router: &Node,
    keepers: &Keepers,
    change: KeeperChange,
    at: usize,
    log_id: u64,
) -> Result<KeeperMembership, Error> {
    until("an answer of the leader", || async {
        let leader = keepers.leader(router).await;
        let request = ChangeKeepersRequest {
            change: change as i32,
            node_id: format!("k{at}"),
            log_id,
            force: false,
        };
        let answer = router.keeper(keepers.addr(leader)).change_keepers(request).await;
        match answer {
            Ok(answer) => Some(Ok(answer.into_inner().membership.unwrap())),
            Err(status) => {
                let error = from_status(&status);
                let passing = [
                    ErrorCode::NotLeader,
                    ErrorCode::NoLeader,
                    ErrorCode::MembershipChanging,
                    ErrorCode::LearnerBehind,
                ];
                if passing.contains(&error.code) {
                    eprintln!("k{leader} says of {change:?} k{at}: {error}");
                    return None;
                }
                Some(Err(error))
            }
        }
    })
    .await
}

/// Takes a keeper out of the group, as soon as enough of the others are heard of: on a busy machine a live one may be
/// silent for a while, and is not counted on then.
pub async fn remove(router: &Node, keepers: &Keepers, at: usize) -> KeeperMembership {
    let in_doubt = std::cell::Cell::new(false);
    until("enough of the others", || async {
        match ask(router, keepers, KeeperChange::Remove, at, 0).await {
            Err(error) if error.code == ErrorCode::QuorumAtRisk => None,
            // Its leader was lost on the way: it may be done.
            Err(error) if error.code == ErrorCode::NoReplica => {
                in_doubt.set(true);
                None
            }
            Err(error) if error.code == ErrorCode::KeeperNotFound && in_doubt.get() => {
                status(router, keepers, keepers.leader(router).await)
                    .await?
                    .membership
            }
            answer => Some(answer.unwrap()),
        }
    })
    .await
}

/// Waits until a keeper with an empty disk asks to be added, and adds it.
pub async fn add(router: &Node, keepers: &Keepers, at: usize) -> KeeperMembership {
    let log_id = until("the keeper to wait", || async {
        status(router, keepers, at)
            .await
            .filter(|status| status.is_waiting)
    })
    .await
    .log_id;
    ask(router, keepers, KeeperChange::Add, at, log_id).await.unwrap()
}

pub fn members(group: &KeeperMembership) -> Vec<(u64, &str)> {
    group
        .members
        .iter()
        .map(|member| (member.raft_id, member.node_id.as_str()))
        .collect()
}

pub async fn log_of(node: &Node, keepers: &Keepers, at: usize, from: u64, to: u64) -> Vec<TailEntry> {
    let mut stream = tail::open(node, keepers, at, from).await;
    tail::read_to(&mut stream, from, to).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_grows_from_one_to_three_and_all_survive_a_restart() {
    let mut keepers = Keepers::formed_by(3, 1);
    keepers.start(0).await;
    let router = Node::join(&keepers, Role::Router, "r1").await;
    let shard = Node::join(&keepers, Role::Shard, "s1").await;
    let id = dataset(&router, "d").await;
    for at in [1, 2] {
        keepers.start(at).await;
        add(&router, &keepers, at).await;
        router
            .append(&write(id, 0, 0, b"learnt"), b"learnt")
            .await
            .unwrap();
        let group = ask(&router, &keepers, KeeperChange::Promote, at, 0)
            .await
            .unwrap();
        let conf = group.conf_state.unwrap();
        assert_eq!((conf.voters.len(), conf.learners.len()), (at + 1, 0));
        assert!(conf.voters_outgoing.is_empty(), "the change is done");
        // Asked again it is so already.
        ask(&router, &keepers, KeeperChange::Promote, at, 0)
            .await
            .unwrap();
    }
    keepers.ready().await;
    let last = router
        .append(&write(id, 0, 0, b"three"), b"three")
        .await
        .unwrap()
        .index;
    // The one that began alone is not needed any more. Who names a sequence may ask again when the answer is lost.
    let producer = router.open_producer().await;
    keepers.kill(0).await;
    let two = router
        .append(&write(id, producer, 1, b"two"), b"two")
        .await
        .unwrap();
    assert!(two.index > last);
    for at in [1, 2] {
        keepers.kill(at).await;
    }
    for at in 0..3 {
        keepers.start(at).await;
    }
    keepers.ready().await;
    let again = router.append(&write(id, producer, 2, b"again"), b"again").await;
    let last = again.unwrap().index;
    let first = log_of(&shard, &keepers, 0, 1, last).await;
    for at in [1, 2] {
        assert_eq!(log_of(&shard, &keepers, at, 1, last).await, first);
        let group = status(&router, &keepers, at).await.unwrap().membership.unwrap();
        assert_eq!(members(&group), [(1, "k0"), (2, "k1"), (3, "k2")]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_keeper_comes_back_under_another_raft_id() {
    let mut keepers = Keepers::started(3).await;
    let router = Node::join(&keepers, Role::Router, "r1").await;
    let shard = Node::join(&keepers, Role::Shard, "s1").await;
    let id = dataset(&router, "d").await;
    let kept = router
        .append(&write(id, 0, 0, b"kept"), b"kept")
        .await
        .unwrap()
        .index;
    let leader = keepers.leader(&router).await;
    let victim = (leader + 1) % 3;
    let name = format!("k{victim}");
    keepers.kill(victim).await;
    keepers.wipe(victim);
    // Its id is still its former life's: it may not vote under it, nor be added.
    keepers.start(victim).await;
    let refused = until("the victim to notice", || async {
        status(&router, &keepers, victim)
            .await
            .filter(|status| !status.fatal.is_empty())
    })
    .await;
    let hint = format!("longbow keeper remove {name}");
    assert!(refused.fatal.contains(&hint), "{}", refused.fatal);
    let error = ask(&router, &keepers, KeeperChange::Add, victim, refused.log_id)
        .await
        .unwrap_err();
    assert_eq!(error.code, ErrorCode::KeeperExists);
    keepers.kill(victim).await;

    // Two of two are needed now: the other may not go as well.
    let group = remove(&router, &keepers, victim).await;
    assert_eq!(group.members.len(), 2);
    let error = ask(&router, &keepers, KeeperChange::Remove, victim, 0)
        .await
        .unwrap_err();
    assert_eq!(error.code, ErrorCode::KeeperNotFound);

    keepers.start(victim).await;
    let group = add(&router, &keepers, victim).await;
    assert!(members(&group).contains(&(4, &name)), "{group:?}");
    let group = ask(&router, &keepers, KeeperChange::Promote, victim, 0)
        .await
        .unwrap();
    assert_eq!(group.conf_state.unwrap().voters.len(), 3);
    // It counts: without one of the others it makes the quorum, and it has everything.
    let other = (0..3).find(|at| *at != victim && *at != leader).unwrap();
    keepers.kill(other).await;
    let last = router
        .append(&write(id, 0, 0, b"new"), b"new")
        .await
        .unwrap()
        .index;
    let log = log_of(&shard, &keepers, victim, 1, last).await;
    assert_eq!(log[kept as usize - 1].body[..], b"kept"[..]);
    assert_eq!(log, log_of(&shard, &keepers, leader, 1, last).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_keeper_says_so_and_ends_even_if_it_was_away() {
    let mut keepers = Keepers::started(3).await;
    let router = Node::join(&keepers, Role::Router, "r1").await;
    let id = dataset(&router, "d").await;
    let leader = keepers.leader(&router).await;
    // The leader itself: it hands over first.
    let group = remove(&router, &keepers, leader).await;
    assert_eq!(group.members.len(), 2);
    let ended = keepers.running[leader].take().unwrap().wait().await.unwrap_err();
    let error = ended.downcast::<Error>().unwrap();
    assert_eq!(error.code, ErrorCode::KeeperRemoved, "{error}");
    assert!(error.message.contains("longbow keeper add"), "{error}");

    // Started again, it learns it from the others.
    let error = ask(&router, &keepers, KeeperChange::Remove, leader, 0)
        .await
        .unwrap_err();
    assert_eq!(error.code, ErrorCode::KeeperNotFound);
    keepers.start(leader).await;
    let ended = keepers.running[leader].take().unwrap().wait().await.unwrap_err();
    assert_eq!(ended.downcast::<Error>().unwrap().code, ErrorCode::KeeperRemoved);
    router.append(&write(id, 0, 0, b"x"), b"x").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quorum_that_is_not_there_is_not_given_away() {
    let mut keepers = Keepers::started(3).await;
    let router = Node::join(&keepers, Role::Router, "r1").await;
    dataset(&router, "d").await;
    let dead = keepers.leader(&router).await;
    keepers.kill(dead).await;
    // Who leads now was elected without it, and has never heard of it as a leader.
    let leader = keepers.leader(&router).await;
    let other = 3 - dead - leader;
    let error = ask(&router, &keepers, KeeperChange::Remove, other, 0)
        .await
        .unwrap_err();
    assert_eq!(error.code, ErrorCode::QuorumAtRisk, "{error}");
    assert!(error.message.contains(&format!("k{dead}")), "{error}");
}
