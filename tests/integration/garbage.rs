//! Garbage on every port of every role harms nobody.

use std::net::SocketAddr;

use longbow_harness::{
    check,
    cluster::{Cluster, Shape},
    load::{Load, create_dataset},
};
use rand::{Rng, RngCore, SeedableRng, rngs::SmallRng};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::{Duration, timeout},
};

use crate::shared::binary;

const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_port_survives_garbage() {
    let cluster = Cluster::start(
        binary(),
        Shape {
            keepers: 1,
            shards: 1,
            routers: 1,
        },
    )
    .unwrap();
    let mut rng = SmallRng::seed_from_u64(99);
    for node in cluster.nodes() {
        for addr in [&node.rpc_addr, &node.http_addr] {
            for start in [&b""[..], b"GET / HTTP/1.1\r\n", H2_PREFACE] {
                throw(addr, start, &mut rng).await;
            }
        }
        datagrams(&node.gossip_addr, &mut rng).await;
    }
    for node in cluster.nodes() {
        cluster.ready(&node.id).await.unwrap();
    }
    let endpoint = cluster.endpoints()[0].clone();
    create_dataset(&endpoint, "after").await.unwrap();
    let load = Load::start(&cluster.endpoints(), "after", 1, 5).unwrap();
    load.reach(100).await.unwrap();
    let model = load.stop().await.unwrap();
    check::holds(&endpoint, "after", &model).await.unwrap();
}

/// Sends a start and random bytes, then reads until the other side has had enough.
async fn throw(addr: &str, start: &[u8], rng: &mut SmallRng) {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let mut bytes = vec![0u8; 4_096];
    rng.fill_bytes(&mut bytes);
    // The other side may hang up at any point; what matters is that it lives.
    let _ = stream.write_all(start).await;
    let _ = stream.write_all(&bytes).await;
    let mut sink = Vec::new();
    let _ = timeout(Duration::from_millis(300), stream.read_to_end(&mut sink)).await;
}

async fn datagrams(addr: &str, rng: &mut SmallRng) {
    let target: SocketAddr = addr.parse().unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for _ in 0..200 {
        let mut bytes = vec![0u8; rng.random_range(0..1_400)];
        rng.fill_bytes(&mut bytes);
        socket.send_to(&bytes, target).await.unwrap();
    }
}
