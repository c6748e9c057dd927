//! A keeper whose log lives in memory.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use longbow_cluster::catalogue::Catalogue;
use longbow_node::gossip::Gossip;
use longbow_node::identity::Identity;
use longbow_node::rpc::{self, ClusterAuth};
use longbow_node::shutdown::Shutdown;
use longbow_types::{Error, ErrorCode};
use longbow_wire::convert::status::to_status;
use longbow_wire::internal::entry_header::Command;
use longbow_wire::internal::keeper_service_server::{KeeperService, KeeperServiceServer};
use longbow_wire::internal::*;
use parking_lot::Mutex;
use prost::Message as _;
use tokio::sync::{mpsc, watch};
use tonic::{Request, Response, Status, Streaming};

/// The log that all keepers of a test share.
pub struct Log {
    id: u64,
    inner: Mutex<Inner>,
    committed: watch::Sender<u64>,
}

struct Inner {
    entries: Vec<TailEntry>,
    catalogue: Catalogue,
}

impl Log {
    pub fn new() -> Arc<Self> {
        Self::with_id(1)
    }

    /// A log of another group.
    pub fn with_id(id: u64) -> Arc<Self> {
        let log = Self {
            id,
            inner: Mutex::new(Inner {
                entries: Vec::new(),
                catalogue: Catalogue::new(),
            }),
            committed: watch::Sender::new(0),
        };
        // As raft's leader does at the start of its term.
        log.append_raw(Bytes::new(), Bytes::new());
        Arc::new(log)
    }

    /// Commits an entry and judges it.
    pub fn append(&self, command: Command, body: Bytes) -> (u64, Verdict) {
        let mut header = EntryHeader {
            command: Some(command),
            ..EntryHeader::default()
        };
        if let Some(Command::CreateDataset(create)) = &mut header.command {
            self.inner.lock().catalogue.place(create, &Default::default());
        }
        self.append_raw(header.encode_to_vec().into(), body)
    }

    fn append_raw(&self, header: Bytes, body: Bytes) -> (u64, Verdict) {
        let mut inner = self.inner.lock();
        let index = inner.entries.len() as u64 + 1;
        let mut decoded = EntryHeader::decode(header.clone()).unwrap();
        let header = match &mut decoded.command {
            Some(Command::RegisterShard(register)) => {
                register.log_id = self.id;
                decoded.encode_to_vec().into()
            }
            _ => header,
        };
        let applied = inner.catalogue.apply(index, &decoded);
        inner.entries.push(TailEntry {
            index,
            header,
            body,
            ..TailEntry::default()
        });
        self.committed.send_replace(index);
        (index, applied.verdict)
    }

    pub fn catalogue(&self) -> Catalogue {
        self.inner.lock().catalogue.clone()
    }

    pub fn last(&self) -> u64 {
        *self.committed.borrow()
    }

    /// Cuts the log behind an entry, as if what followed had been damaged, and begins another life of it.
    pub fn cut(&self, after: u64) {
        let mut inner = self.inner.lock();
        let (last, incarnation) = (inner.entries.len() as u64 + 1, inner.catalogue.incarnation() + 1);
        inner.entries.truncate(after as usize);
        let command = Command::BeginIncarnation(BeginIncarnationCommand {
            incarnation,
            reason: "a test".to_owned(),
        });
        let header = EntryHeader {
            command: Some(command),
            ..EntryHeader::default()
        };
        let begin = Bytes::from(header.encode_to_vec());
        let empty = std::iter::repeat(Bytes::new());
        for (index, header) in (after + 1..=last).zip(std::iter::once(begin).chain(empty)) {
            inner.entries.push(TailEntry {
                index,
                header,
                ..TailEntry::default()
            });
        }
        let mut catalogue = Catalogue::new();
        for entry in &inner.entries {
            catalogue.apply(entry.index, &EntryHeader::decode(entry.header.clone()).unwrap());
        }
        inner.catalogue = catalogue;
        self.committed.send_replace(last);
    }

    fn from(&self, from: u64, to: u64) -> Vec<TailEntry> {
        let inner = self.inner.lock();
        inner.entries[from as usize - 1..to as usize].to_vec()
    }
}

/// What a keeper shows of the log.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mood {
    /// Everything.
    Whole,
    /// Nothing after this index, but heartbeats go on: cut off from the other keepers, or just started.
    CutOffAt(u64),
    /// Nothing before this index: it came as a snapshot.
    BeginsAt(u64),
    /// Everything, but no keeper leads.
    Leaderless,
}

/// A running keeper.
pub struct Keeper {
    pub mood: watch::Sender<Mood>,
    pub gossip: Gossip,
    pub shutdown: Shutdown,
    /// Streams of the tail opened so far.
    pub tails: watch::Receiver<u64>,
    /// What was told last to be durable.
    pub reports: watch::Receiver<Option<ReportDurableRequest>>,
}

impl Keeper {
    pub async fn start(log: Arc<Log>, settings: &longbow_node::config::Settings, secret: &[u8]) -> Self {
        let config =
            longbow_node::config::NodeConfig::from_settings(settings, longbow_types::Role::WalKeeper)
                .unwrap();
        let identity = Identity {
            cluster_id: config.cluster_id.clone(),
            node_id: config.node_id.clone().unwrap(),
            role: config.role,
            generation: 1,
        };
        let shutdown = Shutdown::new();
        let (listener, addr) = rpc::bind(config.rpc_listen).await.unwrap();
        let gossip = Gossip::start(&config, identity.clone(), addr, None, shutdown.clone())
            .await
            .unwrap();
        let mood = watch::Sender::new(Mood::Whole);
        let tails = watch::Sender::new(0);
        let counted = tails.subscribe();
        let reports = watch::Sender::new(None);
        let reported = reports.subscribe();
        let service = Service {
            log,
            mood: mood.clone(),
            tails,
            reports,
            shutdown: shutdown.clone(),
        };
        let routes = tonic::service::Routes::new(KeeperServiceServer::new(service));
        let auth = ClusterAuth::new(&identity, secret);
        tokio::spawn(rpc::serve(
            listener,
            routes,
            Some(auth),
            shutdown.clone(),
            Duration::ZERO,
        ));
        Self {
            mood,
            gossip,
            shutdown,
            tails: counted,
            reports: reported,
        }
    }
}

struct Service {
    log: Arc<Log>,
    mood: watch::Sender<Mood>,
    tails: watch::Sender<u64>,
    reports: watch::Sender<Option<ReportDurableRequest>>,
    shutdown: Shutdown,
}

type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl KeeperService for Service {
    async fn append(&self, request: Request<AppendRequest>) -> Result<Response<AppendResponse>, Status> {
        let AppendRequest { header, body } = request.into_inner();
        let (index, verdict) = self.log.append_raw(header, body);
        Ok(Response::new(AppendResponse {
            group: 0,
            incarnation: self.log.catalogue().incarnation(),
            index,
            verdict: Some(verdict),
        }))
    }

    type TailStream = Streamed<TailResponse>;

    async fn tail(&self, request: Request<TailRequest>) -> Result<Response<Self::TailStream>, Status> {
        self.tails.send_modify(|tails| *tails += 1);
        let mut from = request.into_inner().from_index;
        let (log, mut mood) = (Arc::clone(&self.log), self.mood.subscribe());
        let mut committed = log.committed.subscribe();
        let (send, receive) = mpsc::channel(4);
        let shutdown = self.shutdown.clone();
        tokio::spawn(async move {
            loop {
                let mood_now = *mood.borrow_and_update();
                if let Mood::BeginsAt(first) = mood_now
                    && from < first
                {
                    let error = Error::new(
                        ErrorCode::LogTruncated,
                        format!("entries before {first} are gone"),
                    );
                    let _ = send.send(Err(to_status(&error))).await;
                    return;
                }
                let end = match mood_now {
                    Mood::Whole | Mood::Leaderless | Mood::BeginsAt(_) => *committed.borrow_and_update(),
                    Mood::CutOffAt(index) => index.min(*committed.borrow_and_update()),
                };
                // Few entries at a time, so that messages of many sizes occur.
                let to = end.min(from + 6);
                let entries = if from <= to {
                    log.from(from, to)
                } else {
                    Vec::new()
                };
                from += entries.len() as u64;
                let more = from <= end;
                let message = TailResponse {
                    entries,
                    commit_index: end,
                    group: 0,
                    incarnation: log.catalogue().incarnation(),
                    log_id: log.catalogue().log_id(),
                };
                if send.send(Ok(message)).await.is_err() {
                    return;
                }
                if more {
                    continue;
                }
                tokio::select! {
                    _ = committed.changed() => {}
                    _ = mood.changed() => {}
                    () = tokio::time::sleep(Duration::from_millis(100)) => {}
                    () = shutdown.wait() => return,
                }
            }
        });
        Ok(Response::new(Box::pin(
            tokio_stream::wrappers::ReceiverStream::new(receive),
        )))
    }

    async fn read_index(&self, _: Request<ReadIndexRequest>) -> Result<Response<ReadIndexResponse>, Status> {
        if *self.mood.borrow() == Mood::Leaderless {
            let error = Error::new(ErrorCode::NoLeader, "no keeper leads");
            return Err(to_status(&error));
        }
        Ok(Response::new(ReadIndexResponse {
            group: 0,
            incarnation: self.log.catalogue().incarnation(),
            index: self.log.last(),
        }))
    }

    type WatchCatalogueStream = Streamed<WatchCatalogueResponse>;

    async fn watch_catalogue(
        &self,
        _: Request<WatchCatalogueRequest>,
    ) -> Result<Response<Self::WatchCatalogueStream>, Status> {
        Err(Status::unimplemented("shards do not ask for this"))
    }

    async fn raft(&self, _: Request<Streaming<RaftRequest>>) -> Result<Response<RaftResponse>, Status> {
        Err(Status::unimplemented("shards do not ask for this"))
    }

    async fn get_keeper_status(
        &self,
        _: Request<GetKeeperStatusRequest>,
    ) -> Result<Response<GetKeeperStatusResponse>, Status> {
        Err(Status::unimplemented("shards do not ask for this"))
    }

    async fn reset_keeper_latch(
        &self,
        _: Request<ResetKeeperLatchRequest>,
    ) -> Result<Response<ResetKeeperLatchResponse>, Status> {
        Err(Status::unimplemented("shards do not ask for this"))
    }

    async fn change_keepers(
        &self,
        _: Request<longbow_wire::internal::ChangeKeepersRequest>,
    ) -> Result<Response<longbow_wire::internal::ChangeKeepersResponse>, Status> {
        Err(Status::unimplemented("shards do not ask for this"))
    }

    async fn report_durable(
        &self,
        request: Request<longbow_wire::internal::ReportDurableRequest>,
    ) -> Result<Response<longbow_wire::internal::ReportDurableResponse>, Status> {
        let report = request.into_inner();
        if report.credit.is_none() {
            self.reports.send_replace(Some(report));
        }
        Ok(Response::new(ReportDurableResponse {}))
    }

    async fn get_catalogue(
        &self,
        _: Request<GetCatalogueRequest>,
    ) -> Result<Response<GetCatalogueResponse>, Status> {
        let first_index = match *self.mood.borrow() {
            Mood::BeginsAt(first) => first,
            _ => 1,
        };
        Ok(Response::new(GetCatalogueResponse {
            catalogue: Some(self.log.catalogue().to_proto(true)),
            first_index,
            group: 0,
            incarnation: self.log.catalogue().incarnation(),
        }))
    }

    async fn install_snapshot(
        &self,
        _: Request<tonic::Streaming<longbow_wire::internal::InstallSnapshotRequest>>,
    ) -> Result<Response<longbow_wire::internal::InstallSnapshotResponse>, Status> {
        Err(Status::unimplemented("shards do not ask for this"))
    }
}
