//! The client against servers that misbehave in known ways.

// Helpers outside test functions fail the test by unwrapping, too.
#![allow(clippy::unwrap_used)]

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use longbow_client::{Ack, Client, ErrorCode, Options, RetryPolicy, Row};
use longbow_types::{Error, Lsn, Token};
use longbow_wire::{
    convert::status::to_status,
    v1::{
        self,
        write_service_server::{WriteService, WriteServiceServer},
    },
};
use tonic::{Request, Response, Status};

/// Refuses the first `refusals` calls with `error`, then answers. Keeps count and the last deadline seen.
struct Writes {
    calls: AtomicUsize,
    refusals: usize,
    error: Error,
    key: Option<&'static str>,
    hang: bool,
}

impl Writes {
    fn refusing(refusals: usize, code: ErrorCode) -> Arc<Self> {
        Arc::new(Self {
            calls: AtomicUsize::new(0),
            refusals,
            error: Error::new(code, "not now").field("somewhere"),
            key: None,
            hang: false,
        })
    }
}

struct Service(Arc<Writes>);

#[tonic::async_trait]
impl WriteService for Service {
    async fn upsert(
        &self,
        request: Request<v1::UpsertRequest>,
    ) -> Result<Response<v1::UpsertResponse>, Status> {
        let call = self.0.calls.fetch_add(1, Ordering::SeqCst);
        assert!(request.metadata().get("grpc-timeout").is_some());
        let header = request.metadata().get("authorization");
        let wanted = self.0.key.map(|key| format!("Bearer {key}"));
        assert_eq!(header.map(|value| value.to_str().unwrap().to_owned()), wanted);
        if self.0.hang {
            std::future::pending::<()>().await;
        }
        if call < self.0.refusals {
            return Err(to_status(&self.0.error));
        }
        let token = Token::of(Lsn {
            group: 0,
            incarnation: 1,
            index: call as u64,
        });
        Ok(Response::new(v1::UpsertResponse {
            token: token.to_string(),
            ack: v1::AckLevel::Logged as i32,
            rows: 1,
            ..v1::UpsertResponse::default()
        }))
    }

    async fn update(&self, _: Request<v1::UpdateRequest>) -> Result<Response<v1::UpdateResponse>, Status> {
        Err(Status::unimplemented("not part of this test"))
    }

    async fn delete(&self, _: Request<v1::DeleteRequest>) -> Result<Response<v1::DeleteResponse>, Status> {
        Err(Status::unimplemented("not part of this test"))
    }
}

async fn serve(writes: &Arc<Writes>) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let incoming = tonic::transport::server::TcpIncoming::from(listener);
    let service = WriteServiceServer::new(Service(Arc::clone(writes)));
    let server = tonic::transport::Server::builder().add_service(service);
    tokio::spawn(server.serve_with_incoming(incoming));
    address
}

fn options() -> Options {
    Options {
        timeout: Duration::from_secs(20),
        retry: RetryPolicy {
            pause_min: Duration::from_millis(1),
            pause_max: Duration::from_millis(5),
            ..RetryPolicy::default()
        },
        ..Options::default()
    }
}

fn client(addresses: &[SocketAddr], options: Options) -> Client {
    Client::lazy(
        addresses.iter().map(|address| format!("http://{address}")),
        options,
    )
    .unwrap()
}

fn row() -> Row {
    Row::new(1_u64).vector(vec![1.0])
}

/// An address at which nobody listens.
fn nobody() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

#[tokio::test]
async fn refusals_that_pass_are_waited_out() {
    let writes = Writes::refusing(3, ErrorCode::NoLeader);
    let client = client(&[serve(&writes).await], options());
    let written = client.dataset("d").upsert([row()]).await.unwrap();
    assert_eq!(written.ack, Ack::Logged);
    assert_eq!(written.token.in_group(0).unwrap().index, 3);
    assert_eq!(writes.calls.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn refusals_that_stay_come_back_whole_and_at_once() {
    let writes = Writes::refusing(usize::MAX, ErrorCode::DimensionMismatch);
    let client = client(&[serve(&writes).await], options());
    let error = client.dataset("d").upsert([row()]).await.unwrap_err();
    assert_eq!(error, writes.error);
    assert_eq!(writes.calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn retries_end() {
    let writes = Writes::refusing(usize::MAX, ErrorCode::NoLeader);
    let client = client(&[serve(&writes).await], options());
    let error = client.dataset("d").upsert([row()]).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::NoLeader);
    assert_eq!(writes.calls.load(Ordering::SeqCst), 11);
}

#[tokio::test]
async fn a_dead_router_is_passed_over_even_without_retries_left_to_pause() {
    let writes = Writes::refusing(0, ErrorCode::NoLeader);
    let alive = serve(&writes).await;
    let client = client(&[nobody(), nobody(), alive], options());
    let dataset = client.dataset("d");
    for call in 1..=5 {
        dataset.upsert([row()]).await.unwrap();
        assert_eq!(writes.calls.load(Ordering::SeqCst), call);
    }
}

#[tokio::test]
async fn every_router_is_tried_even_where_no_retry_is_allowed() {
    let writes = Writes::refusing(0, ErrorCode::NoLeader);
    let alive = serve(&writes).await;
    let mut options = options();
    options.retry = RetryPolicy::none();
    let client = client(&[nobody(), nobody(), nobody(), alive], options);
    client.dataset("d").upsert([row()]).await.unwrap();
}

/// A router that is frozen: the kernel takes connections, nobody reads them.
fn frozen() -> (std::net::TcpListener, SocketAddr) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[tokio::test]
async fn a_frozen_router_is_found_out_before_the_call_fails() {
    let writes = Writes::refusing(0, ErrorCode::NoLeader);
    let (_held, silent) = frozen();
    let alive = serve(&writes).await;
    let client = client(&[silent, alive], options().timeout(Duration::from_secs(8)));
    let dataset = client.dataset("d");
    for call in 1..=5 {
        dataset.upsert([row()]).await.unwrap();
        assert_eq!(writes.calls.load(Ordering::SeqCst), call);
    }
}

#[tokio::test]
async fn the_call_after_one_that_was_too_late_goes_elsewhere() {
    let mut hangs = Writes::refusing(0, ErrorCode::NoLeader);
    Arc::get_mut(&mut hangs).unwrap().hang = true;
    let writes = Writes::refusing(0, ErrorCode::NoLeader);
    let addresses = [serve(&hangs).await, serve(&writes).await];
    let client = client(&addresses, options().timeout(Duration::from_secs(1)));
    let error = client.dataset("d").upsert([row()]).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::DeadlineExceeded, "{error}");
    client.dataset("d").upsert([row()]).await.unwrap();
}

#[tokio::test]
async fn no_timeout_is_too_long() {
    let writes = Writes::refusing(1, ErrorCode::NoLeader);
    let mut options = options().timeout(Duration::MAX);
    options.connect_timeout = Duration::MAX;
    let client = client(&[serve(&writes).await], options);
    client.dataset("d").upsert([row()]).await.unwrap();
}

#[tokio::test]
async fn nobody_there_is_an_error_that_names_the_address() {
    let address = nobody();
    let mut options = options();
    options.retry.retries_max = 2;
    let error = Client::connect([format!("http://{address}")], options)
        .await
        .unwrap_err();
    assert_eq!(error.code, ErrorCode::Unreachable);
    assert!(error.message.contains(&address.to_string()), "{error}");
}

#[tokio::test]
async fn the_deadline_holds_against_a_server_that_hangs() {
    let mut writes = Writes::refusing(0, ErrorCode::NoLeader);
    Arc::get_mut(&mut writes).unwrap().hang = true;
    let client = client(
        &[serve(&writes).await],
        options().timeout(Duration::from_millis(200)),
    );
    let started = Instant::now();
    let error = client.dataset("d").upsert([row()]).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::DeadlineExceeded, "{error}");
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn the_key_goes_along() {
    let mut writes = Writes::refusing(0, ErrorCode::NoLeader);
    Arc::get_mut(&mut writes).unwrap().key = Some("s3cret");
    let client = client(&[serve(&writes).await], options().api_key("s3cret"));
    client.dataset("d").upsert([row()]).await.unwrap();
}

#[tokio::test]
async fn something_else_at_the_address_is_an_error_too() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let _ =
                tokio::io::AsyncWriteExt::write_all(&mut socket, b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let client = client(&[address], options());
    let error = client.dataset("d").upsert([row()]).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Unreachable, "{error}");
}

#[tokio::test]
async fn a_server_that_does_not_know_the_call_is_named() {
    let writes = Writes::refusing(0, ErrorCode::NoLeader);
    let address = serve(&writes).await;
    let error = client(&[address], options()).status().await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Unsupported);
    assert!(error.message.contains(&address.to_string()), "{error}");
}
