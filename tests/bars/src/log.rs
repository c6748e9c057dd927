//! The bars of the log.

mod cluster;
mod door;
mod etcd;
mod failover;
mod faults;
mod keeper;
mod latch;
mod open;
mod simulation;

use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use longbow_wal::{Batch, EntryKind, FsDisk, Log, Options, Reader};
use tempfile::TempDir;

use crate::{
    LogArgs,
    counting::{CountingDisk, Counts},
    report::{Report, Required::AtLeast, Required::AtMost},
    run::root,
};

const GROUP_ENTRIES: u64 = 64;
const ENTRY_BYTES: usize = 64 << 10;
const SEGMENT_BYTES: u64 = 64 << 20;
const PAIRS: usize = 15;
const PAIRS_FULL: usize = 40;
/// Groups in one half of a pair: two segments' worth, so that births of segments are in it.
const GROUPS: u64 = 32;
const WRITERS: usize = 256;
const WRITERS_RUN: Duration = Duration::from_secs(10);

/// Measures all bars; true if one is short.
pub fn measure(args: &LogArgs) -> Result<bool> {
    let mut report = Report::new(&args.only);
    throughput(&mut report, args);
    report.bar(
        "log-100b-256-writers-commits-per-fdatasync",
        AtLeast(50.0),
        || many_writers(&folder(args)?),
    );
    report.bar("log-open-10m-entries-seconds", AtMost(2.0), || {
        open::seconds(&folder(args)?)
    });
    report.bar("log-simulation-seeds", AtLeast(1000.0), simulation::seeds);
    cluster::measure(&mut report, args);
    keeper::bars(&mut report, args);
    Ok(report.short())
}

/// The folder measured in: on the disk of the repository unless told, for a folder in memory syncs for nothing.
fn folder(args: &LogArgs) -> Result<PathBuf> {
    let folder = args.dir.clone().unwrap_or_else(|| root().join("target/bars"));
    std::fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    Ok(folder)
}

fn throughput(report: &mut Report, args: &LogArgs) {
    const NAMES: [&str; 5] = [
        "log-64k-group64-vs-bare-disk",
        "log-bytes-written-per-log-byte",
        "log-fdatasyncs-per-group",
        "log-fdatasyncs-per-group-no-fewer",
        "log-writes-per-group",
    ];
    if !NAMES.iter().any(|name| report.wants(name)) {
        return;
    }
    let pairs = if args.full { PAIRS_FULL } else { PAIRS };
    let measured = folder(args).and_then(|folder| Pairs::measure(&folder, pairs));
    let measured = match measured {
        Ok(measured) => measured,
        Err(error) => return none_measured(report, &NAMES, &error),
    };
    report.bar(NAMES[0], AtLeast(0.85), || Ok(median(&measured.ratios)));
    let Pairs { counts, groups, .. } = &measured;
    report.bar(NAMES[1], AtMost(1.02), || {
        let logged = groups * GROUP_ENTRIES * ENTRY_BYTES as u64;
        Ok(counts.bytes as f64 / logged as f64)
    });
    eprintln!("{} of {groups} groups began a segment", measured.segments);
    for (name, required) in [(NAMES[2], AtMost(1.0)), (NAMES[3], AtLeast(1.0))] {
        report.bar(name, required, || Ok(counts.syncs as f64 / *groups as f64));
    }
    report.bar(
        NAMES[4],
        AtMost(1.0),
        || Ok(counts.writes as f64 / *groups as f64),
    );
}

/// The log and the bare disk, in turn.
struct Pairs {
    /// Throughput of the log by that of the bare disk, one for each pair.
    ratios: Vec<f64>,
    counts: Counts,
    groups: u64,
    segments: u64,
}

impl Pairs {
    fn measure(folder: &Path, pairs: usize) -> Result<Self> {
        let dir = TempDir::new_in(folder)?;
        let mut log = Driver::new(&dir.path().join("wal"))?;
        let mut bare = Bare::new(&dir.path().join("bare"))?;
        // Until every file that is written to has been written before.
        for _ in 0..2 {
            log.round()?;
            bare.round()?;
        }
        let (before, segments) = (log.disk.counts(), log.segments);
        let mut ratios = Vec::new();
        let mut raw = String::from("pair,log_seconds,bare_seconds\n");
        for pair in 0..pairs {
            let (ours, theirs) = if pair % 2 == 0 {
                let ours = log.round()?;
                (ours, bare.round()?)
            } else {
                let theirs = bare.round()?;
                (log.round()?, theirs)
            };
            raw.push_str(&format!(
                "{pair},{},{}\n",
                ours.as_secs_f64(),
                theirs.as_secs_f64()
            ));
            ratios.push(theirs.as_secs_f64() / ours.as_secs_f64());
        }
        keep("log-64k-group64.csv", &raw)?;
        Ok(Self {
            ratios,
            counts: log.disk.counts() - before,
            groups: pairs as u64 * GROUPS,
            segments: log.segments - segments,
        })
    }
}

/// A log with recycled segments, written to as a keeper does: one batch is staged while the other is synced.
struct Driver {
    disk: Arc<CountingDisk>,
    log: Log,
    data: Arc<Vec<u8>>,
    /// Used again and again, as a keeper does.
    batches: Vec<Batch>,
    next: u64,
    /// Segments begun, the first one aside.
    segments: u64,
}

impl Driver {
    fn new(path: &Path) -> Result<Self> {
        let disk = Arc::new(CountingDisk::new(FsDisk::open(path)?));
        let options = Options {
            segment_bytes: SEGMENT_BYTES,
            spares: 4,
        };
        let log = Log::create(disk.clone(), options, 1)?;
        Ok(Self {
            disk,
            log,
            data: Arc::new(noise(ENTRY_BYTES)),
            batches: vec![Batch::new(), Batch::new()],
            next: 1,
            segments: 0,
        })
    }

    /// Appends some groups, then gives up old segments, so that their files are used again.
    fn round(&mut self) -> Result<Duration> {
        let births = self.disk.counts().renames;
        let (full, filled) = mpsc::sync_channel::<Batch>(1);
        let (empty, emptied) = mpsc::sync_channel::<Batch>(2);
        for batch in self.batches.drain(..) {
            empty.send(batch).context("the channel is open")?;
        }
        let (reader, data, first) = (self.log.reader.clone(), self.data.clone(), self.next);
        let began = Instant::now();
        let stager = thread::spawn(move || -> Result<Vec<Batch>> {
            for group in 0..GROUPS {
                let mut batch = emptied.recv()?;
                reader.prepare(&mut batch);
                let first = first + group * GROUP_ENTRIES;
                for index in first..first + GROUP_ENTRIES {
                    batch.entry(0, EntryKind::Normal, 1, index, &data)?;
                }
                full.send(batch)?;
            }
            drop(full);
            Ok(emptied.iter().collect())
        });
        let mut committed = Ok(());
        for _ in 0..GROUPS {
            let Ok(mut batch) = filled.recv() else { break };
            committed = self.log.writer.commit(&mut batch).map(|_| ());
            if committed.is_err() {
                break;
            }
            empty.send(batch).context("the stager takes all batches back")?;
        }
        let took = began.elapsed();
        drop((filled, empty));
        let staged = stager
            .join()
            .map_err(|_| anyhow::anyhow!("the stager panicked"))?;
        committed?;
        self.batches = staged?;
        self.next += GROUPS * GROUP_ENTRIES;
        ensure!(
            self.log.reader.last_index(0) == self.next - 1,
            "entries are missing"
        );
        self.segments += self.disk.counts().renames - births;
        self.log.writer.trim(|_| u64::MAX, usize::MAX)?;
        Ok(took)
    }
}

/// A plain file, preallocated and written over and over, with one fdatasync per group.
struct Bare {
    file: File,
    group: Vec<u8>,
    at: u64,
}

impl Bare {
    fn new(path: &Path) -> Result<Self> {
        let file = File::create_new(path)?;
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, SEGMENT_BYTES)?;
        let group = noise(ENTRY_BYTES * GROUP_ENTRIES as usize);
        for at in (0..SEGMENT_BYTES).step_by(group.len()) {
            file.write_all_at(&group, at)?;
        }
        file.sync_all()?;
        Ok(Self { file, group, at: 0 })
    }

    /// The time of one small write and its sync.
    fn small(&mut self, bytes: usize) -> Result<Duration> {
        let began = Instant::now();
        self.file.write_all_at(&self.group[..bytes], self.at)?;
        self.file.sync_data()?;
        self.at = (self.at + bytes as u64) % (SEGMENT_BYTES / 2);
        Ok(began.elapsed())
    }

    fn round(&mut self) -> Result<Duration> {
        let began = Instant::now();
        for _ in 0..GROUPS {
            self.file.write_all_at(&self.group, self.at)?;
            self.file.sync_data()?;
            self.at = (self.at + self.group.len() as u64) % SEGMENT_BYTES;
        }
        Ok(began.elapsed())
    }
}

/// Keeps raw samples, for whoever wants to look closer.
fn keep(name: &str, text: &str) -> Result<()> {
    let folder = root().join("target/bars");
    std::fs::create_dir_all(&folder)?;
    Ok(std::fs::write(folder.join(name), text)?)
}

/// A line for each bar of a measurement that failed as a whole.
fn none_measured(report: &mut Report, names: &[&str], error: &anyhow::Error) {
    for name in names {
        report.holds(name, || Err(anyhow::anyhow!("{error:#}")));
    }
}

/// Bytes that a disk cannot shrink.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..len).map(|_| next()).collect()
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        len if len % 2 == 1 => sorted[len / 2],
        len => f64::midpoint(sorted[len / 2 - 1], sorted[len / 2]),
    }
}

/// What many writers stage, each waiting for its own entry to be durable before the next.
struct Shared {
    state: Mutex<Staging>,
    news: Condvar,
    durable: Condvar,
    reader: Reader,
    stop: AtomicBool,
}

struct Staging {
    batch: Batch,
    next: u64,
    durable: u64,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Staging> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One writer: appends until told to stop.
    fn write(&self) -> Result<()> {
        let data = [7; 100];
        let mut state = self.lock();
        while !self.stop.load(Ordering::Relaxed) {
            let index = state.next;
            state.next += 1;
            self.reader.prepare(&mut state.batch);
            state.batch.entry(0, EntryKind::Normal, 1, index, &data)?;
            self.news.notify_one();
            while state.durable < index && !self.stop.load(Ordering::Relaxed) {
                state = self.durable.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
        Ok(())
    }
}

/// Entries made durable by each fdatasync, with closed-loop writers at the log itself.
fn many_writers(folder: &Path) -> Result<f64> {
    let dir = TempDir::new_in(folder)?;
    let disk = Arc::new(CountingDisk::new(FsDisk::open(dir.path().join("wal"))?));
    let Log {
        mut writer, reader, ..
    } = Log::create(disk.clone(), Options::default(), 1)?;
    let staging = Staging {
        batch: Batch::new(),
        next: 1,
        durable: 0,
    };
    let shared = Arc::new(Shared {
        state: Mutex::new(staging),
        news: Condvar::new(),
        durable: Condvar::new(),
        reader,
        stop: AtomicBool::new(false),
    });
    let before = disk.counts();
    let writers: Vec<_> = (0..WRITERS)
        .map(|_| {
            let shared = shared.clone();
            thread::spawn(move || shared.write())
        })
        .collect();
    let until = Instant::now() + WRITERS_RUN;
    let mut batch = Batch::new();
    let mut committed = Ok(());
    while Instant::now() < until && committed.is_ok() {
        let mut state = shared.lock();
        while state.batch.is_empty() {
            state = shared.news.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::swap(&mut state.batch, &mut batch);
        let last = state.next - 1;
        drop(state);
        committed = writer.commit(&mut batch).map(|_| ());
        shared.lock().durable = last;
        shared.durable.notify_all();
    }
    shared.stop.store(true, Ordering::Relaxed);
    drop(shared.lock());
    shared.durable.notify_all();
    for writer in writers {
        writer
            .join()
            .map_err(|_| anyhow::anyhow!("a writer panicked"))??;
    }
    committed?;
    let (commits, syncs) = (shared.lock().durable, (disk.counts() - before).syncs);
    eprintln!("{commits} commits, {syncs} fdatasyncs in {WRITERS_RUN:?}");
    Ok(commits as f64 / syncs as f64)
}
