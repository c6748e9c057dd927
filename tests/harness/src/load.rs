//! A write load whose every answer is remembered, and the check of what must be there afterwards.
//!
//! Each writer owns the ids congruent to its number, so what an id may hold follows from that writer's answers
//! alone: the last acknowledged state, or a later one whose outcome is unknown.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use longbow_wire::{
    convert::status::from_status,
    v1::{
        self, dataset_service_client::DatasetServiceClient, upsert_request::Payload,
        write_service_client::WriteServiceClient,
    },
};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use tokio::task::JoinSet;
use tonic::transport::{Channel, Endpoint};

use crate::{cluster::PATIENCE, wait};

/// Dimension of the vectors the load writes.
pub const DIMENSION: usize = 16;

const CALL_LIMIT: Duration = Duration::from_secs(5);
const BATCH_ROWS_MAX: usize = 100;

/// What one id holds: a version of its row, or nothing.
pub type State = Option<u64>;

/// What one id may hold: the last acknowledged state, and later ones whose outcome is unknown.
#[derive(Debug, Clone, Default)]
pub struct Allowed {
    /// Last acknowledged state.
    pub acked: State,
    /// Later states that may have come to pass.
    pub maybe: Vec<State>,
}

impl Allowed {
    /// Whether a state read back is one of those.
    pub fn permits(&self, read: State) -> bool {
        (read == self.acked) || self.maybe.contains(&read)
    }
}

/// What every id may hold.
pub type Model = BTreeMap<u64, Allowed>;

/// A running load.
pub struct Load {
    writers: JoinSet<Result<Model>>,
    stop: Arc<AtomicBool>,
    acked: Arc<AtomicU64>,
}

/// Connects to a router without waiting for it.
pub fn channel(endpoint: &str) -> Result<Channel> {
    Ok(Endpoint::from_shared(endpoint.to_owned())?
        .connect_timeout(Duration::from_secs(2))
        .timeout(CALL_LIMIT)
        .connect_lazy())
}

/// The schema of the dataset that the load writes to.
pub fn schema() -> v1::Schema {
    let column = |name: &str, kind: v1::ColumnKind| v1::Column {
        name: name.into(),
        kind: kind as i32,
        nullable: false,
        vector: None,
        time: None,
        default: None,
        list: None,
        decimal: None,
        structure: None,
    };
    let vector = v1::VectorType {
        dimension: DIMENSION as u32,
        metric: v1::Metric::L2 as i32,
        element: v1::VectorElement::Float32 as i32,
        quantization: v1::Quantization::Unspecified as i32,
    };
    v1::Schema {
        columns: vec![
            column("id", v1::ColumnKind::Uint64),
            v1::Column {
                vector: Some(vector),
                ..column("vector", v1::ColumnKind::Vector)
            },
            column("version", v1::ColumnKind::Uint64),
            column("text", v1::ColumnKind::Utf8),
        ],
        id_column: String::new(),
        ..v1::Schema::default()
    }
}

/// Creates the dataset that the load writes to.
pub async fn create_dataset(endpoint: &str, name: &str) -> Result<()> {
    let request = v1::CreateDatasetRequest {
        name: name.into(),
        schema: Some(schema()),
        ..Default::default()
    };
    DatasetServiceClient::new(channel(endpoint)?)
        .create_dataset(request)
        .await?;
    Ok(())
}

/// The vector of a version of a row.
pub fn vector_of(id: u64, version: u64) -> Vec<f32> {
    let mut rng = SmallRng::seed_from_u64(id.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ version);
    (0..DIMENSION).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// The text of a version of a row.
pub fn text_of(id: u64, version: u64) -> String {
    format!("row {id} version {version}")
}

/// Versions of rows whose text stands in some bytes, in order.
pub fn values_in(bytes: &[u8]) -> Vec<u64> {
    const WORD: &[u8] = b" version ";
    let mut values = Vec::new();
    let mut rest = bytes;
    while let Some(at) = rest.windows(WORD.len()).position(|window| window == WORD) {
        rest = &rest[at + WORD.len()..];
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let text = std::str::from_utf8(&rest[..digits]).unwrap_or_default();
        values.extend(text.parse::<u64>());
    }
    values
}

/// The code of a refusal, as `docs/errors.md` has it.
pub fn code_of(status: &tonic::Status) -> String {
    from_status(status).code.to_string()
}

/// The id of a row as calls want it.
pub fn row_id(id: u64) -> v1::RowId {
    v1::RowId {
        kind: Some(v1::row_id::Kind::U64(id)),
    }
}

/// The call that writes a version of some rows.
pub fn upsert_of(dataset: &str, ids: &[u64], version: u64) -> v1::UpsertRequest {
    let rows = ids.iter().map(|&id| row_of(id, version)).collect();
    v1::UpsertRequest {
        dataset: dataset.to_owned(),
        payload: Some(Payload::Rows(v1::Rows { rows })),
        ack: v1::AckLevel::Logged as i32,
        ..v1::UpsertRequest::default()
    }
}

fn row_of(id: u64, version: u64) -> v1::Row {
    let value = |kind| v1::Value { kind: Some(kind) };
    v1::Row {
        id: Some(row_id(id)),
        vector: Some(v1::Vector {
            values: vector_of(id, version),
        }),
        columns: [
            ("version".to_owned(), value(v1::value::Kind::U64(version))),
            (
                "text".to_owned(),
                value(v1::value::Kind::Utf8(text_of(id, version))),
            ),
        ]
        .into(),
    }
}

impl Load {
    /// Starts writers on a dataset; each stops when told to.
    pub fn start(endpoints: &[String], dataset: &str, writers: u64, seed: u64) -> Result<Self> {
        let (stop, acked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut set = JoinSet::new();
        for number in 0..writers {
            let channels = endpoints.iter().map(|e| channel(e)).collect::<Result<Vec<_>>>()?;
            let writer = Writer {
                channels,
                dataset: dataset.to_owned(),
                number,
                stride: writers,
                next: 0,
                version: 0,
                rng: SmallRng::seed_from_u64(seed ^ (number << 32)),
                model: Model::new(),
                stop: stop.clone(),
                acked: acked.clone(),
            };
            set.spawn(writer.run());
        }
        Ok(Self {
            writers: set,
            stop,
            acked,
        })
    }

    /// Rows acknowledged so far.
    pub fn acked_rows(&self) -> u64 {
        self.acked.load(Ordering::Relaxed)
    }

    /// Waits until so many rows are acknowledged.
    pub async fn reach(&self, rows: u64) -> Result<()> {
        let limit = PATIENCE + Duration::from_millis(rows);
        wait::until(&format!("{rows} acknowledged rows"), limit, || async {
            let acked = self.acked_rows();
            anyhow::ensure!(acked >= rows, "{acked} are acknowledged");
            Ok(())
        })
        .await
    }

    /// Stops the writers and tells what every id may hold.
    pub async fn stop(mut self) -> Result<Model> {
        self.stop.store(true, Ordering::Relaxed);
        let mut model = Model::new();
        while let Some(part) = self.writers.join_next().await {
            model.extend(part.context("a writer panicked")??);
        }
        Ok(model)
    }
}

struct Writer {
    channels: Vec<Channel>,
    dataset: String,
    number: u64,
    stride: u64,
    next: u64,
    version: u64,
    rng: SmallRng,
    model: Model,
    stop: Arc<AtomicBool>,
    acked: Arc<AtomicU64>,
}

impl Writer {
    async fn run(mut self) -> Result<Model> {
        while !self.stop.load(Ordering::Relaxed) {
            let delete = !self.model.is_empty() && self.rng.random_bool(0.05);
            let ids = self.choose(delete);
            self.version += 1;
            let state = (!delete).then_some(self.version);
            self.write_until_acked(&ids, state).await?;
        }
        Ok(self.model)
    }

    fn choose(&mut self, existing_only: bool) -> Vec<u64> {
        let mut ids = Vec::new();
        for _ in 0..self.rng.random_range(1..=BATCH_ROWS_MAX) {
            let overwrite = existing_only || (self.next > 0 && self.rng.random_bool(0.15));
            let ordinal = if overwrite {
                self.rng.random_range(0..self.next)
            } else {
                self.next += 1;
                self.next - 1
            };
            ids.push(ordinal * self.stride + self.number);
        }
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// Sends the same write again until it is acknowledged, as a client would that must not lose it.
    async fn write_until_acked(&mut self, ids: &[u64], state: State) -> Result<()> {
        for &id in ids {
            self.model.entry(id).or_default().maybe.push(state);
        }
        while let Err(status) = self.write(ids, state).await {
            anyhow::ensure!(
                status.code() != tonic::Code::InvalidArgument,
                "a valid write was refused: {status}"
            );
            if self.stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            self.channels.rotate_left(1);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        for &id in ids {
            self.model.insert(
                id,
                Allowed {
                    acked: state,
                    maybe: Vec::new(),
                },
            );
        }
        self.acked.fetch_add(ids.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    async fn write(&self, ids: &[u64], state: State) -> Result<(), tonic::Status> {
        let mut client = WriteServiceClient::new(self.channels[0].clone());
        match state {
            Some(version) => {
                let request = upsert_of(&self.dataset, ids, version);
                client.upsert(request).await.map(drop)
            }
            None => {
                let request = v1::DeleteRequest {
                    dataset: self.dataset.clone(),
                    ids: ids.iter().map(|&id| row_id(id)).collect(),
                    ack: v1::AckLevel::Logged as i32,
                    ..v1::DeleteRequest::default()
                };
                client.delete(request).await.map(drop)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_where_they_stand() {
        let mut bytes = vec![0, 255];
        for (id, version) in [(1, 17), (1, 1), (20, 9_000)] {
            bytes.extend(text_of(id, version).into_bytes());
            bytes.push(0);
        }
        bytes.extend(b" version x");
        assert_eq!(values_in(&bytes), [17, 1, 9_000]);
        assert_eq!(values_in(b""), [0u64; 0]);
    }
}
