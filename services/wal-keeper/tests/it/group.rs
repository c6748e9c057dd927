//! A group forms once, and a keeper that lost its log says so.

use longbow_node::shutdown::Shutdown;
use longbow_types::{Error, ErrorCode, Role};
use longbow_wire::internal::GetKeeperStatusRequest;

use crate::cluster::{Keepers, Node, dataset, until, write};

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_with_an_empty_disk_is_told_that_it_lost_its_log() {
    let mut keepers = Keepers::started(3).await;
    let router = Node::join(&keepers, Role::Router, "r1").await;
    let id = dataset(&router, "d").await;
    let leader = keepers.leader(&router).await;
    let victim = (leader + 1) % 3;
    // It must have had something that the leader knows of.
    until("the victim to follow", || async {
        let status = router
            .keeper(keepers.addr(victim))
            .get_keeper_status(GetKeeperStatusRequest {})
            .await
            .ok()?;
        (status.get_ref().applied_index >= id).then_some(())
    })
    .await;
    keepers.kill(victim).await;
    std::fs::remove_dir_all(keepers.data_path(victim)).unwrap();
    keepers.start(victim).await;
    let fatal = until("the keeper to notice", || async {
        let status = router
            .keeper(keepers.addr(victim))
            .get_keeper_status(GetKeeperStatusRequest {})
            .await
            .ok()?;
        let fatal = status.into_inner().fatal;
        (!fatal.is_empty()).then_some(fatal)
    })
    .await;
    assert!(fatal.starts_with("CORRUPTION"), "{fatal}");
    // The others go on, and a damaged log is no flush error: no latch.
    let answer = router.append(&write(id, 0, 0, b"x"), b"x").await.unwrap();
    assert_eq!(answer.verdict.unwrap().code, "");
}
