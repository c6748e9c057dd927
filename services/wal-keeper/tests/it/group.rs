//! A group forms once, and a keeper that lost its log says so.

use longbow_node::{gossip::Gossip, identity::Identity, shutdown::Shutdown};
use longbow_types::{Error, ErrorCode, Role};
use longbow_wire::{
    convert::status::from_status,
    internal::{AppendRequest, GetKeeperStatusRequest, GetKeeperStatusResponse},
};
use prost::Message;

use crate::{
    cluster::{Keepers, Node, PATIENCE, dataset, open_producer, until, write},
    tail,
};

async fn refusal(config: longbow_wal_keeper::Config) -> Error {
    let error = longbow_wal_keeper::start(config, Shutdown::new())
        .await
        .err()
        .expect("it must not start");
    error.downcast::<Error>().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_formed_stays_formed() {
    let mut keepers = Keepers::started(1).await;
    keepers.kill(0).await;
    let mut config = keepers.config(0);
    config.initial_voters.push("k1".parse().unwrap());
    let error = refusal(config).await;
    assert_eq!(
        (error.code, error.field.as_deref()),
        (ErrorCode::InvalidValue, Some("keeper.initial_voters"))
    );

    std::fs::remove_dir_all(keepers.data_path(0).join("wal")).unwrap();
    let error = refusal(keepers.config(0)).await;
    assert_eq!(error.code, ErrorCode::Corruption);
    assert!(error.message.contains("must not vote"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_ahead_of_the_log_is_corruption() {
    let mut keepers = Keepers::started(1).await;
    let router = Node::join(&keepers, Role::Router, "r1").await;
    let id = dataset(&router, "d").await;
    let keeper = keepers.running[0].take().unwrap();
    keeper.kill().await;
    let early = keepers.data_path(0).join("wal");
    let kept = keepers.data_path(0).join("kept");
    copy(&early, &kept);
    keepers.start(0).await;
    keepers.ready().await;
    for _ in 0..20 {
        router.append(&write(id, 0, 0, b"x"), b"x").await.unwrap();
    }
    // A clean end writes a checkpoint of everything.
    let shutdown = Shutdown::new();
    keepers.kill(0).await;
    keepers.start_with(0, shutdown.clone()).await;
    keepers.ready().await;
    router.append(&write(id, 0, 0, b"x"), b"x").await.unwrap();
    shutdown.trigger();
    keepers.running[0].take().unwrap().wait().await.unwrap();
    std::fs::remove_dir_all(&early).unwrap();
    std::fs::rename(&kept, &early).unwrap();
    let error = refusal(keepers.config(0)).await;
    assert_eq!(error.code, ErrorCode::Corruption);
    assert!(error.message.contains("lost entries"), "{error}");
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

async fn status(node: &Node, keepers: &Keepers, at: usize) -> Option<GetKeeperStatusResponse> {
    let mut keeper = node.keeper(keepers.addr(at));
    let answer = keeper.get_keeper_status(GetKeeperStatusRequest {}).await;
    Some(answer.ok()?.into_inner())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_lost_its_disk_does_not_vote_even_where_one_other_alone_is_left() {
    let mut keepers = Keepers::started(3).await;
    let router = Node::join(&keepers, Role::Router, "r1").await;
    let id = dataset(&router, "d").await;
    let leader = keepers.leader(&router).await;
    let (victim, late) = ((leader + 1) % 3, (leader + 2) % 3);
    // The late one misses what the others acknowledge; a vote of the victim could make it leader.
    keepers.kill(late).await;
    let kept = router.append(&write(id, 0, 0, b"kept"), b"kept").await.unwrap();
    keepers.kill(victim).await;
    keepers.kill(leader).await;
    std::fs::remove_dir_all(keepers.data_path(victim)).unwrap();
    keepers.start(late).await;
    keepers.start(victim).await;
    let refused = until("the victim to notice", || async {
        status(&router, &keepers, victim)
            .await
            .filter(|status| !status.fatal.is_empty())
    })
    .await;
    assert!(refused.fatal.starts_with("CORRUPTION"), "{}", refused.fatal);
    assert!(refused.fatal.contains("must not vote"), "{}", refused.fatal);
    assert_eq!(
        (refused.term, refused.last_index, refused.flush_failed),
        (0, 0, false)
    );
    let error = keepers.running[victim].take().unwrap().wait().await.unwrap_err();
    assert_eq!(error.downcast::<Error>().unwrap().code, ErrorCode::Corruption);

    // The two that have their logs go on, and a damaged log is no flush error: no latch.
    keepers.start(leader).await;
    let answer = router.append(&write(id, 0, 0, b"x"), b"x").await.unwrap();
    assert_eq!(answer.verdict.unwrap().code, "");
    let shard = Node::join(&keepers, Role::Shard, "s1").await;
    let mut stream = tail::open(&shard, &keepers, late, 1).await;
    let log = tail::read_to(&mut stream, 1, answer.index).await;
    assert_eq!(log[kept.index as usize - 1].body[..], b"kept"[..]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_forms_when_all_are_there_whoever_crashes_meanwhile() {
    let mut keepers = Keepers::new(3);
    keepers.start(0).await;
    keepers.start(1).await;
    let router = Node::join(&keepers, Role::Router, "r1").await;
    // Two of three are a quorum, but nobody has said yet that the third is empty.
    until("both to hear of each other", || async {
        let members = router.gossip.members();
        let heard = ["k0", "k1"].map(|name| members.iter().any(|m| m.node_id.as_str() == name));
        (heard == [true, true]).then_some(())
    })
    .await;
    let mut early = router.keeper(keepers.addr(0));
    let open = early.append(AppendRequest {
        header: open_producer().encode_to_vec().into(),
        ..AppendRequest::default()
    });
    assert_eq!(from_status(&open.await.unwrap_err()).code, ErrorCode::NoLeader);
    keepers.kill(1).await;
    std::fs::remove_dir_all(keepers.data_path(1)).unwrap();
    keepers.start(1).await;
    assert_eq!(status(&router, &keepers, 0).await.unwrap().term, 0);
    keepers.start(2).await;
    until("the third to form", || async {
        status(&router, &keepers, 2).await.filter(|status| status.formed)
    })
    .await;
    // It has formed; whether it has voted yet or not, it comes back.
    keepers.kill(2).await;
    keepers.start(2).await;
    keepers.ready().await;
    router.append(&open_producer(), &[]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_keeper_whose_id_another_live_node_has_ends() {
    let mut keepers = Keepers::started(1).await;
    let keeper = keepers.running[0].take().unwrap();
    let config = keepers.config(0).node;
    let younger = Identity {
        cluster_id: config.cluster_id.clone(),
        node_id: keeper.node_id.clone(),
        role: Role::WalKeeper,
        generation: 1 << 62,
    };
    let shutdown = Shutdown::new();
    let nowhere = "127.0.0.1:1".parse().unwrap();
    let _gossip = Gossip::start(&config, younger, nowhere, None, shutdown.clone())
        .await
        .unwrap();
    let ended = tokio::time::timeout(PATIENCE, keeper.wait())
        .await
        .expect("it ends");
    let error = ended.unwrap_err().to_string();
    assert!(error.contains("another live node is k0"), "{error}");
    shutdown.trigger();
}
