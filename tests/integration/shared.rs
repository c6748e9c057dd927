//! What the tests share: the binary, and one small cluster for those that only send requests.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex, Weak},
};

use longbow_harness::cluster::{Cluster, Shape};
use tempfile::TempDir;

/// The binary under test.
pub fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_longbow"))
}

/// Builds a library that hurts disks, of the source of this name in `shim/`.
pub fn shim(dir: &TempDir, name: &str) -> PathBuf {
    let library = dir.path().join(format!("{name}.so"));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/integration/shim");
    let status = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library)
        .arg(folder.join(format!("{name}.c")))
        .arg("-ldl")
        .status()
        .expect("a C compiler is there, as the build needs one too");
    assert!(status.success());
    library
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
