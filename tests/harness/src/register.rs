//! A load of small reads and writes that remembers every call and every answer, for [`history`](crate::history).

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use longbow_wire::v1::{
    self, search_service_client::SearchServiceClient, write_service_client::WriteServiceClient,
};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use tokio::task::JoinSet;
use tonic::transport::Channel;

use crate::{
    check::version_of,
    cluster::PATIENCE,
    history::{Kind, Moment, Operation},
    load::{channel, row_id, upsert_of},
    wait,
};

/// Keys of one load: few, so that clients meet.
pub const KEYS: u64 = 6;
/// After a failed call, so that a client does not spin.
const PAUSE: Duration = Duration::from_millis(20);

/// The clock of a run, and its values: no two writes have the same.
#[derive(Debug, Clone)]
pub struct Notary {
    began: Instant,
    values: Arc<AtomicU64>,
}

impl Default for Notary {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            values: Arc::new(AtomicU64::new(1)),
        }
    }
}

impl Notary {
    /// Now: never 0, which is before everything.
    pub fn now(&self) -> Moment {
        u64::try_from(self.began.elapsed().as_nanos()).map_or(u64::MAX - 1, |nanos| nanos + 1)
    }

    /// A value that nobody else gets.
    pub fn value(&self) -> u64 {
        self.values.fetch_add(1, Ordering::Relaxed)
    }
}

/// What is known while clients run.
#[derive(Debug, Default)]
struct Progress {
    stop: AtomicBool,
    written: AtomicU64,
    read: AtomicU64,
    failed: AtomicU64,
    failed_twice: AtomicU64,
}

/// Clients that read and write a few keys, each one call at a time, until they are stopped.
pub struct Registers {
    clients: JoinSet<Result<Vec<Operation>>>,
    progress: Arc<Progress>,
}

impl Registers {
    /// Starts clients on the keys from `first_key` on.
    pub fn start(
        endpoints: &[String],
        dataset: &str,
        clients: u64,
        first_key: u64,
        notary: &Notary,
        seed: u64,
    ) -> Result<Self> {
        let progress = Arc::new(Progress::default());
        let mut set = JoinSet::new();
        for number in 0..clients {
            let mut channels = endpoints.iter().map(|e| channel(e)).collect::<Result<Vec<_>>>()?;
            let turn = number as usize % channels.len();
            channels.rotate_left(turn);
            let client = Client {
                channels,
                dataset: dataset.to_owned(),
                first_key,
                notary: notary.clone(),
                random: SmallRng::seed_from_u64(seed ^ (number << 32)),
                progress: progress.clone(),
            };
            set.spawn(client.run());
        }
        Ok(Self {
            clients: set,
            progress,
        })
    }

    /// Writes acknowledged so far.
    pub fn written(&self) -> u64 {
        self.progress.written.load(Ordering::Relaxed)
    }

    /// Calls so far whose answer was lost, or that were refused.
    pub fn failed(&self) -> u64 {
        self.progress.failed.load(Ordering::Relaxed)
    }

    /// Writes so far that failed where the same client's write before had failed, too: what one retry does not hide.
    /// (Reads that nobody can prove to be fresh fail at once, as they should.)
    pub fn failed_twice(&self) -> u64 {
        self.progress.failed_twice.load(Ordering::Relaxed)
    }

    /// Waits for so many more acknowledged writes, and as many as half of it reads.
    pub async fn go_on(&self, writes: u64) -> Result<()> {
        let read = || self.progress.read.load(Ordering::Relaxed);
        let (written_before, read_before) = (self.written(), read());
        wait::until("writes and reads to go on", PATIENCE, || async {
            let (written, read) = (self.written() - written_before, read() - read_before);
            ensure!(
                written >= writes && read >= writes / 2,
                "{written} were written, {read} read, {} failed in all",
                self.failed()
            );
            Ok(())
        })
        .await
    }

    /// Stops the clients: what they saw.
    pub async fn stop(mut self) -> Result<Vec<Operation>> {
        self.progress.stop.store(true, Ordering::Relaxed);
        let mut history = Vec::new();
        while let Some(seen) = self.clients.join_next().await {
            history.extend(seen.context("a client panicked")??);
        }
        Ok(history)
    }
}

struct Client {
    channels: Vec<Channel>,
    dataset: String,
    first_key: u64,
    notary: Notary,
    random: SmallRng,
    progress: Arc<Progress>,
}

impl Client {
    async fn run(mut self) -> Result<Vec<Operation>> {
        let mut seen = Vec::new();
        let mut has_failed = false;
        while !self.progress.stop.load(Ordering::Relaxed) {
            let key = self.first_key + self.random.random_range(0..KEYS);
            let writes = self.random.random_bool(0.5);
            let call = self.notary.now();
            let answer = if writes {
                let value = self.notary.value();
                let kind = Kind::Write(value);
                let answer = write(&self.channels[0], &self.dataset, key, value).await;
                (Some(kind), answer.map(|()| &self.progress.written))
            } else {
                let answer = read(&self.channels[0], &self.dataset, key).await?;
                let kind = answer.as_ref().ok().map(|&value| Kind::Read(value));
                (kind, answer.map(|_| &self.progress.read))
            };
            let now = self.notary.now();
            let (kind, answer) = answer;
            let done = answer.is_ok().then_some(now);
            seen.extend(kind.map(|kind| Operation {
                key,
                kind,
                call,
                done,
            }));
            if writes {
                let twice = std::mem::replace(&mut has_failed, answer.is_err()) && has_failed;
                self.progress
                    .failed_twice
                    .fetch_add(u64::from(twice), Ordering::Relaxed);
            }
            match answer {
                Ok(counter) => drop(counter.fetch_add(1, Ordering::Relaxed)),
                Err(status) => {
                    ensure!(
                        status.code() != tonic::Code::InvalidArgument,
                        "a valid call was refused: {status}"
                    );
                    self.progress.failed.fetch_add(1, Ordering::Relaxed);
                    self.channels.rotate_left(1);
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
        Ok(seen)
    }
}

/// Writes a value to a key.
pub async fn write(channel: &Channel, dataset: &str, key: u64, value: u64) -> Result<(), tonic::Status> {
    let request = upsert_of(dataset, &[key], value);
    WriteServiceClient::new(channel.clone())
        .upsert(request)
        .await
        .map(drop)
}

/// Reads a key as it is now. A read that cannot prove to be fresh counts as not answered; the outer error is a row that
/// does not hold what its version says.
pub async fn read(channel: &Channel, dataset: &str, key: u64) -> Result<Result<Option<u64>, tonic::Status>> {
    let request = v1::GetRowsRequest {
        dataset: dataset.to_owned(),
        ids: vec![row_id(key)],
        columns: vec!["*".to_owned()],
        include_vector: true,
        consistency: None,
    };
    let answer = match SearchServiceClient::new(channel.clone()).get_rows(request).await {
        Ok(answer) => answer.into_inner(),
        Err(status) => return Ok(Err(status)),
    };
    if answer
        .freshness
        .as_ref()
        .is_none_or(|freshness| freshness.degraded)
    {
        return Ok(Err(tonic::Status::unavailable(
            "the read is not known to be fresh",
        )));
    }
    let Some(row) = answer.rows.first() else {
        return Ok(Ok(None));
    };
    let (id, value) = version_of(row)?;
    ensure!(id == key && answer.rows.len() == 1, "asked for {key}: {answer:?}");
    Ok(Ok(Some(value)))
}

/// Reads all keys of a load once through one router.
pub async fn read_all(
    endpoint: &str,
    dataset: &str,
    first_key: u64,
    notary: &Notary,
) -> Result<Vec<Operation>> {
    let channel = channel(endpoint)?;
    let mut seen = Vec::new();
    for key in first_key..first_key + KEYS {
        let operation = wait::until("a fresh read", PATIENCE, || async {
            let call = notary.now();
            let value = read(&channel, dataset, key).await??;
            let done = Some(notary.now());
            Ok(Operation {
                key,
                kind: Kind::Read(value),
                call,
                done,
            })
        });
        seen.push(operation.await?);
    }
    Ok(seen)
}
