//! Processes that are killed, stopped, started again, and one that finds its disk empty.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use longbow_harness::{cluster::PATIENCE, process::is_stopped, wait};
use longbow_types::ErrorCode;
use longbow_wire::{
    convert::status::from_status,
    v1::{self, cluster_service_client::ClusterServiceClient},
};
use tonic::transport::Channel;

use super::scene::{KEEPERS, Scene, nothing_is_lost};

/// How long a process is stopped.
const STOPPED: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_is_killed() {
    nothing_is_lost("kill -9 of the leader", async |scene: &mut Scene| {
        let leader = scene.leader().await?;
        scene.cluster.kill(&leader)?;
        scene.go_on("without the leader").await?;
        scene.one_retry_is_enough()?;
        scene.back(&leader).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_is_stopped_for_a_while() {
    nothing_is_lost("SIGSTOP of the leader", async |scene: &mut Scene| {
        let leader = scene.leader().await?;
        scene.cluster.pause(&leader)?;
        let since = Instant::now();
        scene.go_on("while the leader is stopped").await?;
        scene.leader_but(&leader).await?;
        tokio::time::sleep(STOPPED.saturating_sub(since.elapsed())).await;
        ensure!(is_stopped(scene.cluster.pid(&leader)?), "it was not stopped");
        scene.cluster.resume(&leader)?;
        scene.cluster.ready(&leader).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_are_killed_and_started_at_once() {
    nothing_is_lost("all restarted at once", async |scene: &mut Scene| {
        for keeper in KEEPERS {
            scene.cluster.kill(keeper)?;
        }
        scene.all_back().await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_is_lost() {
    nothing_is_lost("a wiped disk", a_disk_is_wiped).await;
}

/// The keeper refuses to take part, is removed, and added under another raft id.
async fn a_disk_is_wiped(scene: &mut Scene) -> Result<()> {
    let victim = scene.any();
    scene.cluster.kill(victim)?;
    scene.cluster.wipe(victim)?;
    scene.cluster.restart(victim)?;
    scene.cluster.ended(victim).await?;
    let log = scene.cluster.restarted_log(victim)?;
    ensure!(
        log.contains("this keeper lost its"),
        "it does not say why it ended:\n{log}"
    );
    scene.go_on("without the keeper that lost its disk").await?;
    let before = raft_id(scene, victim).await?;
    let request = v1::RemoveKeeperRequest {
        node_id: victim.to_owned(),
        force: false,
    };
    ask(scene, |mut admin| {
        let request = request.clone();
        async move { admin.remove_keeper(request).await }
    })
    .await?;
    scene.cluster.restart(victim)?;
    let request = v1::AddKeeperRequest {
        node_id: victim.to_owned(),
    };
    ask(scene, |mut admin| {
        let request = request.clone();
        async move { admin.add_keeper(request).await }
    })
    .await?;
    let request = v1::PromoteKeeperRequest {
        node_id: victim.to_owned(),
        force: false,
    };
    ask(scene, |mut admin| {
        let request = request.clone();
        async move { admin.promote_keeper(request).await }
    })
    .await?;
    scene.cluster.ready(victim).await?;
    ensure!(
        raft_id(scene, victim).await? > before,
        "a raft id was given twice"
    );
    scene.command_lists(victim)
}

/// Asks for a change until it is made: the group needs moments to see who is there.
async fn ask<T, Fut>(scene: &Scene, call: impl Fn(ClusterServiceClient<Channel>) -> Fut) -> Result<()>
where
    Fut: Future<Output = Result<tonic::Response<T>, tonic::Status>>,
{
    // The leader itself says that the keeper is not in the group: an attempt whose answer was lost has done it.
    let is_removed = |status: &tonic::Status| status.message().contains("is not in the keepers' group");
    wait::until("a change of the group", PATIENCE, || async {
        match call(scene.admin()).await {
            Ok(_) => Ok(()),
            Err(status) if from_status(&status).code == ErrorCode::KeeperNotFound && is_removed(&status) => {
                Ok(())
            }
            Err(status) => Err(from_status(&status).into()),
        }
    })
    .await
}

async fn raft_id(scene: &Scene, keeper: &str) -> Result<u64> {
    let all = scene.admin().list_keepers(v1::ListKeepersRequest {}).await?;
    let all = all.into_inner().keepers;
    let found = all.iter().find(|one| one.node_id == keeper && one.raft_id != 0);
    found.map(|one| one.raft_id).context("it is no member")
}
