//! Keepers that do not hear each other. Clients reach all of them throughout.

use std::time::Duration;

use anyhow::{Result, ensure};
use longbow_harness::{
    cluster::{PATIENCE, http_get},
    wait,
};
use rand::Rng;

use super::scene::{KEEPERS, Scene, nothing_is_lost};

/// Times that a flapping link is cut.
const FLAPS: usize = 6;

/// Which way a keeper is cut off.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Both,
    /// Nothing that it sends arrives.
    Out,
    /// Nothing arrives that is sent to it.
    In,
}

fn cut_off(scene: &mut Scene, keeper: &str, way: Way) -> Result<()> {
    let Scene { links, faults, .. } = scene;
    for other in KEEPERS.into_iter().filter(|other| *other != keeper) {
        if way != Way::In {
            links.cut(faults, keeper, other)?;
        }
        if way != Way::Out {
            links.cut(faults, other, keeper)?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_is_isolated() {
    nothing_is_lost("an isolated leader", async |scene: &mut Scene| {
        let leader = scene.leader().await?;
        cut_off(scene, &leader, Way::Both)?;
        scene.go_on("without the leader").await?;
        scene.leader_but(&leader).await?;
        // It knows that it leads no more.
        let node = scene.cluster.nodes().iter().find(|node| node.id == leader);
        let addr = node.expect("it is one of them").http_addr.clone();
        wait::until("the isolated one to know", PATIENCE, || async {
            let (status, _) = http_get(&addr, "/readyz").await?;
            ensure!(status == 503, "it answers {status}");
            Ok(())
        })
        .await?;
        mended(scene, &leader).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_is_heard_or_hears_one_way() {
    nothing_is_lost("a link that works one way", async |scene: &mut Scene| {
        for way in [Way::Out, Way::In] {
            let leader = scene.leader().await?;
            cut_off(scene, &leader, way)?;
            scene.go_on("while the leader is cut off one way").await?;
            scene.leader_but(&leader).await?;
            mended(scene, &leader).await?;
        }
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_flaps() {
    nothing_is_lost("a flapping link", async |scene: &mut Scene| {
        let mut held = 0;
        let mut victim = scene.leader().await?;
        for _ in 0..FLAPS {
            let way = [Way::Both, Way::Out, Way::In][scene.random.random_range(0..3)];
            cut_off(scene, &victim, way)?;
            let down = scene.random.random_range(100..1_500);
            tokio::time::sleep(Duration::from_millis(down)).await;
            held += scene.links.mend().data;
            let up = scene.random.random_range(50..500);
            tokio::time::sleep(Duration::from_millis(up)).await;
            if scene.random.random_bool(0.5) {
                victim = scene.any().to_owned();
            }
        }
        ensure!(held > 0, "nothing was held up");
        for keeper in KEEPERS {
            scene.cluster.ready(keeper).await?;
        }
        Ok(())
    })
    .await;
}

async fn mended(scene: &mut Scene, keeper: &str) -> Result<()> {
    let held = scene.links.mend();
    println!("{held:?}");
    ensure!(held.data > 0, "nothing was held up");
    scene.cluster.ready(keeper).await
}
