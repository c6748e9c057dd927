//! Do these tests see that a guard is gone? Here what needs no other program; the bars build programs that lack one.

use longbow_harness::{faults::Fault, history::acknowledged};

use super::{
    disk::power_cut,
    scene::{KEEPERS, Scene, on_a_quorum},
};

/// Without fdatasync, a power cut takes what was acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disks_that_lie_are_caught() {
    let mut scene = Scene::start().await.unwrap();
    scene.begin(1).unwrap();
    let lies: Vec<_> = KEEPERS
        .iter()
        .map(|keeper| scene.hurt(keeper, Fault::SyncLie).unwrap())
        .collect();
    for lie in &lies {
        lie.has_fired(1).await.unwrap();
    }
    scene.go_on("while disks lie").await.unwrap();
    for lie in lies {
        lie.end().unwrap();
    }
    power_cut(&mut scene).await.unwrap();
    let history = scene.end().await.unwrap();
    assert!(!acknowledged(&history).is_empty());
    let caught = match scene.logs() {
        Ok(logs) => on_a_quorum(&logs, &history).expect_err("what was acknowledged is gone"),
        Err(damaged) => damaged,
    };
    println!("caught: {caught:#}");
}
