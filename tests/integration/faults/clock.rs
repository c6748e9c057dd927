//! Wall clocks that jump. Nothing may depend on them.

use longbow_harness::faults::Fault;
use rand::Rng;

use super::scene::{KEEPERS, Scene, nothing_is_lost};

const HOUR: i64 = 3_600;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clocks_jump() {
    nothing_is_lost("clocks that jump", async |scene: &mut Scene| {
        let leader = scene.leader().await?;
        let ahead = scene.random.random_range(1..100_000) * HOUR;
        let jumped = scene.hurt(&leader, Fault::Clock(ahead))?;
        jumped.has_fired(1).await?;
        scene.go_on("while the leader's clock is ahead").await?;
        jumped.end()?;
        // All at once, back and each by another time; one begins its life like that.
        let mut behind = Vec::new();
        for keeper in KEEPERS {
            let hours = scene.random.random_range(1..10_000) * HOUR;
            behind.push(scene.hurt(keeper, Fault::Clock(-hours))?);
        }
        let victim = scene.any();
        scene.cluster.kill(victim)?;
        scene.back(victim).await?;
        scene.go_on("while clocks are behind").await?;
        for jumped in behind {
            jumped.has_fired(1).await?;
            jumped.end()?;
        }
        Ok(())
    })
    .await;
}
