//! The Rust SDK: typed, asynchronous access to a Longbow cluster.
//!
//! ```no_run
//! use longbow_client::{Ack, Client, IdKind, Metric, Options, Row, SchemaBuilder, VectorElement, col};
//!
//! # async fn example() -> longbow_client::Result<()> {
//! let client = Client::connect(["http://127.0.0.1:3000"], Options::default()).await?;
//!
//! let schema = SchemaBuilder::new()
//!     .id("id", IdKind::U64)
//!     .vector("vector", 3, VectorElement::F32, Metric::Cosine)
//!     .utf8("pos")
//!     .build()?;
//! let words = client.dataset("words");
//! words.create(&schema).if_not_exists().await?;
//!
//! let row = Row::new(1_u64).vector(vec![0.1, 0.2, 0.3]).column("pos", "noun");
//! let write = words.upsert([row]).ack(Ack::Applied).await?;
//!
//! let answer = words
//!     .search()
//!     .near(vec![0.1, 0.2, 0.3])
//!     .k(10)
//!     .filter(col("pos").eq("noun"))
//!     .columns(["pos"])
//!     .at_least(&write.token)
//!     .await?;
//! for hit in &answer.hits {
//!     println!("{} {:.3} {:?}", hit.id, hit.score, hit.columns.get("pos"));
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A [`Client`] is cheap to clone and safe to share between tasks. It talks to any number of routers: a call goes to
//! one of them and moves on to the next when that one cannot be reached, breaks off, or gives no sign of life for half
//! of [`Options::timeout`] (10 s at most, 2 s at least). Where a call ran out of time the next call moves on. Calls that
//! may be sent twice (reads, upserts, deletes) are retried with backoff until the timeout; what a call promises about
//! retries stands with it.
//!
//! Every error is a [`longbow_types::Error`]: a stable [`ErrorCode`], the field at fault, the limit.
//!
//! Deliberately not here: anything that only one role of the cluster may do, and any default that hides an error.

mod arrow_ipc;
mod client;
mod cluster;
mod dataset;
mod delete_where;
mod explain;
mod filter;
mod get;
mod keeper;
mod options;
mod pool;
mod retry;
mod row;
mod schema;
mod search;
mod update;
mod value;
mod write;

pub use client::Client;
pub use cluster::{
    ClusterStatus, LatchStatus, NodeInfo, NodeMemory, NodeState, PartitionStatus, ReplicaStatus,
};
pub use dataset::{Altered, CreateDataset, Created, DatasetHandle, DatasetInfo};
pub use delete_where::DeleteWhere;
pub use explain::{Explanation, PartitionExplanation, SearchPlan, StageTimes};
pub use filter::{Column, Filter, all, any, col};
pub use get::{Found, GetRows, Rows};
pub use keeper::{KeeperInfo, KeeperRole};
pub use longbow_types::{
    DefaultValue, Error, ErrorCode, IdKind, Metric, Quantization, Result, Role, RowId, Schema, Token,
    VectorElement,
};
pub use options::{Options, RetryPolicy};
pub use row::{IntoRowId, Row};
pub use schema::SchemaBuilder;
pub use search::{Consistency, Hit, Search, SearchResults};
pub use update::Update;
pub use value::Value;
pub use write::{Ack, Delete, Upsert, UpsertBatches, Written};
