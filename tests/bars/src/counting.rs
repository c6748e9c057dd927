//! A disk that counts what is asked of it.

use std::{
    io,
    ops::Sub,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use longbow_wal::{Disk, DiskFile, FsDisk};

/// What was asked.
#[derive(Debug, Clone, Copy)]
pub struct Counts {
    /// Writes.
    pub writes: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Syncs of data.
    pub syncs: u64,
    /// Files that got the name of a segment.
    pub renames: u64,
}

impl Sub for Counts {
    type Output = Counts;

    fn sub(self, before: Counts) -> Counts {
        Counts {
            writes: self.writes - before.writes,
            bytes: self.bytes - before.bytes,
            syncs: self.syncs - before.syncs,
            renames: self.renames - before.renames,
        }
    }
}

#[derive(Default)]
struct Counters {
    writes: AtomicU64,
    bytes: AtomicU64,
    syncs: AtomicU64,
    renames: AtomicU64,
}

/// A directory, with counters.
pub struct CountingDisk {
    disk: FsDisk,
    counters: Arc<Counters>,
}

impl CountingDisk {
    /// Counts what is asked of a directory from now on.
    pub fn new(disk: FsDisk) -> Self {
        Self {
            disk,
            counters: Arc::default(),
        }
    }

    /// What was asked so far.
    pub fn counts(&self) -> Counts {
        Counts {
            writes: self.counters.writes.load(Relaxed),
            bytes: self.counters.bytes.load(Relaxed),
            syncs: self.counters.syncs.load(Relaxed),
            renames: self.counters.renames.load(Relaxed),
        }
    }

    fn counted(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(CountingFile(file, self.counters.clone()))
    }
}

impl Disk for CountingDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn create(&self, name: &str, len: u64) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.create(name, len).map(|file| self.counted(file))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.open(name).map(|file| self.counted(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.counters
            .renames
            .fetch_add(u64::from(to.ends_with(".wal")), Relaxed);
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.disk.sync_dir()
    }
}

struct CountingFile(Arc<dyn DiskFile>, Arc<Counters>);

impl DiskFile for CountingFile {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        let written = self.0.write_at(buf, offset)?;
        self.1.writes.fetch_add(1, Relaxed);
        self.1.bytes.fetch_add(written as u64, Relaxed);
        Ok(written)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.1.syncs.fetch_add(1, Relaxed);
        self.0.sync_data()
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.truncate(len)
    }
}
