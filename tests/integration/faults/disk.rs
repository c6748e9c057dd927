//! Disks that fail, fill up, are slow, tear what was written last, rot, and lose what was not synced.

use std::{
    ffi::OsString,
    fs::{self, OpenOptions},
    os::unix::fs::FileExt,
    path::Path,
};

use anyhow::{Context, Result, ensure};
use longbow_harness::{
    cluster::{PATIENCE, warned},
    faults::Fault,
    power, wait,
};
use longbow_wal::{
    FsDisk,
    inspect::{Content, dump, verify},
};
use rand::{Rng, seq::IndexedRandom};

use super::scene::{KEEPERS, Scene, nothing_is_lost};

/// Bytes of a record before its payload.
const RECORD_HEADER_BYTES: u64 = 32;
/// Syncs that may fail before a keeper has ended.
const SYNCS_FAILED_MAX: u64 = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_fails() {
    nothing_is_lost("EIO on fdatasync", async |scene: &mut Scene| {
        let victim = scene.any();
        let failing = scene.hurt(victim, Fault::SyncError)?;
        failing.has_fired(1).await?;
        // The cluster says that redundancy is reduced.
        warned(&scene.endpoints[0], victim).await?;
        scene.cluster.ended(victim).await?;
        // Not tried again and again: the log's own, and those of files beside it that were under way.
        let fired = failing.fired();
        ensure!(fired <= SYNCS_FAILED_MAX, "{fired} syncs failed");
        ended_with_its_cause(scene, victim)?;
        scene.go_on("without the keeper whose disk failed").await?;
        scene.one_retry_is_enough()?;
        failing.end()?;
        scene.back(victim).await
    })
    .await;
}

/// A keeper whose disk failed says so last, and no part of it falls over on its way there.
fn ended_with_its_cause(scene: &Scene, keeper: &str) -> Result<()> {
    let mut log = scene.cluster.log(keeper)?;
    log.push_str(&scene.cluster.restarted_log(keeper).unwrap_or_default());
    ensure!(
        log.contains("the keeper stopped writing") && !log.contains("panicked"),
        "{keeper} ended otherwise:\n{log}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_is_full() {
    nothing_is_lost("ENOSPC on writes", async |scene: &mut Scene| {
        let victim = scene.any();
        let full = scene.hurt(victim, Fault::Full)?;
        full.has_fired(3).await?;
        full.end()?;
        scene.go_on("after there was no room").await?;
        // It went on by itself.
        scene.cluster.ready(victim).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_is_slow() {
    nothing_is_lost("100 ms for each write", async |scene: &mut Scene| {
        let leader = scene.leader().await?;
        let slow = scene.hurt(&leader, Fault::Slow(100))?;
        slow.has_fired(10).await?;
        scene.go_on("while the leader's disk is slow").await?;
        slow.end()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_record_is_torn() {
    nothing_is_lost("a torn last record", async |scene: &mut Scene| {
        let victim = scene.any();
        // So few bytes that they belong to the last record, and so many that they are not all zeros.
        let bytes = scene.random.random_range(20..30);
        let torn = scene.hurt(victim, Fault::Torn(bytes))?;
        scene.cluster.ended(victim).await?;
        torn.end()?;
        let report = verify(&FsDisk::open_to_read(scene.log_folder(victim))?)?;
        ensure!(report.torn.is_some(), "nothing is torn: {report:?}");
        scene
            .go_on("without the keeper whose last record is torn")
            .await?;
        scene.back(victim).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bit_flips_in_an_old_segment() {
    nothing_is_lost("a flipped bit", async |scene: &mut Scene| {
        let victim = scene.any();
        let folder = scene.log_folder(victim);
        wait::until("a log of several segments", PATIENCE, || async {
            let names = fs::read_dir(&folder)?.map(|file| Ok(file?.file_name()));
            let names = names.collect::<Result<Vec<_>>>()?;
            let is_segment = |name: &&OsString| Path::new(name).extension().is_some_and(|last| last == "wal");
            let segments = names.iter().filter(is_segment).count();
            ensure!(segments > 1, "there is {segments}");
            Ok(())
        })
        .await?;
        scene.cluster.kill(victim)?;
        flip(scene, victim).await
    })
    .await;
}

/// The keeper must refuse to start, and take part again when the bit is as it was.
async fn flip(scene: &mut Scene, victim: &str) -> Result<()> {
    let folder = scene.log_folder(victim);
    let mut entries = Vec::new();
    dump(&FsDisk::open_to_read(&folder)?, |record| {
        if let Content::Entry { data, .. } = record.content {
            entries.push((
                record.file,
                record.offset + RECORD_HEADER_BYTES,
                data.len() as u64,
            ));
        }
        Ok::<_, longbow_wal::Error>(())
    })?;
    let last = entries.last().context("an empty log")?.0.clone();
    entries.retain(|(file, _, bytes)| *file != last && *bytes > 0);
    let (file, begins, bytes) = entries
        .choose(&mut scene.random)
        .context("a log of a single segment")?;
    let at = begins + scene.random.random_range(0..*bytes);
    let bit = 1 << scene.random.random_range(0..8);
    let flip = || -> Result<()> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(folder.join(file))?;
        let mut byte = [0];
        file.read_exact_at(&mut byte, at)?;
        byte[0] ^= bit;
        Ok(file.write_all_at(&byte, at)?)
    };
    flip()?;
    let found = verify(&FsDisk::open_to_read(&folder)?);
    ensure!(
        matches!(found, Err(longbow_wal::Error::Corruption { .. })),
        "it was not found: {found:?}"
    );
    scene.cluster.restart(victim)?;
    scene.cluster.ended(victim).await?;
    let log = scene.cluster.restarted_log(victim)?;
    ensure!(
        log.contains("corruption in"),
        "it does not say why it ended:\n{log}"
    );
    scene.go_on("without the keeper whose log is damaged").await?;
    flip()?;
    scene.back(victim).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_power_is_cut() {
    nothing_is_lost("a power cut", async |scene: &mut Scene| {
        power_cut(scene).await?;
        scene.all_back().await
    })
    .await;
}

/// Cuts the power of all keepers while each of them has written something that is not synced.
pub async fn power_cut(scene: &mut Scene) -> Result<()> {
    let mut stalls = Vec::new();
    for keeper in KEEPERS {
        stalls.push(scene.hurt(keeper, Fault::SyncStall)?);
    }
    for stall in &stalls {
        stall.has_fired(1).await?;
    }
    for keeper in KEEPERS {
        scene.cluster.kill(keeper)?;
    }
    drop(stalls);
    for keeper in KEEPERS {
        let folder = scene.cluster.data_dir().join(keeper);
        let lost = power::cut(&folder, &scene.faults.notes(keeper), &mut scene.random)?;
        println!("{keeper}: {lost:?}");
        ensure!(lost.sectors > 0, "{keeper} lost nothing: {lost:?}");
    }
    Ok(())
}
