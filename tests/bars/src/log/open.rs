//! How long it takes to open a long log again.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use longbow_wal::{EntryKind, FsDisk, Log, Options};
use tempfile::TempDir;

use super::{keep, median};

const ENTRIES: u64 = 10_000_000;
const ENTRY_BYTES: usize = 100;
const ENTRIES_A_FLUSH: u64 = 10_000;
const OPENS: usize = 5;

/// Median seconds of opening a log of ten million entries that was not closed, out of the page cache.
pub(super) fn seconds(folder: &Path) -> Result<f64> {
    let dir = TempDir::new_in(folder)?;
    let disk = Arc::new(FsDisk::open(dir.path())?);
    let mut log = Log::create(disk.clone(), Options::default(), 1)?;
    let data = [7; ENTRY_BYTES];
    for first in (1..=ENTRIES).step_by(ENTRIES_A_FLUSH as usize) {
        for index in first..first + ENTRIES_A_FLUSH {
            log.writer.entry(0, EntryKind::Normal, 1, index, &data)?;
        }
        log.writer.flush()?;
    }
    drop(log);
    let mut taken = Vec::new();
    for _ in 0..OPENS {
        let began = Instant::now();
        let log = Log::open(disk.clone(), Options::default())?;
        taken.push(began.elapsed());
        ensure!(log.reader.first_index(0) == 1 && log.reader.last_index(0) == ENTRIES);
    }
    eprintln!("  opened in {taken:?}");
    let seconds: Vec<f64> = taken.iter().map(Duration::as_secs_f64).collect();
    keep("log-open-10m-entries.json", &format!("{seconds:?}\n"))?;
    Ok(median(&seconds))
}
