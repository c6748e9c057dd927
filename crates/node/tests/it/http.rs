//! The operators' port, spoken to in plain HTTP/1.1.

use longbow_node::{
    http::{self, Readiness},
    shutdown::Shutdown,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::support::PATIENCE;

async fn get(addr: std::net::SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer))
        .await
        .unwrap()
        .unwrap();
    answer
}

#[tokio::test]
async fn readiness_is_told_with_its_reason() {
    let (readiness, shutdown) = (Readiness::new(), Shutdown::new());
    let addr = http::serve(
        "127.0.0.1:0".parse().unwrap(),
        readiness.clone(),
        shutdown.clone(),
    )
    .await
    .unwrap();
    assert!(get(addr, "/healthz").await.starts_with("HTTP/1.1 200"));
    let answer = get(addr, "/readyz").await;
    assert!(
        answer.starts_with("HTTP/1.1 503") && answer.ends_with("not ready: starting\n"),
        "{answer}"
    );

    let waiting = tokio::spawn({
        let readiness = readiness.clone();
        async move { readiness.ready().await }
    });
    readiness.set(true, "");
    timeout(PATIENCE, waiting).await.unwrap().unwrap();
    let answer = get(addr, "/readyz").await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("ready\n"),
        "{answer}"
    );

    metrics::counter!("longbow_http_test_total").increment(3);
    let answer = get(addr, "/metrics").await;
    assert!(answer.contains("text/plain; version=0.0.4"), "{answer}");
    assert!(answer.contains("longbow_http_test_total 3"), "{answer}");

    let taken = http::serve(addr, readiness, shutdown.clone()).await.unwrap_err();
    assert_eq!(taken.field.as_deref(), Some("http.listen_addr"));
    shutdown.trigger();
    let gone = async {
        while TcpStream::connect(addr).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, gone).await.expect("the port closes");
}
