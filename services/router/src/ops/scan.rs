//! All rows of a dataset, partition after partition.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use arrow::array::RecordBatch;
use arrow_schema::SchemaRef;
use futures::stream::{self, BoxStream, StreamExt};
use longbow_node::{gossip::Member, rpc::deadline};
use longbow_types::{Error, ErrorCode, Result};
use longbow_wire::{
    convert::status::from_status,
    internal::{PartitionSet, ScanPartitionsRequest, ScanPartitionsResponse},
    v1,
};
use tonic::{Request, Streaming};

use super::{Core, Open, check_filter, deadline_or_default, fanout, freshness::Level, replicas};
use crate::ingest::ipc;

/// How long a replica may take to begin.
const FIRST_BATCH: Duration = Duration::from_secs(10);

/// A scan.
#[derive(Debug, Clone, Default)]
pub struct Scan {
    /// Only rows for which this is true.
    pub filter: Option<v1::Filter>,
    /// At most so many rows; 0: all.
    pub limit: u64,
    /// How fresh; `None`: all that was acknowledged before now.
    pub consistency: Option<v1::Consistency>,
}

/// Batches of a scan, each of the dataset's schema.
pub struct ScanStream {
    /// The dataset scanned.
    pub open: Open,
    /// The schema of every batch.
    pub schema: SchemaRef,
    /// How fresh the rows are at least.
    pub freshness: v1::Freshness,
    /// The rows. Dropping the stream ends the scan on the shards too.
    pub batches: BoxStream<'static, Result<RecordBatch>>,
}

/// Where a scan is.
struct Position {
    core: Core,
    open: Open,
    request: ScanPartitionsRequest,
    /// From where on each partition is read.
    floor: BTreeMap<u32, u64>,
    left: VecDeque<u32>,
    current: Option<Streaming<ScanPartitionsResponse>>,
    /// Rows that may still be given; `None`: all there are.
    rows_left: Option<u64>,
    /// The caller's deadline, if it set one: a scan may take as long as its caller reads.
    deadline: Option<Instant>,
}

impl Core {
    /// Begins a scan: when this returns, the first partition is being read.
    ///
    /// # Errors
    /// `DATASET_NOT_FOUND`, what can be wrong with a filter or a token, those of a fan-out; errors on the way come in the
    /// stream.
    pub async fn scan(&self, dataset: &str, scan: Scan, deadline: Option<Instant>) -> Result<ScanStream> {
        let at = deadline_or_default(deadline);
        let open = self.open(dataset, at).await?;
        match self.scan_open(open.clone(), &scan, deadline).await {
            Err(error) => {
                let newer = self.moved_on(&open, error, at).await?;
                self.scan_open(newer, &scan, deadline).await
            }
            begun => begun,
        }
    }

    async fn scan_open(&self, open: Open, scan: &Scan, deadline: Option<Instant>) -> Result<ScanStream> {
        let at = deadline_or_default(deadline);
        check_filter(scan.filter.as_ref(), &open.schema).await?;
        let level = Level::of(scan.consistency.as_ref(), open.view.incarnation)?;
        let partitions = open.all_partitions();
        let (floor, freshness) = self.floor(&open, &partitions, level, at).await?;
        let others = open.schema.arrow().fields().iter().enumerate();
        let columns = others
            .filter(|(at, _)| *at != open.schema.id_position() && *at != open.schema.vector().position)
            .map(|(_, field)| field.name().clone())
            .collect();
        let request = ScanPartitionsRequest {
            target: None,
            filter: scan.filter.clone(),
            columns,
            include_vector: true,
            limit: scan.limit,
        };
        let schema = open.schema.arrow().clone();
        let scanned = open.clone();
        let mut position = Position {
            left: partitions.into(),
            floor,
            core: self.clone(),
            open,
            request,
            current: None,
            rows_left: (scan.limit > 0).then_some(scan.limit),
            deadline,
        };
        // A dataset that is there no more is noticed before anything is answered.
        if let Some(first) = position.left.pop_front() {
            position.current = Some(position.begin(first).await?);
        }
        let batches = stream::try_unfold(position, |mut position| async move {
            Ok(position.next().await?.map(|batch| (batch, position)))
        });
        Ok(ScanStream {
            open: scanned,
            schema,
            freshness,
            batches: batches.boxed(),
        })
    }
}

impl Position {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if self.rows_left == Some(0) {
                return Ok(None);
            }
            let Some(current) = &mut self.current else {
                let Some(partition) = self.left.pop_front() else {
                    return Ok(None);
                };
                self.current = Some(self.begin(partition).await?);
                continue;
            };
            let until = deadline_or_default(self.deadline);
            let message = deadline::within(Some(until), current.message()).await?;
            // A replica that breaks off cannot be continued elsewhere: the order of rows is its own.
            let Some(message) = message.map_err(|status| from_status(&status))? else {
                self.current = None;
                continue;
            };
            let Some(batch) = ipc::read_answer(message.arrow_ipc)?.filter(|batch| batch.num_rows() > 0)
            else {
                continue;
            };
            let mut batch = in_order(&batch, self.open.schema.arrow())?;
            if let Some(left) = &mut self.rows_left {
                batch = batch.slice(
                    0,
                    batch.num_rows().min(usize::try_from(*left).unwrap_or(usize::MAX)),
                );
                *left -= batch.num_rows() as u64;
            }
            return Ok(Some(batch));
        }
    }

    /// Begins a partition on the first replica that takes it.
    async fn begin(&self, partition: u32) -> Result<Streaming<ScanPartitionsResponse>> {
        let members = self.core.0.gossip.members();
        let turn = self.core.0.turn.fetch_add(1, Ordering::Relaxed);
        let holders = self.open.dataset.partitions.get(partition as usize);
        let order = replicas::in_order(holders.map_or(&[], Vec::as_slice), &members, turn);
        let (mut last, at) = (None, deadline_or_default(self.deadline));
        for (tried, member) in order.iter().enumerate() {
            let is_last = tried + 1 == order.len();
            let until = if is_last {
                at
            } else {
                at.min(Instant::now() + FIRST_BATCH)
            };
            match self.begin_on(member, partition, until).await {
                Ok(stream) => return Ok(stream),
                Err(error) if fanout::classify(&error) == fanout::Class::Final => return Err(error),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| {
            let message = format!(
                "no replica of partition {partition} of {:?} is known",
                self.open.dataset.name
            );
            Error::new(ErrorCode::NoReplica, message).field(format!("partitions[{partition}]"))
        }))
    }

    async fn begin_on(
        &self,
        member: &Member,
        partition: u32,
        until: Instant,
    ) -> Result<Streaming<ScanPartitionsResponse>> {
        let target = PartitionSet {
            dataset_id: self.open.dataset.id.0,
            partitions: vec![partition],
            min_index: self.floor.get(&partition).copied().unwrap_or(0),
            schema_version: self.open.dataset.schema_version,
        };
        let message = ScanPartitionsRequest {
            target: Some(target),
            limit: self.rows_left.unwrap_or(0),
            ..self.request.clone()
        };
        let mut shard = self.core.shard(member);
        // The stream itself may take until the scan's deadline; only its beginning is limited here.
        let mut request = Request::new(message);
        deadline::apply(&mut request, self.deadline);
        let begun = shard.scan_partitions(request);
        let begun = deadline::within(Some(until), begun).await?;
        begun
            .map(tonic::Response::into_inner)
            .map_err(|status| from_status(&status))
    }
}

/// The columns of a batch in the order of the dataset's.
fn in_order(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let malformed = |message: String| Error::new(ErrorCode::MalformedArrow, message);
    let columns = schema
        .fields()
        .iter()
        .map(|field| {
            let column = batch.column_by_name(field.name());
            column
                .cloned()
                .ok_or_else(|| malformed(format!("a shard's answer has no column {:?}", field.name())))
        })
        .collect::<Result<Vec<_>>>()?;
    RecordBatch::try_new(schema.clone(), columns).map_err(|error| malformed(error.to_string()))
}
