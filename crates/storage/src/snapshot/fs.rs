//! A directory of the operating system's file system as a [`Disk`]. The one place in this crate that does I/O.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use longbow_index::ImageMemory;

use super::{Disk, NewFile};

/// A directory that belongs to one [`Snapshots`](super::Snapshots) of one process.
#[derive(Debug)]
pub struct FsDisk {
    path: PathBuf,
}

impl FsDisk {
    /// Opens a directory, creating it durably if it is not there.
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        create_durably(&path)?;
        Ok(Self { path })
    }
}

/// Creates a directory and makes its name durable in each parent that is new.
fn create_durably(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    create_durably(parent)?;
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
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

    fn create(&self, name: &str) -> io::Result<Box<dyn NewFile>> {
        Ok(Box::new(File::create(self.path.join(name))?))
    }

    fn bytes(&self, name: &str) -> io::Result<u64> {
        Ok(fs::metadata(self.path.join(name))?.len())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Read>> {
        Ok(Box::new(File::open(self.path.join(name))?))
    }

    fn map(&self, name: &str) -> io::Result<ImageMemory> {
        let file = File::open(self.path.join(name))?;
        // SAFETY: a file of a snapshot is never changed after it got its name, only removed, and the directory has no
        // other owner; the mapping is private.
        let map = unsafe { memmap2::MmapOptions::new().map_copy(&file)? };
        Ok(ImageMemory::from(map))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync_names(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

impl NewFile for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}
