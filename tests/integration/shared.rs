//! What the tests share: the binary, and one small cluster for those that only send requests.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, LazyLock, Mutex, Weak},
};

use longbow_harness::cluster::{Cluster, Shape};
use serde_json::Value;

/// The binary under test: the one that was built with the tests, or what `FAULTS_BINARY` names.
pub fn binary() -> &'static Path {
    static BINARY: LazyLock<PathBuf> = LazyLock::new(|| {
        let built = || env!("CARGO_BIN_EXE_longbow").into();
        std::env::var_os("FAULTS_BINARY").unwrap_or_else(built).into()
    });
    &BINARY
}

/// What `longbow` prints as JSON.
pub fn longbow(cluster: &Cluster, line: &[&str]) -> Value {
    let output = Command::new(binary())
        .args(line)
        .args(["--json", "--endpoint"])
        .arg(cluster.endpoints().join(","))
        .output()
        .unwrap();
    assert!(output.status.success(), "{line:?}: {output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

static SMALL: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());

/// One keeper, one shard and one router, shared by the tests that run at the same time; the last one stops it.
pub fn small_cluster() -> Arc<Cluster> {
    let mut slot = SMALL.lock().expect("no test panics while it starts the cluster");
    if let Some(cluster) = slot.upgrade() {
        return cluster;
    }
    let cluster = Arc::new(Cluster::start(binary(), Shape::SMALLEST).expect("the cluster starts"));
    *slot = Arc::downgrade(&cluster);
    cluster
}

/// Two shards that write a snapshot after nearly every write, so that files from before and after a change of the schema are
/// opened again, and two routers.
pub fn snapshotting_cluster() -> Cluster {
    let shape = Shape {
        keepers: 1,
        shards: 2,
        routers: 2,
    };
    let env = [("LONGBOW_SHARD_SNAPSHOT_EVERY".to_owned(), "1024".to_owned())];
    Cluster::start_with(binary(), shape, &env).unwrap()
}
