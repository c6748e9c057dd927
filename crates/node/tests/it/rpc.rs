//! Authentication, deadlines, draining and measuring over a real server.

use std::{
    net::SocketAddr,
    sync::Arc,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use longbow_node::{
    identity::Identity,
    rpc::{self, ClusterAuth, Peers, deadline},
    shutdown::Shutdown,
    telemetry,
};
use longbow_types::{Error, ErrorCode, Role};
use longbow_wire::{
    convert::status::from_status,
    internal::{
        FetchRowsRequest, FetchRowsResponse, GetShardStatusRequest, GetShardStatusResponse,
        ScanPartitionsRequest, ScanPartitionsResponse, SearchPartitionsRequest, SearchPartitionsResponse,
        WaitAppliedRequest, WaitAppliedResponse, WatchCatalogueResponse, WatchShardCatalogueRequest,
        shard_service_client::ShardServiceClient,
        shard_service_server::{ShardService, ShardServiceServer},
    },
};
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, service::Routes};

use crate::support::{PATIENCE, SECRET, identity};

/// A shard that answers with what it was told.
#[derive(Clone, Default)]
struct Probe {
    waiting: Arc<AtomicUsize>,
}

#[tonic::async_trait]
impl ShardService for Probe {
    type ScanPartitionsStream = ReceiverStream<Result<ScanPartitionsResponse, Status>>;
    type WatchShardCatalogueStream = ReceiverStream<Result<WatchCatalogueResponse, Status>>;

    /// Tells who called.
    async fn get_shard_status(
        &self,
        request: Request<GetShardStatusRequest>,
    ) -> Result<Response<GetShardStatusResponse>, Status> {
        let caller = rpc::require(&request, &[Role::Router])?;
        assert_eq!(caller.node_id.as_str(), "caller");
        Ok(Response::new(GetShardStatusResponse::default()))
    }

    /// Tells how many milliseconds are left, in `k`'s place.
    async fn search_partitions(
        &self,
        request: Request<SearchPartitionsRequest>,
    ) -> Result<Response<SearchPartitionsResponse>, Status> {
        let left = deadline::of(request.metadata()).map(deadline::remaining);
        let text = left.map_or("none".to_owned(), |left| left.as_millis().to_string());
        Ok(Response::new(SearchPartitionsResponse {
            arrow_ipc: text.into(),
            ..SearchPartitionsResponse::default()
        }))
    }

    async fn fetch_rows(&self, _: Request<FetchRowsRequest>) -> Result<Response<FetchRowsResponse>, Status> {
        Err(Status::not_found("no rows"))
    }

    async fn scan_partitions(
        &self,
        _: Request<ScanPartitionsRequest>,
    ) -> Result<Response<Self::ScanPartitionsStream>, Status> {
        Err(Status::unimplemented("not here"))
    }

    /// Never answers.
    async fn wait_applied(
        &self,
        _: Request<WaitAppliedRequest>,
    ) -> Result<Response<WaitAppliedResponse>, Status> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        std::future::pending().await
    }

    /// One message, then silence for ever.
    async fn watch_shard_catalogue(
        &self,
        _: Request<WatchShardCatalogueRequest>,
    ) -> Result<Response<Self::WatchShardCatalogueStream>, Status> {
        let (send, stream) = mpsc::channel(1);
        send.try_send(Ok(WatchCatalogueResponse::default()))
            .expect("there is room for one");
        tokio::spawn(async move { send.closed().await });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

struct Server {
    addr: SocketAddr,
    probe: Probe,
    shutdown: Shutdown,
    serving: JoinHandle<Result<(), Error>>,
}

async fn serve(drain: Duration) -> Server {
    let auth = ClusterAuth::new(&identity("shard", Role::Shard, 1), SECRET.as_bytes());
    let (listener, addr) = rpc::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let (probe, shutdown) = (Probe::default(), Shutdown::new());
    let routes = Routes::new(ShardServiceServer::new(probe.clone()));
    let serving = tokio::spawn(rpc::serve(listener, routes, Some(auth), shutdown.clone(), drain));
    Server {
        addr,
        probe,
        shutdown,
        serving,
    }
}

fn client(identity: &Identity, secret: &str, addr: SocketAddr) -> ShardServiceClient<rpc::AuthedChannel> {
    ShardServiceClient::new(Peers::new(ClusterAuth::new(identity, secret.as_bytes())).channel(addr))
}

async fn refusal(identity: &Identity, secret: &str, addr: SocketAddr) -> Error {
    let answer = client(identity, secret, addr)
        .get_shard_status(GetShardStatusRequest {})
        .await;
    from_status(&answer.unwrap_err())
}

#[tokio::test]
async fn only_the_right_callers_get_in() {
    let server = serve(Duration::ZERO).await;
    let router = identity("caller", Role::Router, 1);
    client(&router, SECRET, server.addr)
        .get_shard_status(GetShardStatusRequest {})
        .await
        .unwrap();

    let wrong_secret = refusal(&router, "another secret!!", server.addr).await;
    assert_eq!(wrong_secret.code, ErrorCode::Unauthenticated);
    let elsewhere = Identity {
        cluster_id: "other".parse().unwrap(),
        ..router.clone()
    };
    let wrong_cluster = refusal(&elsewhere, SECRET, server.addr).await;
    assert_eq!(wrong_cluster.code, ErrorCode::WrongCluster);
    assert!(
        !wrong_cluster.to_string().contains("test"),
        "a stranger learns the cluster's id: {wrong_cluster}"
    );
    let keeper = identity("caller", Role::WalKeeper, 1);
    let wrong_role = refusal(&keeper, SECRET, server.addr).await;
    assert_eq!(
        (wrong_role.code, wrong_role.limit.as_deref()),
        (ErrorCode::RoleNotAllowed, Some("router"))
    );

    let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", server.addr))
        .unwrap()
        .connect_lazy();
    let nobody = ShardServiceClient::new(channel)
        .get_shard_status(GetShardStatusRequest {})
        .await
        .unwrap_err();
    assert_eq!(from_status(&nobody).code, ErrorCode::Unauthenticated);
}

#[tokio::test]
async fn a_proof_is_good_for_one_method_role_and_node() {
    const STATUS: &str = "/longbow.internal.v1.ShardService/GetShardStatus";
    let server = serve(Duration::ZERO).await;
    let auth = ClusterAuth::new(&identity("caller", Role::Router, 1), SECRET.as_bytes());
    let call = async |signed: &str, role: Option<&str>, node: Option<&str>| {
        let mut headers = http::HeaderMap::new();
        auth.sign(signed, &mut headers);
        role.map(|role| headers.insert("longbow-role", role.parse().unwrap()));
        node.map(|node| headers.insert("longbow-node", node.parse().unwrap()));
        let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", server.addr)).unwrap();
        let mut request = Request::new(GetShardStatusRequest {});
        *request.metadata_mut() = tonic::metadata::MetadataMap::from_headers(headers);
        let answer = ShardServiceClient::new(channel.connect_lazy())
            .get_shard_status(request)
            .await;
        answer.map(drop).map_err(|status| from_status(&status).code)
    };
    assert_eq!(call(STATUS, None, None).await, Ok(()));
    let refused = Err(ErrorCode::Unauthenticated);
    assert_eq!(
        call("/longbow.internal.v1.ShardService/FetchRows", None, None).await,
        refused
    );
    assert_eq!(call(STATUS, Some("wal-keeper"), None).await, refused);
    assert_eq!(call(STATUS, Some("emperor"), None).await, refused);
    assert_eq!(call(STATUS, None, Some("another")).await, refused);
}

#[tokio::test]
async fn the_time_left_travels() {
    let server = serve(Duration::ZERO).await;
    let mut client = client(&identity("caller", Role::Router, 1), SECRET, server.addr);
    let mut ask = async |left: Option<Duration>| {
        let mut request = Request::new(SearchPartitionsRequest::default());
        deadline::apply(&mut request, left.map(|left| Instant::now() + left));
        let answer = client.search_partitions(request).await.unwrap().into_inner();
        String::from_utf8(answer.arrow_ipc.to_vec()).unwrap()
    };
    assert_eq!(ask(None).await, "none");
    let left: u64 = ask(Some(PATIENCE)).await.parse().unwrap();
    assert!(left <= 30_000 && left > 20_000, "{left} ms");

    let mut late = Request::new(WaitAppliedRequest::default());
    deadline::apply(&mut late, Some(Instant::now() + Duration::from_millis(50)));
    let status = timeout(PATIENCE, client.wait_applied(late))
        .await
        .unwrap()
        .unwrap_err();
    assert!(
        matches!(
            status.code(),
            tonic::Code::DeadlineExceeded | tonic::Code::Cancelled
        ),
        "{status}"
    );
}

#[tokio::test]
async fn a_shutdown_waits_for_the_drain_and_no_longer() {
    let server = serve(Duration::from_millis(100)).await;
    let mut client = client(&identity("caller", Role::Router, 1), SECRET, server.addr);
    let mut stream = client
        .watch_shard_catalogue(WatchShardCatalogueRequest {})
        .await
        .unwrap()
        .into_inner();
    assert!(stream.message().await.unwrap().is_some());
    let mut waiting_client = client.clone();
    let waiting =
        tokio::spawn(async move { waiting_client.wait_applied(WaitAppliedRequest::default()).await });
    let arrived = async {
        while server.probe.waiting.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, arrived).await.unwrap();

    server.shutdown.trigger();
    timeout(PATIENCE, server.serving)
        .await
        .expect("the drain is bounded")
        .unwrap()
        .unwrap();
    // Nothing is left behind: the call and the stream both break.
    timeout(PATIENCE, waiting).await.unwrap().unwrap().unwrap_err();
    let end = timeout(PATIENCE, stream.message()).await.unwrap();
    assert!(!matches!(end, Ok(Some(_))), "{end:?}");
    assert!(tokio::net::TcpStream::connect(server.addr).await.is_err());
}

#[tokio::test]
async fn calls_are_counted_by_method_and_code() {
    let handle = telemetry::metrics();
    let server = serve(Duration::ZERO).await;
    let mut client = client(&identity("caller", Role::Router, 1), SECRET, server.addr);
    client
        .search_partitions(SearchPartitionsRequest::default())
        .await
        .unwrap();
    client.fetch_rows(FetchRowsRequest::default()).await.unwrap_err();
    let elsewhere = Identity {
        cluster_id: "other".parse().unwrap(),
        ..identity("caller", Role::Router, 1)
    };
    for (path, identity) in [
        ("/longbow.internal.v1.ShardService/WaitApplied", &elsewhere),
        ("/invented.by.a.Stranger/Invented", &elsewhere),
        (
            "/invented.by.a.Friend/Invented",
            &identity("caller", Role::Router, 1),
        ),
    ] {
        let peers = Peers::new(ClusterAuth::new(identity, SECRET.as_bytes()));
        let mut client = tonic::client::Grpc::new(peers.channel(server.addr));
        client.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<FetchRowsRequest, FetchRowsResponse>::default();
        let request = Request::new(FetchRowsRequest::default());
        let path = http::uri::PathAndQuery::from_static(path);
        client.unary(request, path, codec).await.unwrap_err();
    }
    let path = |method: &str| format!("/longbow.internal.v1.ShardService/{method}");
    let want = [
        format!(
            "longbow_grpc_requests_total{{method=\"{}\",code=\"OK\"}}",
            path("SearchPartitions")
        ),
        format!(
            "longbow_grpc_requests_total{{method=\"{}\",code=\"NOT_FOUND\"}}",
            path("FetchRows")
        ),
        format!(
            "longbow_grpc_request_duration_seconds_count{{method=\"{}\"}}",
            path("FetchRows")
        ),
        // Of one that may not come in, and of paths that nobody serves, whoever names them.
        format!(
            "longbow_grpc_requests_total{{method=\"{}\",code=\"PERMISSION_DENIED\"}}",
            path("WaitApplied")
        ),
        "longbow_grpc_requests_total{method=\"other\",code=\"PERMISSION_DENIED\"}".to_owned(),
        "longbow_grpc_requests_total{method=\"other\",code=\"UNIMPLEMENTED\"}".to_owned(),
    ];
    let recorded = async {
        while !want.iter().all(|line| handle.render().contains(line)) {
            tokio::task::yield_now().await;
        }
    };
    assert!(
        timeout(PATIENCE, recorded).await.is_ok(),
        "{want:#?} in {}",
        handle.render()
    );
    assert!(!handle.render().contains("Invented"), "{}", handle.render());
}
