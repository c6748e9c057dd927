//! Following the catalogue over keepers that come and go, and a shard when none is left.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use longbow_node::{
    catalogue_watch::CatalogueWatch,
    rpc::{self, ClusterAuth, Peers},
    shutdown::Shutdown,
};
use longbow_types::{ErrorCode, Role};
use longbow_wire::internal::{
    AppendRequest, AppendResponse, GetKeeperStatusRequest, GetKeeperStatusResponse, RaftRequest,
    RaftResponse, ReadIndexRequest, ReadIndexResponse, ResetKeeperLatchRequest, ResetKeeperLatchResponse,
    TailRequest, TailResponse,
    keeper_service_server::{KeeperService, KeeperServiceServer},
};
use longbow_wire::internal::{
    Catalogue, FetchRowsRequest, FetchRowsResponse, GetShardStatusRequest, GetShardStatusResponse,
    LatchRegister, ScanPartitionsRequest, ScanPartitionsResponse, SearchPartitionsRequest,
    SearchPartitionsResponse, WaitAppliedRequest, WaitAppliedResponse, WatchCatalogueRequest,
    WatchCatalogueResponse, WatchShardCatalogueRequest,
    shard_service_server::{ShardService, ShardServiceServer},
};
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming, service::Routes};

use crate::support::{Node, PATIENCE, SECRET, alive, identity, node, settings, start, until};

/// Serves whatever catalogue it is given, as a keeper or as a shard.
#[derive(Clone)]
struct Source {
    views: watch::Receiver<WatchCatalogueResponse>,
    /// Index of the last view that a follower took.
    taken: Arc<AtomicU64>,
}

type Views = ReceiverStream<Result<WatchCatalogueResponse, Status>>;

impl Source {
    fn stream(&self) -> Response<Views> {
        let (send, stream) = mpsc::channel(1);
        let (mut views, taken) = (self.views.clone(), self.taken.clone());
        tokio::spawn(async move {
            loop {
                let view = views.borrow_and_update().clone();
                let index = view
                    .catalogue
                    .as_ref()
                    .map_or(0, |catalogue| catalogue.applied_index);
                if send.send(Ok(view)).await.is_err() {
                    return;
                }
                taken.store(index, Ordering::SeqCst);
                tokio::select! {
                    changed = views.changed() => if changed.is_err() { return },
                    () = send.closed() => return,
                }
            }
        });
        Response::new(ReceiverStream::new(stream))
    }
}

fn absent<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("not here"))
}

#[tonic::async_trait]
impl KeeperService for Source {
    type TailStream = ReceiverStream<Result<TailResponse, Status>>;
    type WatchCatalogueStream = Views;

    async fn watch_catalogue(&self, _: Request<WatchCatalogueRequest>) -> Result<Response<Views>, Status> {
        Ok(self.stream())
    }
    async fn append(&self, _: Request<AppendRequest>) -> Result<Response<AppendResponse>, Status> {
        absent()
    }
    async fn read_index(&self, _: Request<ReadIndexRequest>) -> Result<Response<ReadIndexResponse>, Status> {
        absent()
    }
    async fn tail(&self, _: Request<TailRequest>) -> Result<Response<Self::TailStream>, Status> {
        absent()
    }
    async fn raft(&self, _: Request<Streaming<RaftRequest>>) -> Result<Response<RaftResponse>, Status> {
        absent()
    }
    async fn get_keeper_status(
        &self,
        _: Request<GetKeeperStatusRequest>,
    ) -> Result<Response<GetKeeperStatusResponse>, Status> {
        absent()
    }
    async fn reset_keeper_latch(
        &self,
        _: Request<ResetKeeperLatchRequest>,
    ) -> Result<Response<ResetKeeperLatchResponse>, Status> {
        absent()
    }

    async fn change_keepers(
        &self,
        _: Request<longbow_wire::internal::ChangeKeepersRequest>,
    ) -> Result<Response<longbow_wire::internal::ChangeKeepersResponse>, Status> {
        absent()
    }

    async fn report_durable(
        &self,
        _: Request<longbow_wire::internal::ReportDurableRequest>,
    ) -> Result<Response<longbow_wire::internal::ReportDurableResponse>, Status> {
        absent()
    }

    async fn get_catalogue(
        &self,
        _: Request<longbow_wire::internal::GetCatalogueRequest>,
    ) -> Result<Response<longbow_wire::internal::GetCatalogueResponse>, Status> {
        absent()
    }

    async fn install_snapshot(
        &self,
        _: Request<tonic::Streaming<longbow_wire::internal::InstallSnapshotRequest>>,
    ) -> Result<Response<longbow_wire::internal::InstallSnapshotResponse>, Status> {
        absent()
    }
}

#[tonic::async_trait]
impl ShardService for Source {
    type ScanPartitionsStream = ReceiverStream<Result<ScanPartitionsResponse, Status>>;
    type WatchShardCatalogueStream = Views;

    async fn watch_shard_catalogue(
        &self,
        _: Request<WatchShardCatalogueRequest>,
    ) -> Result<Response<Views>, Status> {
        Ok(self.stream())
    }
    async fn search_partitions(
        &self,
        _: Request<SearchPartitionsRequest>,
    ) -> Result<Response<SearchPartitionsResponse>, Status> {
        absent()
    }
    async fn fetch_rows(&self, _: Request<FetchRowsRequest>) -> Result<Response<FetchRowsResponse>, Status> {
        absent()
    }
    async fn scan_partitions(
        &self,
        _: Request<ScanPartitionsRequest>,
    ) -> Result<Response<Self::ScanPartitionsStream>, Status> {
        absent()
    }
    async fn wait_applied(
        &self,
        _: Request<WaitAppliedRequest>,
    ) -> Result<Response<WaitAppliedResponse>, Status> {
        absent()
    }
    async fn get_shard_status(
        &self,
        _: Request<GetShardStatusRequest>,
    ) -> Result<Response<GetShardStatusResponse>, Status> {
        absent()
    }
}

struct Served {
    publish: watch::Sender<WatchCatalogueResponse>,
    taken: Arc<AtomicU64>,
    stop: Shutdown,
    _gossip: Node,
}

async fn serve(name: &str, role: Role, seed: SocketAddr, index: u64) -> Served {
    let (publish, views) = watch::channel(view(index, "k0"));
    let taken = Arc::<AtomicU64>::default();
    let source = Source {
        views,
        taken: taken.clone(),
    };
    let routes = match role {
        Role::WalKeeper => Routes::new(KeeperServiceServer::new(source)),
        _ => Routes::new(ShardServiceServer::new(source)),
    };
    let (listener, addr) = rpc::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let stop = Shutdown::new();
    let own = identity(name, role, 1);
    let auth = ClusterAuth::new(&own, SECRET.as_bytes());
    tokio::spawn(rpc::serve(
        listener,
        routes,
        Some(auth),
        stop.clone(),
        Duration::ZERO,
    ));
    let mut joining = settings();
    joining.set("gossip.seeds", seed);
    Served {
        publish,
        taken,
        stop,
        _gossip: start(&joining, own, addr).await,
    }
}

fn view(index: u64, leader: &str) -> WatchCatalogueResponse {
    let catalogue = Catalogue {
        applied_index: index,
        map_epoch: 1,
        ..Default::default()
    };
    WatchCatalogueResponse {
        catalogue: Some(catalogue),
        leader: leader.to_owned(),
        latch: Some(LatchRegister::default()),
        incarnation: 1,
    }
}

fn watch_from(router: &Node, stop: &Shutdown) -> CatalogueWatch {
    let auth = ClusterAuth::new(&identity("router", Role::Router, 1), SECRET.as_bytes());
    CatalogueWatch::start(Peers::new(auth), router.gossip.clone(), stop.clone())
}

fn soon() -> Option<Instant> {
    Some(Instant::now() + PATIENCE)
}

#[tokio::test]
async fn keepers_are_followed_over_failures_then_a_shard_then_keepers_again() {
    let router = node(&settings(), "router", 1).await;
    let (seed, stop) = (router.gossip.local_addr(), Shutdown::new());
    let watch = watch_from(&router, &stop);
    assert!(watch.current().is_none());

    let k0 = serve("k0", Role::WalKeeper, seed, 5).await;
    let seen = watch.wait_for_index(5, soon()).await.unwrap();
    assert_eq!(seen.leader.as_ref().map(|leader| leader.as_str()), Some("k0"));
    k0.publish.send_replace(view(6, "k0"));
    watch.wait_for_index(6, soon()).await.unwrap();

    // The keeper dies; another takes over.
    k0.stop.trigger();
    let k1 = serve("k1", Role::WalKeeper, seed, 7).await;
    watch.wait_for_index(7, soon()).await.unwrap();

    // No keeper is left; a shard has applied more.
    k1.stop.trigger();
    let shard = serve("shard", Role::Shard, seed, 8).await;
    watch.wait_for_index(8, soon()).await.unwrap();
    shard.publish.send_replace(view(9, ""));
    watch.wait_for_index(9, soon()).await.unwrap();

    // A keeper comes back, behind at first: the view does not go back with it, then goes on.
    let k2 = serve("k2", Role::WalKeeper, seed, 2).await;
    until(&router.gossip, |members| alive(members) >= 2).await;
    k2.publish.send_replace(view(10, "k2"));
    let seen = watch.wait_for_index(10, soon()).await.unwrap();
    assert_eq!(seen.leader.as_ref().map(|leader| leader.as_str()), Some("k2"));
}

#[tokio::test]
async fn a_view_never_goes_back() {
    let router = node(&settings(), "router", 1).await;
    let stop = Shutdown::new();
    let watch = watch_from(&router, &stop);
    let keeper = serve("k0", Role::WalKeeper, router.gossip.local_addr(), 5).await;
    watch.wait_for_index(5, soon()).await.unwrap();
    let mut changes = watch.changed();
    changes.mark_unchanged();
    keeper.publish.send_replace(view(3, "liar"));
    let taken = async {
        while keeper.taken.load(Ordering::SeqCst) != 3 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, taken)
        .await
        .expect("the follower takes the older view");
    // The next message comes after it in the same stream.
    keeper.publish.send_replace(view(5, "k1"));
    timeout(PATIENCE, changes.changed()).await.unwrap().unwrap();
    // Had the older view been published, it would have been the first change.
    let seen = watch.current().unwrap();
    assert_eq!(
        (
            seen.catalogue.applied_index(),
            seen.leader.as_ref().map(|l| l.as_str())
        ),
        (5, Some("k1"))
    );
}

#[tokio::test]
async fn waiting_ends_at_the_deadline_and_at_the_shutdown() {
    let router = node(&settings(), "router", 1).await;
    let stop = Shutdown::new();
    let watch = watch_from(&router, &stop);
    let soon = Some(Instant::now() + Duration::from_millis(50));
    assert_eq!(
        watch.wait_for_index(1, soon).await.unwrap_err().code,
        ErrorCode::DeadlineExceeded
    );
    let waiting = tokio::spawn({
        let watch = watch.clone();
        async move { watch.wait_for_index(1, None).await }
    });
    stop.trigger();
    let error = timeout(PATIENCE, waiting).await.unwrap().unwrap().unwrap_err();
    assert_eq!(error.code, ErrorCode::Stopping);
}
