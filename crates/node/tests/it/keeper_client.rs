//! The keeper client against keepers that misbehave in every way it must bear.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use longbow_node::{
    keeper_client::KeeperClient,
    rpc::{self, ClusterAuth, Peers},
    shutdown::Shutdown,
};
use longbow_types::{Error, ErrorCode, Lsn, Role};
use longbow_wire::{
    convert::status::to_status,
    internal::{
        AppendRequest, AppendResponse, DropDatasetCommand, EntryHeader, GetKeeperStatusRequest,
        GetKeeperStatusResponse, RaftRequest, RaftResponse, ReadIndexRequest, ReadIndexResponse,
        ResetKeeperLatchRequest, ResetKeeperLatchResponse, TailRequest, TailResponse, WatchCatalogueRequest,
        WatchCatalogueResponse,
        entry_header::Command,
        keeper_service_server::{KeeperService, KeeperServiceServer},
    },
};
use prost::Message;
use tokio::sync::watch;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming, service::Routes};

use crate::support::{Node, SECRET, alive, identity, node, settings, start, until};

/// A keeper whose behaviour is set from outside.
#[derive(Clone)]
pub struct Keeper {
    name: &'static str,
    leader: Arc<watch::Sender<&'static str>>,
    /// Takes the next append and loses its answer.
    pub loses_answer: Arc<AtomicBool>,
    /// The append whose answer it loses also trips the latch.
    pub breaks: Arc<AtomicBool>,
    /// Names another keeper as the leader, whoever is asked.
    pub misleads: Arc<AtomicBool>,
    /// How often it was asked.
    pub asked: Arc<AtomicU64>,
    /// Refuses as the leader: the latch is tripped.
    pub latched: Arc<AtomicBool>,
    /// Takes calls and never answers.
    pub hangs: Arc<AtomicBool>,
    pub appended: Arc<AtomicU64>,
}

impl Keeper {
    fn refuse_unless_leader(&self) -> Result<(), Status> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut leader = *self.leader.borrow();
        if self.misleads.load(Ordering::SeqCst) {
            leader = if self.name == "k0" { "k1" } else { "k0" };
        }
        if leader == self.name {
            return Ok(());
        }
        let mut status = to_status(&Error::new(ErrorCode::NotLeader, "this keeper does not lead"));
        if !leader.is_empty() {
            status
                .metadata_mut()
                .insert("leader", leader.parse().expect("names are ASCII"));
        }
        Err(status)
    }
}

#[tonic::async_trait]
impl KeeperService for Keeper {
    type TailStream = ReceiverStream<Result<TailResponse, Status>>;
    type WatchCatalogueStream = ReceiverStream<Result<WatchCatalogueResponse, Status>>;

    async fn append(&self, _: Request<AppendRequest>) -> Result<Response<AppendResponse>, Status> {
        if self.hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        self.refuse_unless_leader()?;
        if self.latched.load(Ordering::SeqCst) {
            return Err(to_status(&Error::new(
                ErrorCode::LatchTripped,
                "writes are refused",
            )));
        }
        let index = self.appended.fetch_add(1, Ordering::SeqCst) + 1;
        if self.loses_answer.swap(false, Ordering::SeqCst) {
            let broken = self.breaks.load(Ordering::SeqCst);
            self.latched.fetch_or(broken, Ordering::SeqCst);
            return Err(Status::unavailable("connection reset"));
        }
        Ok(Response::new(AppendResponse {
            incarnation: 1,
            index,
            ..Default::default()
        }))
    }

    async fn read_index(&self, _: Request<ReadIndexRequest>) -> Result<Response<ReadIndexResponse>, Status> {
        if self.hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        self.refuse_unless_leader()?;
        Ok(Response::new(ReadIndexResponse {
            group: 0,
            incarnation: 1,
            index: 42,
        }))
    }

    async fn tail(&self, _: Request<TailRequest>) -> Result<Response<Self::TailStream>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn watch_catalogue(
        &self,
        _: Request<WatchCatalogueRequest>,
    ) -> Result<Response<Self::WatchCatalogueStream>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn raft(&self, _: Request<Streaming<RaftRequest>>) -> Result<Response<RaftResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn get_keeper_status(
        &self,
        _: Request<GetKeeperStatusRequest>,
    ) -> Result<Response<GetKeeperStatusResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn reset_keeper_latch(
        &self,
        _: Request<ResetKeeperLatchRequest>,
    ) -> Result<Response<ResetKeeperLatchResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn change_keepers(
        &self,
        _: Request<longbow_wire::internal::ChangeKeepersRequest>,
    ) -> Result<Response<longbow_wire::internal::ChangeKeepersResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn report_durable(
        &self,
        _: Request<longbow_wire::internal::ReportDurableRequest>,
    ) -> Result<Response<longbow_wire::internal::ReportDurableResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn get_catalogue(
        &self,
        _: Request<longbow_wire::internal::GetCatalogueRequest>,
    ) -> Result<Response<longbow_wire::internal::GetCatalogueResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn install_snapshot(
        &self,
        _: Request<tonic::Streaming<longbow_wire::internal::InstallSnapshotRequest>>,
    ) -> Result<Response<longbow_wire::internal::InstallSnapshotResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }
}

struct Cluster {
    router: Node,
    _gossips: Vec<Node>,
    keepers: Vec<Keeper>,
    leader: Arc<watch::Sender<&'static str>>,
    stops: Vec<Shutdown>,
    client: KeeperClient,
}

impl Cluster {
    async fn new() -> Self {
        let router = node(&settings(), "router", 1).await;
        let mut joining = settings();
        joining.set("gossip.seeds", router.gossip.local_addr());
        let leader = Arc::new(watch::Sender::new(""));
        let (mut gossips, mut keepers, mut stops) = (Vec::new(), Vec::new(), Vec::new());
        for name in ["k0", "k1", "k2"] {
            let keeper = Keeper {
                name,
                leader: leader.clone(),
                loses_answer: Arc::default(),
                breaks: Arc::default(),
                misleads: Arc::default(),
                asked: Arc::default(),
                latched: Arc::default(),
                hangs: Arc::default(),
                appended: Arc::default(),
            };
            let (addr, stop) = serve(&keeper).await;
            gossips.push(start(&joining, identity(name, Role::WalKeeper, 1), addr).await);
            keepers.push(keeper);
            stops.push(stop);
        }
        until(&router.gossip, |members| alive(members) == 4).await;
        let auth = ClusterAuth::new(&identity("router", Role::Router, 1), SECRET.as_bytes());
        let client = KeeperClient::new(Peers::new(auth), router.gossip.clone());
        Self {
            router,
            _gossips: gossips,
            keepers,
            leader,
            stops,
            client,
        }
    }

    fn appended(&self) -> u64 {
        self.keepers
            .iter()
            .map(|keeper| keeper.appended.load(Ordering::SeqCst))
            .sum()
    }
}

async fn serve(keeper: &Keeper) -> (SocketAddr, Shutdown) {
    let (listener, addr) = rpc::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let shutdown = Shutdown::new();
    let auth = ClusterAuth::new(&identity(keeper.name, Role::WalKeeper, 1), SECRET.as_bytes());
    let routes = Routes::new(KeeperServiceServer::new(keeper.clone()));
    tokio::spawn(rpc::serve(
        listener,
        routes,
        Some(auth),
        shutdown.clone(),
        Duration::ZERO,
    ));
    (addr, shutdown)
}

fn header(producer: u64) -> Bytes {
    let command = Some(Command::DropDataset(DropDatasetCommand { dataset_id: 1 }));
    EntryHeader {
        producer,
        sequence: producer,
        command,
    }
    .encode_to_vec()
    .into()
}

fn soon(time: Duration) -> Option<Instant> {
    Some(Instant::now() + time)
}

const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(300);

#[tokio::test]
async fn the_leader_is_found_and_followed() {
    let cluster = Cluster::new().await;
    let error = cluster
        .client
        .append(header(0), Bytes::new(), soon(SHORT))
        .await
        .unwrap_err();
    assert_eq!(error.code, ErrorCode::NoLeader);
    assert_eq!(cluster.appended(), 0);

    for name in ["k2", "k0", "k1"] {
        cluster.leader.send_replace(name);
        let answer = cluster
            .client
            .append(header(0), Bytes::new(), soon(LONG))
            .await
            .unwrap();
        assert_eq!(answer.index, 1, "its first entry");
    }
    // A leader found while waiting.
    cluster.leader.send_replace("");
    let reading = tokio::spawn({
        let client = cluster.client.clone();
        async move { client.read_index(soon(LONG)).await }
    });
    tokio::task::yield_now().await;
    cluster.leader.send_replace("k2");
    assert_eq!(
        reading.await.unwrap(),
        Ok(Lsn {
            group: 0,
            incarnation: 1,
            index: 42
        })
    );
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_only_where_that_is_harmless() {
    let cluster = Cluster::new().await;
    cluster.leader.send_replace("k1");
    let leader = &cluster.keepers[1];

    leader.loses_answer.store(true, Ordering::SeqCst);
    let error = cluster
        .client
        .append(header(0), Bytes::new(), soon(LONG))
        .await
        .unwrap_err();
    assert!(error.message.contains("may or may not have happened"), "{error}");
    assert_eq!(cluster.appended(), 1, "not again");

    leader.loses_answer.store(true, Ordering::SeqCst);
    let answer = cluster
        .client
        .append(header(7), Bytes::new(), soon(LONG))
        .await
        .unwrap();
    assert_eq!(
        (answer.index, cluster.appended()),
        (3, 3),
        "again, for the keeper to fold"
    );
}

#[tokio::test]
async fn a_keeper_that_died_or_hangs_is_passed_over() {
    let cluster = Cluster::new().await;
    cluster.stops[0].trigger(); // its gossip lives on: nobody told the router
    cluster.leader.send_replace("k2");
    cluster
        .client
        .append(header(0), Bytes::new(), soon(LONG))
        .await
        .unwrap();

    cluster.keepers[1].hangs.store(true, Ordering::SeqCst);
    cluster.keepers[2].hangs.store(true, Ordering::SeqCst);
    let error = cluster.client.read_index(soon(SHORT)).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::NoLeader);
    cluster.keepers[2].hangs.store(false, Ordering::SeqCst);
    cluster.client.read_index(soon(LONG)).await.unwrap();
    assert!(cluster.router.gossip.live(Role::WalKeeper).len() == 3);
}

#[tokio::test]
async fn a_silent_keeper_leaves_time_for_the_others() {
    let cluster = Cluster::new().await;
    cluster.leader.send_replace("k2");
    cluster.keepers[0].hangs.store(true, Ordering::SeqCst);
    // Nobody is known to lead yet, and the silent one is asked first.
    let time = soon(Duration::from_secs(3));
    cluster.client.read_index(time).await.unwrap();

    // The same where the silent one is the leader that was known.
    cluster.keepers[0].hangs.store(false, Ordering::SeqCst);
    cluster.keepers[2].hangs.store(true, Ordering::SeqCst);
    cluster.leader.send_replace("k1");
    let time = soon(Duration::from_secs(3));
    cluster.client.read_index(time).await.unwrap();
}

#[tokio::test]
async fn a_refusal_does_not_hide_an_unknown_outcome() {
    let cluster = Cluster::new().await;
    cluster.leader.send_replace("k1");
    let leader = &cluster.keepers[1];
    leader.loses_answer.store(true, Ordering::SeqCst);
    leader.breaks.store(true, Ordering::SeqCst);
    let append = cluster.client.append(header(7), Bytes::new(), soon(LONG));
    let error = append.await.unwrap_err();
    assert_ne!(
        error.code,
        ErrorCode::LatchTripped,
        "that would say that nothing was written"
    );
    assert!(error.message.contains("may or may not have happened"), "{error}");
    assert!(error.message.contains("writes are refused"), "{error}");
    assert_eq!(cluster.appended(), 1);

    // A read changes nothing, so its refusal stays what it is; so does one of a write that was never taken.
    let append = cluster.client.append(header(8), Bytes::new(), soon(LONG));
    assert_eq!(append.await.unwrap_err().code, ErrorCode::LatchTripped);
}

#[tokio::test]
async fn keepers_that_name_each_other_are_not_hammered() {
    let cluster = Cluster::new().await;
    cluster
        .keepers
        .iter()
        .for_each(|keeper| keeper.misleads.store(true, Ordering::SeqCst));
    let error = cluster
        .client
        .append(header(0), Bytes::new(), soon(SHORT))
        .await
        .unwrap_err();
    assert_eq!(error.code, ErrorCode::NoLeader);
    let asked: u64 = cluster
        .keepers
        .iter()
        .map(|keeper| keeper.asked.load(Ordering::SeqCst))
        .sum();
    assert!(asked < 60, "asked {asked} times in {SHORT:?}");
}

#[tokio::test]
async fn a_leaders_refusal_is_final() {
    let cluster = Cluster::new().await;
    cluster.leader.send_replace("k1");
    cluster.keepers[1].latched.store(true, Ordering::SeqCst);
    let error = cluster
        .client
        .append(header(7), Bytes::new(), soon(LONG))
        .await
        .unwrap_err();
    assert_eq!(error.code, ErrorCode::LatchTripped);
    let before = cluster.keepers[1].asked.load(Ordering::SeqCst);
    assert_eq!(before, 1);
}

#[tokio::test]
async fn bytes_that_are_no_header_are_never_sent() {
    let cluster = Cluster::new().await;
    cluster.leader.send_replace("k0");
    let error = cluster
        .client
        .append(Bytes::from_static(&[0xff; 9]), Bytes::new(), soon(LONG))
        .await
        .unwrap_err();
    assert_eq!(error.code, ErrorCode::Internal);
    assert_eq!(cluster.keepers[0].asked.load(Ordering::SeqCst), 0);
}
