//! A disk that is gone after so many changes of it.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use longbow_wal::{Disk, DiskFile, sim::SimDisk};

/// Counts writes, syncs and changes of names, and refuses all of them from one on. Clones are the same disk.
#[derive(Clone)]
pub struct Doomed {
    disk: SimDisk,
    fate: Arc<Fate>,
}

struct Fate {
    left: AtomicU64,
    is_gone: AtomicBool,
}

impl Doomed {
    /// One that is gone after so many changes.
    pub fn after(changes: u64, disk: SimDisk) -> Self {
        let fate = Fate {
            left: AtomicU64::new(changes),
            is_gone: AtomicBool::new(false),
        };
        Self {
            disk,
            fate: Arc::new(fate),
        }
    }

    /// Whether a change was refused.
    pub fn is_gone(&self) -> bool {
        self.fate.is_gone.load(Ordering::Relaxed)
    }

    fn file(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(DoomedFile {
            file,
            fate: self.fate.clone(),
        })
    }
}

impl Fate {
    fn change(&self) -> io::Result<()> {
        let left = &self.left;
        let had_some = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if had_some.is_err() {
            self.is_gone.store(true, Ordering::Relaxed);
            return Err(io::Error::other("the power is gone"));
        }
        Ok(())
    }
}

impl Disk for Doomed {
    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn create(&self, name: &str, len: u64) -> io::Result<Arc<dyn DiskFile>> {
        self.fate.change()?;
        Ok(self.file(self.disk.create(name, len)?))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.file(self.disk.open(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.fate.change()?;
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.fate.change()?;
        self.disk.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.fate.change()?;
        self.disk.sync_dir()
    }
}

struct DoomedFile {
    file: Arc<dyn DiskFile>,
    fate: Arc<Fate>,
}

impl DiskFile for DoomedFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.fate.change()?;
        self.file.write_at(buf, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.fate.change()?;
        self.file.sync_data()
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.fate.change()?;
        self.file.truncate(len)
    }
}
