//! What can be asked of Longbow? The one service core that both APIs are translations onto: one file per verb.
//!
//! Verbs check, decide and combine answers; they know no protocol and hold no state but what routers may lose.

mod alter_dataset;
mod append;
mod conditional;
mod create_dataset;
mod dataset;
mod delete;
mod delete_where;
mod drop_dataset;
mod explain;
mod fanout;
mod fetch;
mod freshness;
mod get_dataset;
mod keepers;
mod list_datasets;
mod near;
mod replicas;
mod reset_latch;
mod scan;
mod search;
mod starve;
mod status;
mod upsert;
mod wait;

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::AtomicUsize},
    time::{Duration, Instant},
};

use arrow::array::{Array, RecordBatch};
use longbow_cluster::latch::LatchState;
use longbow_node::{
    catalogue_watch::CatalogueWatch, gossip::Gossip, identity::Identity, keeper_client::KeeperClient,
    rpc::Peers,
};
use longbow_query::filter::Predicate;
use longbow_types::{Error, Lsn, Result, Schema, Token};
use longbow_wire::{internal::LatchRegister, v1};
use prost::Message;

pub use alter_dataset::Altered;
pub use conditional::{Conditions, Decided};
pub use create_dataset::{Created, NewDataset};
pub use dataset::Open;
pub use fetch::{Fetch, Rows as FetchedRows};
pub use get_dataset::{Counts, Described};
pub use near::{Near, Vector};
pub use scan::{Scan, ScanStream};
pub use search::{Found, Search};
pub use upsert::{Input, Written, check};

/// How long a request may take whose caller sets no deadline.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The service core. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Core(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    identity: Identity,
    gossip: Gossip,
    peers: Peers,
    keeper: KeeperClient,
    watch: CatalogueWatch,
    appender: append::Appender,
    leaderless: freshness::Leaderless,
    schemas: dataset::Schemas,
    /// Spreads reads over replicas.
    turn: AtomicUsize,
}

impl Core {
    /// A core that reaches the cluster by these.
    pub fn new(identity: Identity, gossip: Gossip, peers: Peers, watch: CatalogueWatch) -> Self {
        Self(Arc::new(Inner {
            keeper: KeeperClient::new(peers.clone(), gossip.clone()),
            appender: append::Appender::new(&identity),
            leaderless: freshness::Leaderless::default(),
            schemas: dataset::Schemas::default(),
            turn: AtomicUsize::new(0),
            identity,
            gossip,
            peers,
            watch,
        }))
    }

    /// Who this router is.
    pub fn identity(&self) -> &Identity {
        &self.0.identity
    }

    /// Who is in the cluster.
    pub fn gossip(&self) -> &Gossip {
        &self.0.gossip
    }

    /// The catalogue as it changes.
    pub fn watch(&self) -> &CatalogueWatch {
        &self.0.watch
    }

    /// The newest latch register that this router heard of, by gossip or by the catalogue's stream.
    pub fn latch(&self) -> LatchRegister {
        let mut latch = LatchState::new(self.0.gossip.latch().borrow().clone());
        if let Some(view) = self.0.watch.current() {
            latch.merge(&view.latch);
        }
        latch.register().clone()
    }

    /// The token of a position in the log.
    fn token(&self, incarnation: u32, index: u64) -> Token {
        Token::of(Lsn {
            group: 0,
            incarnation,
            index,
        })
    }
}

/// The moment until which a request may take.
pub fn deadline_or_default(deadline: Option<Instant>) -> Instant {
    deadline.unwrap_or_else(|| Instant::now() + PATIENCE)
}

/// A defect in work on a request, as an error.
fn broken(why: impl fmt::Display) -> Error {
    let message = format!("the request could not be worked on: {why}");
    Error::new(longbow_types::ErrorCode::Internal, message)
}

/// Work on so many bytes is done where it stands: handing it over would take longer.
const SMALL_BYTES: usize = 64 << 10;

/// Runs work that may take a while, judged by the bytes it goes through, off the threads that serve sockets.
pub(crate) async fn off_thread<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    if bytes <= SMALL_BYTES {
        // A defect in it ends this request and not, with the task, all others of its connection.
        return catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(broken("it panicked")));
    }
    tokio::task::spawn_blocking(work).await.map_err(broken)?
}

/// Bytes of the rows of a batch; of buffers that several columns share, each column's part.
fn bytes_of(batch: &RecordBatch) -> usize {
    let columns = batch.columns().iter();
    columns
        .map(|column| column.to_data().get_slice_memory_size().unwrap_or(usize::MAX))
        .fold(0, usize::saturating_add)
}

/// Refuses a filter that no shard would take.
///
/// # Errors
/// Those of [`Predicate::compile`].
async fn check_filter(filter: Option<&v1::Filter>, schema: &Arc<Schema>) -> Result<()> {
    let Some(filter) = filter else {
        return Ok(());
    };
    let bytes = filter.encoded_len();
    if bytes <= SMALL_BYTES {
        return Predicate::compile(filter, schema).map(drop);
    }
    let (filter, schema) = (filter.clone(), schema.clone());
    off_thread(bytes, move || Predicate::compile(&filter, &schema).map(drop)).await
}
