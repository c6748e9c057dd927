//! Searches beside a paced ingest, and beside a snapshot, on a replica in this process: searches begin at set times,
//! whether or not the one before has ended, and their times count from there.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use longbow_harness::process::cpu_time;
use longbow_storage::{
    Options, Reader, Replica, View, WriteKind,
    compact::{Cursor, Sizes},
    snapshot::{FsDisk, Owner, Snapshots},
};
use longbow_types::{DatasetId, Schema};
use rand::{SeedableRng, rngs::SmallRng};

use super::data::{ask, body, recall, schema, vector};
use crate::{
    ShardArgs,
    cached::Cached,
    report::{Report, Required::AtMost},
};

const ROWS: usize = 30_000;
const ROWS_FULL: usize = 116_659;
const LINK_BATCH: usize = 32;
const QUERIES: usize = 300;
/// Time between two searches.
const EVERY: Duration = Duration::from_millis(2);
const MEASURED: Duration = Duration::from_secs(10);
/// Share of all cores that the process may take while rows come.
const SHARE: f64 = 0.7;
const BATCH_ROWS: usize = 50;
/// No more rows come while so many wait to be linked.
const UNLINKED_MAX: usize = 1_000;
/// How long a wait for a lock may be.
const WAIT_MAX: Duration = Duration::from_millis(1);

pub(super) fn bars(report: &mut Report, args: &ShardArgs) {
    let rows = if args.full { ROWS_FULL } else { ROWS };
    let measured = Cached::new();
    let measure = || measured.get(|| measure(rows));
    report.bar("shard-ingest-search-p99-over-idle", AtMost(2.0), || {
        let Measured { idle, ingest, .. } = measure()?;
        Ok(ingest.p99().as_secs_f64() / idle.p99().as_secs_f64())
    });
    report.bar("shard-ingest-lock-waits-over-1ms", AtMost(0.0), || {
        Ok(measure()?.ingest.long_waits as f64)
    });
    report.bar("shard-ingest-recall-lost", AtMost(0.0), || {
        let Measured { rested, beside, .. } = measure()?;
        Ok(rested - beside)
    });
    report.bar("shard-snapshot-longest-search-lock-ms", AtMost(1.0), || {
        Ok(measure()?.snapshot.longest_wait.as_secs_f64() * 1e3)
    });
}

struct Measured {
    idle: Searches,
    ingest: Searches,
    snapshot: Searches,
    /// Recall of views as they were taken beside the ingest.
    beside: f64,
    /// Recall of the last of them when all its rows were linked.
    rested: f64,
}

/// How searches went.
#[derive(Default)]
struct Searches {
    times: Vec<Duration>,
    /// Searches that waited for somebody, and took longer than a wait may.
    long_waits: usize,
    /// The longest search that waited for somebody.
    longest_wait: Duration,
}

impl Searches {
    fn p99(&self) -> Duration {
        let mut times = self.times.clone();
        times.sort_unstable();
        times.get(times.len() * 99 / 100).copied().unwrap_or_default()
    }
}

fn measure(rows: usize) -> Result<Measured> {
    let schema = schema()?;
    let mut rng = SmallRng::seed_from_u64(1);
    let mut ingest = Ingest {
        replica: Replica::new(schema.clone(), &Options::default(), 1),
        schema,
        cursor: Cursor::default(),
        index: 1,
        next: 0,
    };
    let queries: Vec<Vec<f32>> = (0..QUERIES).map(|_| vector(&mut rng)).collect();
    while (ingest.next as usize) < rows {
        ingest.add(&mut rng, 1_000)?;
    }
    let reader = ingest.replica.reader().clone();
    thread::scope(|scope| {
        (0..cores()).for_each(|_| drop(scope.spawn(|| while reader.link(1_000) > 0 {})));
    });

    let idle = beside(&reader, &queries, |_| {
        thread::sleep(MEASURED);
        Ok(())
    })?;
    let mut views = Vec::new();
    let before = ingest.next;
    let ingested = beside(&reader, &queries, |ended| {
        thread::scope(|scope| {
            (0..cores()).for_each(|_| {
                drop(scope.spawn(|| {
                    while !ended.load(Ordering::Relaxed) {
                        if reader.link(LINK_BATCH) == 0 {
                            thread::sleep(Duration::from_millis(1));
                        }
                    }
                }));
            });
            let done = ingest.paced(&mut rng, &mut views);
            ended.store(true, Ordering::Relaxed);
            done
        })
    })?;
    eprintln!(
        "  {} rows a second came; p99 of searches {:?}, idle {:?}",
        (ingest.next - before) as f64 / MEASURED.as_secs_f64(),
        ingested.p99(),
        idle.p99()
    );
    let of = views.iter().map(|view| recall(view, &queries));
    let found = of.collect::<Result<Vec<f64>>>()?;
    while reader.link(1_000) > 0 {}
    let rested = recall(&reader.view(), &queries)?;

    let folder = tempfile::tempdir_in(crate::run::root().join("target"))?;
    let snapshot = beside(&reader, &queries, |_| snapshots(&reader, folder.path()))?;
    Ok(Measured {
        idle,
        ingest: ingested,
        snapshot,
        beside: found.iter().sum::<f64>() / found.len() as f64,
        rested,
    })
}

/// Writes snapshots, each whole, for as long as is measured.
fn snapshots(reader: &Reader, folder: &std::path::Path) -> Result<()> {
    let began = Instant::now();
    for at in 0.. {
        if began.elapsed() > MEASURED {
            break;
        }
        let disk = FsDisk::open(folder.join(at.to_string()))?;
        let owner = Owner {
            dataset: DatasetId(1),
            partition: 0,
            schema_version: 1,
            catalogue: Vec::new(),
        };
        Snapshots::new(disk, 1)
            .write(&reader.view(), owner, &|| false)
            .map_err(|error| anyhow!("{error}"))?;
        fs::remove_dir_all(folder.join(at.to_string()))?;
    }
    Ok(())
}

/// Searches on a thread until `work` has ended, which may tell others by what it is handed.
fn beside(
    reader: &Reader,
    queries: &[Vec<f32>],
    work: impl FnOnce(&AtomicBool) -> Result<()>,
) -> Result<Searches> {
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let searching = scope.spawn(|| searches(reader, queries, &ended));
        let done = work(&ended);
        ended.store(true, Ordering::Relaxed);
        let searches = searching.join().map_err(|_| anyhow!("a search panicked"))?;
        done?;
        searches
    })
}

fn searches(reader: &Reader, queries: &[Vec<f32>], ended: &AtomicBool) -> Result<Searches> {
    let mut searches = Searches::default();
    let began = Instant::now();
    for (at, query) in (0..).zip(queries.iter().cycle()) {
        let due = began + EVERY * at;
        if let Some(left) = due.checked_duration_since(Instant::now()) {
            thread::sleep(left);
        }
        if ended.load(Ordering::Relaxed) {
            break;
        }
        let (waits, started) = (waits()?, Instant::now());
        ask(&reader.view(), query, false)?;
        let ended = Instant::now();
        searches.times.push(ended - due);
        if self::waits()? > waits {
            searches.longest_wait = searches.longest_wait.max(ended - started);
            searches.long_waits += usize::from(ended - started > WAIT_MAX);
        }
    }
    Ok(searches)
}

/// How often this thread has given up its core to wait for somebody.
fn waits() -> Result<u64> {
    let status = fs::read_to_string("/proc/thread-self/status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    Ok(line.context("no count of switches")?.trim().parse()?)
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, |cores| cores.get())
}

struct Ingest {
    replica: Replica,
    schema: Schema,
    cursor: Cursor,
    index: u64,
    /// Id of the next row.
    next: u64,
}

impl Ingest {
    fn add(&mut self, rng: &mut SmallRng, rows: usize) -> Result<()> {
        let vectors: Vec<Vec<f32>> = (0..rows).map(|_| vector(rng)).collect();
        let rows_of = vectors.iter().map(Vec::as_slice);
        let body = body(&self.schema, (self.next..).zip(rows_of))?;
        self.index += 1;
        self.replica
            .apply(self.index, WriteKind::Upsert, &body, rows as u32)?;
        self.next += rows as u64;
        let view = self.replica.reader().view();
        while let Some(plan) = view.compaction(&Sizes::default(), &mut self.cursor) {
            if self.replica.install(plan.merge(&|| false)?).is_none() {
                break;
            }
        }
        self.replica.publish();
        Ok(())
    }

    /// Adds rows as fast as the share of the CPU allows. Keeps some of the views in between.
    fn paced(&mut self, rng: &mut SmallRng, views: &mut Vec<Arc<View>>) -> Result<()> {
        let pid = std::process::id();
        let (began, used) = (Instant::now(), cpu_time(pid)?);
        let mut due = MEASURED / 20;
        while began.elapsed() < MEASURED {
            let allowed = began.elapsed().mul_f64(SHARE * cores() as f64);
            if self.replica.reader().unlinked() < UNLINKED_MAX && cpu_time(pid)? - used < allowed {
                self.add(rng, BATCH_ROWS)?;
            } else {
                thread::sleep(Duration::from_millis(1));
            }
            if began.elapsed() > due {
                due += MEASURED / 20;
                views.push(self.replica.reader().view());
            }
        }
        Ok(())
    }
}
