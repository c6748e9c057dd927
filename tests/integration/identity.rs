//! Who may join: addresses are advertised apart from where they are bound, and strangers are refused.

use std::path::Path;

use anyhow::ensure;
use longbow_harness::{
    cluster::{Cluster, Node, PATIENCE, Shape},
    load::channel,
    process::Process,
    wait,
};
use longbow_wire::v1::{self, cluster_service_client::ClusterServiceClient};
use tempfile::TempDir;

use crate::shared::{binary, small_cluster};

async fn status(endpoint: &str) -> v1::GetClusterStatusResponse {
    let mut client = ClusterServiceClient::new(channel(endpoint).unwrap());
    client
        .get_cluster_status(v1::GetClusterStatusRequest {})
        .await
        .unwrap()
        .into_inner()
}

/// A further router beside those of a cluster: the argv of an existing one with some settings replaced.
fn another_router(like: &Node, dir: &Path, changes: &[(&str, &str)]) -> Vec<String> {
    let mut argv = Vec::new();
    let replaced = [
        "--node-id",
        "--data-path",
        "--router-listen-addr",
        "--router-meta-addr",
        "--http-listen-addr",
        "--gossip-listen-addr",
        "--gossip-advertise-addr",
        "--rpc-listen-addr",
        "--rpc-advertise-addr",
    ];
    let mut words = like.argv.iter();
    while let Some(word) = words.next() {
        let flag = word.split('=').next().unwrap_or(word);
        let change = changes.iter().any(|(name, _)| *name == flag);
        if replaced.contains(&flag) || change {
            if !word.contains('=') {
                words.next();
            }
        } else {
            argv.push(word.clone());
        }
    }
    let data = dir.join("router").display().to_string();
    let own = [
        ("--node-id", "stranger"),
        ("--data-path", &data),
        ("--router-listen-addr", "127.0.0.1:0"),
        ("--router-meta-addr", "127.0.0.1:0"),
        ("--http-listen-addr", "127.0.0.1:0"),
        ("--gossip-listen-addr", "127.0.0.1:0"),
    ];
    for (flag, value) in own
        .iter()
        .filter(|(flag, _)| changes.iter().all(|(name, _)| name != flag))
    {
        argv.extend([(*flag).to_owned(), (*value).to_owned()]);
    }
    for (flag, value) in changes {
        argv.extend([(*flag).to_owned(), (*value).to_owned()]);
    }
    argv
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_reached_where_it_advertises() {
    let cluster = Cluster::start(binary(), Shape::SMALLEST).unwrap();
    let dir = TempDir::new().unwrap();
    let router = cluster.of_role("router").next().unwrap();
    let gossip = "127.0.0.1:0";
    let free = std::net::UdpSocket::bind(gossip)
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let (bound, advertised) = (format!("0.0.0.0:{free}"), format!("127.0.0.77:{free}"));
    let argv = another_router(
        router,
        dir.path(),
        &[
            ("--gossip-listen-addr", &bound),
            ("--gossip-advertise-addr", &advertised),
            ("--rpc-advertise-addr", "127.0.0.78:4321"),
        ],
    );
    let process = Process::start(&argv, &[], &dir.path().join("log")).unwrap();
    let endpoint = &cluster.endpoints()[0];
    wait::until("the node to be seen where it advertises", PATIENCE, || async {
        let nodes = status(endpoint).await.nodes;
        let seen = nodes.iter().find(|node| node.node_id == "stranger");
        let seen = seen.ok_or_else(|| anyhow::anyhow!("not seen:\n{}", process.log()))?;
        ensure!(seen.gossip_addr == advertised, "seen at {}", seen.gossip_addr);
        ensure!(seen.rpc_addr == "127.0.0.78:4321", "seen at {}", seen.rpc_addr);
        ensure!(seen.state() == v1::NodeState::Alive, "it is {:?}", seen.state());
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_another_cluster_is_not_let_in() {
    let cluster = small_cluster();
    let router = cluster.of_role("router").next().unwrap();
    let endpoint = &cluster.endpoints()[0];
    let seed = cluster.of_role("wal-keeper").next().unwrap().id.clone();
    for (what, change) in [
        ("another cluster id", ("--cluster-id", "somewhere-else")),
        (
            "another secret",
            ("--cluster-secret", "0123456789abcdef0123456789abcdef"),
        ),
    ] {
        let dir = TempDir::new().unwrap();
        let argv = another_router(router, dir.path(), &[change]);
        let mut process = Process::start(&argv, &[], &dir.path().join("log")).unwrap();
        wait::until(&format!("a node with {what} to be refused"), PATIENCE, || async {
            let (own, theirs) = (process.log(), cluster.log(&seed)?);
            ensure!(own.contains("no seed has answered"), "the stranger says:\n{own}");
            ensure!(
                theirs.contains("or is of another cluster"),
                "the seed says:\n{theirs}"
            );
            Ok(())
        })
        .await
        .unwrap();
        let nodes = status(endpoint).await.nodes;
        assert!(
            nodes.iter().all(|node| node.node_id != "stranger"),
            "{what}: {nodes:?}"
        );
        process.kill().unwrap();
    }
    for node in cluster.nodes() {
        cluster.ready(&node.id).await.unwrap();
    }
}
