//! A directory of the operating system's file system as a [`Disk`].

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::fs::{FallocateFlags, FlockOperation, fallocate, flock};

use crate::{Disk, DiskFile};

/// A directory, held by one process at a time.
#[derive(Debug)]
pub struct FsDisk {
    path: PathBuf,
    /// Open for syncing names; holds the lock.
    dir: File,
    read_only: bool,
}

impl FsDisk {
    /// Opens a directory, creating it durably if it is not there, and locks it.
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        create_durably(&path)?;
        let dir = File::open(&path)?;
        flock(&dir, FlockOperation::NonBlockingLockExclusive).map_err(|error| {
            let error = io::Error::from(error);
            let message = format!("{} is in use by another process: {error}", path.display());
            io::Error::new(error.kind(), message)
        })?;
        Ok(Self {
            path,
            dir,
            read_only: false,
        })
    }

    /// Opens a directory that is there, to read alone: every change is refused. Several may read at once, beside no
    /// process that writes.
    pub fn open_to_read(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        let dir = File::open(&path)?;
        flock(&dir, FlockOperation::NonBlockingLockShared).map_err(|error| {
            let error = io::Error::from(error);
            let message = format!("{} is in use by another process: {error}", path.display());
            io::Error::new(error.kind(), message)
        })?;
        Ok(Self {
            path,
            dir,
            read_only: true,
        })
    }

    fn may_change(&self) -> io::Result<()> {
        if self.read_only {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        Ok(())
    }
}

/// Creates a directory and makes its name durable in each parent that is new.
fn create_durably(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        create_durably(parent)?;
    }
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(parent)?.sync_all()
}

impl Disk for FsDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn create(&self, name: &str, len: u64) -> io::Result<Arc<dyn DiskFile>> {
        self.may_change()?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(self.path.join(name))?;
        match fallocate(&file, FallocateFlags::empty(), 0, len) {
            Ok(()) => {}
            // Not every file system can reserve; then space is found missing by the write.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => file.set_len(len)?,
            Err(error) => return Err(error.into()),
        }
        Ok(Arc::new(FsFile(file)))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(!self.read_only)
            .open(self.path.join(name))?;
        Ok(Arc::new(FsFile(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.may_change()?;
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.may_change()?;
        fs::remove_file(self.path.join(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.dir.sync_all()
    }
}

struct FsFile(File);

impl DiskFile for FsFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.0.write_at(buf, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
}
