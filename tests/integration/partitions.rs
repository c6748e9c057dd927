//! Shards that hold some partitions each, and get the rows of those alone.

use longbow_harness::{
    check,
    cluster::{Cluster, PATIENCE, Shape},
    load::{Load, create_dataset},
    wait,
};

use crate::shared::binary;

/// With two copies of each of four partitions no shard of three has all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_row_is_where_it_belongs_also_after_a_restart() {
    let shape = Shape {
        keepers: 1,
        shards: 3,
        routers: 1,
    };
    let mut cluster = Cluster::start(binary(), shape).unwrap();
    let endpoint = cluster.endpoints().pop().unwrap();
    create_dataset(&endpoint, "spread").await.unwrap();
    let load = Load::start(std::slice::from_ref(&endpoint), "spread", 2, 5).unwrap();
    load.reach(1_500).await.unwrap();
    let shards: Vec<String> = cluster.of_role("shard").map(|node| node.id.clone()).collect();
    // It reads the log anew, and asks for its own partitions as soon as it knows them.
    cluster.kill(&shards[0]).unwrap();
    cluster.restart(&shards[0]).unwrap();
    cluster.ready(&shards[0]).await.unwrap();
    load.reach(3_000).await.unwrap();
    let model = load.stop().await.unwrap();
    // Without each of the shards in turn the others have everything.
    for shard in &shards {
        cluster.kill(shard).unwrap();
        wait::until("the others to answer", PATIENCE, || async {
            check::holds(&endpoint, "spread", &model).await
        })
        .await
        .unwrap();
        cluster.restart(shard).unwrap();
        cluster.ready(shard).await.unwrap();
    }
}
