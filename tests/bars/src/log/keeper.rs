//! What entries cost at the keepers' door: beside the bare disk, beside etcd, and in memory.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use bytes::Bytes;
use longbow_harness::process::resident_bytes;
use tempfile::TempDir;

use super::{
    Bare, ENTRY_BYTES, GROUP_ENTRIES, GROUPS,
    cluster::{on_a_runtime, only_full},
    door::Door,
    etcd::Etcd,
    folder, keep, median, noise,
};
use crate::{
    LogArgs,
    report::{
        Report,
        Required::{AtLeast, AtMost},
    },
};

/// Groups in flight: one is staged while another is synced.
const IN_FLIGHT: usize = 2;
const WRITERS: usize = 256;
const PAIRS: usize = 15;
/// Entries of each writer in a round, for one writer and for many.
const SMALL_ALONE: u64 = 200;
const SMALL_EACH: u64 = 20;
const SMALL_BYTES: usize = 100;
const VALUE_BYTES: usize = 1024;
const LATENCIES: usize = 300;
/// What a keeper of the memory bars keeps of recent entries.
const CACHE_MIB: u64 = 32;
const STALLED: usize = 50;
const STALLED_MIB: u64 = 1024;
const DOWN_MIB: u64 = 5 * 1024;
const CACHE: (&str, &str) = ("LONGBOW_KEEPER_CACHE_BYTES", "33554432");

/// A log whose files are soon used again, as those of one that has run for hours are: what the shard has in snapshots is cut
/// off soon.
const RECYCLED: [(&str, &str); 2] = [
    ("LONGBOW_KEEPER_WINDOW_ENTRIES", "0"),
    ("LONGBOW_KEEPER_CHECKPOINT_INTERVAL", "500ms"),
];
/// Rounds until every file that is written to has been written before.
const WARM: usize = 8;

/// Measures the bars.
pub(super) fn bars(report: &mut Report, args: &LogArgs) {
    for (name, keepers) in [
        ("log-64k-group64-keeper-vs-bare-disk", 1),
        ("log-64k-group64-three-keepers-vs-bare-disk", 3),
    ] {
        report.bar(name, AtLeast(0.85), || {
            let folder = folder(args)?;
            on_a_runtime(large(&folder, keepers))
        });
    }
    report.bar(
        "log-100b-256-writers-keeper-commits-per-fdatasync",
        AtLeast(50.0),
        || on_a_runtime(commits_per_sync()),
    );
    report.bar("log-latency-1-writer-vs-fdatasync", AtMost(1.3), || {
        let folder = folder(args)?;
        on_a_runtime(latency(&folder))
    });
    for (name, clients, least) in [
        ("log-vs-etcd-1-client", 1, 0.95),
        ("log-vs-etcd-256-clients", WRITERS, 1.2),
    ] {
        report.bar(name, AtLeast(least), || {
            let folder = folder(args)?;
            on_a_runtime(beside_etcd(&folder, clients))
        });
    }
    report.bar("log-rss-mib-over-cache-50-stalled-readers", AtMost(64.0), || {
        on_a_runtime(stalled_readers())
    });
    report.bar("log-rss-mib-over-cache-follower-down-5-gib", AtMost(64.0), || {
        only_full(args)?;
        on_a_runtime(follower_down())
    });
}

/// Large entries, in turn with bare files on the same disk, one for each keeper: how many times as fast.
async fn large(folder: &Path, keepers: u32) -> Result<f64> {
    let writers = IN_FLIGHT * GROUP_ENTRIES as usize;
    let mut door = Door::open(keepers, writers, &RECYCLED).await?;
    let dir = TempDir::new_in(folder)?;
    let bares = (0..keepers).map(|number| Bare::new(&dir.path().join(format!("bare-{number}"))));
    let mut bares = bares.collect::<Result<Vec<_>>>()?;
    let body = Bytes::from(noise(ENTRY_BYTES));
    let each = GROUPS * GROUP_ENTRIES / writers as u64;
    let mut ratios = Vec::new();
    let mut raw = String::from("pair,keeper_seconds,bare_seconds\n");
    for pair in 0..PAIRS + WARM {
        let ours = door.write(writers, each, &body).await?;
        door.report().await;
        let theirs = all_at_once(&mut bares)?;
        if pair >= WARM {
            raw.push_str(&format!(
                "{pair},{},{}\n",
                ours.as_secs_f64(),
                theirs.as_secs_f64()
            ));
            ratios.push(theirs.as_secs_f64() / ours.as_secs_f64());
        }
    }
    keep(&format!("log-64k-group64-{keepers}-keepers.csv"), &raw)?;
    Ok(median(&ratios))
}

/// The time until every file has had its round, all of them at the same time.
fn all_at_once(bares: &mut [Bare]) -> Result<Duration> {
    let began = Instant::now();
    thread::scope(|scope| {
        let rounds: Vec<_> = bares
            .iter_mut()
            .map(|bare| scope.spawn(move || bare.round()))
            .collect();
        rounds.into_iter().try_for_each(|round| {
            let round = round.join().map_err(|_| anyhow!("a round panicked"))?;
            round.map(drop)
        })
    })?;
    Ok(began.elapsed())
}

async fn commits_per_sync() -> Result<f64> {
    let mut door = Door::open(1, WRITERS, &[]).await?;
    let body = Bytes::from(noise(SMALL_BYTES));
    door.write(WRITERS, SMALL_EACH, &body).await?;
    let before = door.syncs().await?;
    let each = 10 * SMALL_EACH;
    door.write(WRITERS, each, &body).await?;
    let syncs = door.syncs().await? - before;
    Ok((WRITERS as u64 * each) as f64 / syncs)
}

/// The time of one small entry, by that of a sync of a bare file and a call that writes nothing.
async fn latency(folder: &Path) -> Result<f64> {
    let mut door = Door::open(1, 1, &[]).await?;
    let dir = TempDir::new_in(folder)?;
    let mut bare = Bare::new(&dir.path().join("bare"))?;
    let body = Bytes::from(noise(SMALL_BYTES));
    let (mut appends, mut syncs, mut calls) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..LATENCIES {
        appends.push(door.write(1, 1, &body).await?.as_secs_f64());
        syncs.push(bare.small(SMALL_BYTES)?.as_secs_f64());
        let began = Instant::now();
        door.call().await?;
        calls.push(began.elapsed().as_secs_f64());
    }
    let (append, sync, call) = (median(&appends), median(&syncs), median(&calls));
    eprintln!(
        "  append {:.0} us, fdatasync {:.0} us, call {:.0} us",
        append * 1e6,
        sync * 1e6,
        call * 1e6
    );
    keep(
        "log-latency.json",
        &serde_json::json!({"appends": appends, "syncs": syncs, "calls": calls}).to_string(),
    )?;
    Ok(append / (sync + call))
}

/// Values of 1 KiB, in turn with etcd: how many times as fast.
async fn beside_etcd(folder: &Path, clients: usize) -> Result<f64> {
    let etcd = Etcd::start(folder).await?;
    let mut door = Door::open(1, clients, &[]).await?;
    let value = Bytes::from(noise(VALUE_BYTES));
    let each = if clients == 1 { SMALL_ALONE } else { SMALL_EACH };
    let mut ratios = Vec::new();
    let mut raw = String::from("pair,keeper_seconds,etcd_seconds\n");
    for pair in 0..=PAIRS {
        let ours = door.write(clients, each, &value).await?;
        door.report().await;
        let theirs = etcd.write(clients, each, &value).await?;
        if pair > 0 {
            raw.push_str(&format!(
                "{pair},{},{}\n",
                ours.as_secs_f64(),
                theirs.as_secs_f64()
            ));
            ratios.push(theirs.as_secs_f64() / ours.as_secs_f64());
        }
    }
    keep(&format!("log-etcd-{clients}-clients.csv"), &raw)?;
    Ok(median(&ratios))
}

/// The most memory of the leader beyond its cache, in MiB, while readers of its log do not read.
async fn stalled_readers() -> Result<f64> {
    let mut door = Door::open(1, GROUP_ENTRIES as usize, &[CACHE]).await?;
    let mut readers = Vec::new();
    for _ in 0..STALLED {
        readers.push(door.tail().await?);
    }
    let most = most_memory(&mut door, STALLED_MIB, "stalled-readers").await?;
    // They have something to read indeed.
    for reader in &mut readers {
        let next = tokio::time::timeout(Duration::from_secs(60), reader.message()).await?;
        ensure!(next?.is_some(), "a reader has lost its stream");
    }
    Ok(most)
}

/// The same while one of three keepers is down.
async fn follower_down() -> Result<f64> {
    let mut door = Door::open(3, GROUP_ENTRIES as usize, &[CACHE]).await?;
    let leader = door.leader().id.clone();
    let follower = door.cluster.of_role("wal-keeper").find(|node| node.id != leader);
    let follower = follower.context("no follower")?.id.clone();
    door.cluster.kill(&follower)?;
    most_memory(&mut door, DOWN_MIB, "follower-down").await
}

/// Writes so many MiB and looks at the leader's memory meanwhile.
async fn most_memory(door: &mut Door, mib: u64, when: &str) -> Result<f64> {
    let body = Bytes::from(noise(ENTRY_BYTES));
    let round = GROUP_ENTRIES * 8 * ENTRY_BYTES as u64;
    let pid = door.cluster.pid(&door.leader().id)?;
    let mut most = 0;
    let mut raw = String::from("resident_bytes\n");
    for _ in 0..(mib << 20) / round {
        door.write(GROUP_ENTRIES as usize, 8, &body).await?;
        door.report().await;
        let resident = resident_bytes(pid)?;
        raw.push_str(&format!("{resident}\n"));
        most = most.max(resident);
    }
    keep(&format!("log-rss-{when}.csv"), &raw)?;
    if most == 0 {
        bail!("the leader has no memory");
    }
    eprintln!("  at most {} MiB of the leader are resident", most >> 20);
    Ok(most as f64 / f64::from(1 << 20) - CACHE_MIB as f64)
}
