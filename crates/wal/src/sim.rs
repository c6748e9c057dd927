//! A disk in memory that crashes and fails on demand, for tests and simulation.
//!
//! It keeps what a real one promises and nothing more: after [`SimDisk::crash`] synced bytes are there; of writes that
//! were not synced each 512-byte sector is there or not, as the caller's random source says; a failed sync drops the
//! pages, so that a later successful one does not bring them back.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{Disk, DiskFile};

const SECTOR_BYTES: usize = 512;

/// What shall go wrong next.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    /// The sync after this many fails with EIO, once.
    pub sync_error_after: Option<u64>,
    /// The write after this many fails with EIO, once.
    pub write_error_after: Option<u64>,
    /// Writes take at most this many bytes.
    pub short_writes: Option<usize>,
    /// Bytes that all files together may hold; creating one that does not fit fails with ENOSPC.
    pub capacity: Option<u64>,
    /// The write after this many fails with ENOSPC, once.
    pub full_after: Option<u64>,
}

/// What was asked of the disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Successful and failed syncs of data.
    pub syncs: u64,
    /// Successful writes.
    pub writes: u64,
    /// Bytes written.
    pub bytes_written: u64,
    /// Faults that have fired.
    pub faults: u64,
}

/// A disk in memory. Clones are the same disk.
#[derive(Clone, Default)]
pub struct SimDisk(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    files: Vec<FileState>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    /// Changes of names since the last sync of the directory, in order.
    unsynced_names: Vec<NameChange>,
    faults: Faults,
    counters: Counters,
}

/// A change that is there as a whole or not at all. A power cut may keep any of several.
struct NameChange {
    gone: Option<String>,
    made: Option<(String, usize)>,
}

#[derive(Default, Clone)]
struct FileState {
    current: Vec<u8>,
    durable: Vec<u8>,
    /// Writes since the last sync.
    unsynced: Vec<(usize, Vec<u8>)>,
}

impl SimDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says what shall go wrong from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.lock().faults = faults;
    }

    /// What was asked so far.
    pub fn counters(&self) -> Counters {
        self.lock().counters
    }

    /// The disk as found after a power cut. `coin` says of each unsynced sector, and of each change of
    /// a name, whether it is there.
    pub fn crash(&self, coin: &mut dyn FnMut() -> bool) -> SimDisk {
        let state = self.lock();
        let files = state.files.iter().map(|file| file.crash(coin)).collect();
        let mut names = state.durable_names.clone();
        for NameChange { gone, made } in &state.unsynced_names {
            if coin() {
                gone.as_ref().map(|name| names.remove(name));
                names.extend(made.clone());
            }
        }
        SimDisk(Arc::new(Mutex::new(State {
            files,
            names: names.clone(),
            durable_names: names,
            unsynced_names: Vec::new(),
            faults: Faults::default(),
            counters: Counters::default(),
        })))
    }

    /// The disk as found by a process that starts after another was killed: unsynced bytes are there.
    pub fn reopen(&self) -> SimDisk {
        self.lock().faults = Faults::default();
        self.clone()
    }

    /// Bytes of a file, as a reader sees them.
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.lock();
        state.names.get(name).map(|&id| state.files[id].current.clone())
    }

    /// Flips a bit of a file, durably.
    pub fn flip_bit(&self, name: &str, offset: usize, bit: u8) {
        let mut state = self.lock();
        if let Some(&id) = state.names.get(name) {
            let file = &mut state.files[id];
            for bytes in [&mut file.current, &mut file.durable] {
                if let Some(byte) = bytes.get_mut(offset) {
                    *byte ^= 1 << (bit % 8);
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FileState {
    fn crash(&self, coin: &mut dyn FnMut() -> bool) -> FileState {
        let len = if coin() {
            self.current.len()
        } else {
            self.durable.len()
        };
        let mut bytes = self.durable.clone();
        bytes.resize(len, 0);
        for (offset, data) in &self.unsynced {
            let mut at = 0;
            while at < data.len() {
                // Sectors of the file, not of the write.
                let end = ((offset + at) / SECTOR_BYTES + 1) * SECTOR_BYTES - offset;
                let end = end.min(data.len());
                let target = offset + at..offset + end;
                if coin() && target.end <= bytes.len() {
                    bytes[target].copy_from_slice(&data[at..end]);
                }
                at = end;
            }
        }
        FileState {
            current: bytes.clone(),
            durable: bytes,
            unsynced: Vec::new(),
        }
    }
}

/// Counts down to a fault; true when it fires.
fn fires(countdown: &mut Option<u64>, counters: &mut Counters) -> bool {
    match countdown {
        Some(0) => {
            *countdown = None;
            counters.faults += 1;
            true
        }
        Some(n) => {
            *n -= 1;
            false
        }
        None => false,
    }
}

fn eio() -> io::Error {
    io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error())
}

fn enospc() -> io::Error {
    io::ErrorKind::StorageFull.into()
}

impl Disk for SimDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.lock().names.keys().cloned().collect())
    }

    fn create(&self, name: &str, len: u64) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.lock();
        let used: u64 = state
            .names
            .values()
            .map(|&id| state.files[id].current.len() as u64)
            .sum();
        if state
            .faults
            .capacity
            .is_some_and(|capacity| used + len > capacity)
        {
            state.counters.faults += 1;
            return Err(enospc());
        }
        let len = usize::try_from(len).map_err(|_| enospc())?;
        let id = state.files.len();
        state.files.push(FileState {
            current: vec![0; len],
            ..FileState::default()
        });
        state.names.insert(name.to_owned(), id);
        state.unsynced_names.push(NameChange {
            gone: None,
            made: Some((name.to_owned(), id)),
        });
        Ok(Arc::new(SimFile {
            disk: self.clone(),
            id,
        }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let id = self.lock().names.get(name).copied();
        let id = id.ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(SimFile {
            disk: self.clone(),
            id,
        }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.lock();
        let id = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.names.insert(to.to_owned(), id);
        state.unsynced_names.push(NameChange {
            gone: Some(from.to_owned()),
            made: Some((to.to_owned(), id)),
        });
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.names.remove(name).ok_or(io::ErrorKind::NotFound)?;
        state.unsynced_names.push(NameChange {
            gone: Some(name.to_owned()),
            made: None,
        });
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut state = self.lock();
        state.durable_names = state.names.clone();
        state.unsynced_names.clear();
        Ok(())
    }
}

struct SimFile {
    disk: SimDisk,
    id: usize,
}

impl DiskFile for SimFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.lock().files[self.id].current.len() as u64)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.lock();
        let bytes = &state.files[self.id].current;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let len = buf.len().min(bytes.len() - start);
        buf[..len].copy_from_slice(&bytes[start..start + len]);
        Ok(len)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.lock();
        let State {
            faults,
            counters,
            files,
            ..
        } = &mut *state;
        if fires(&mut faults.write_error_after, counters) {
            return Err(eio());
        }
        if fires(&mut faults.full_after, counters) {
            return Err(enospc());
        }
        let len = buf.len().min(faults.short_writes.unwrap_or(usize::MAX));
        let start = usize::try_from(offset).map_err(|_| enospc())?;
        let file = &mut files[self.id];
        if file.current.len() < start + len {
            file.current.resize(start + len, 0);
        }
        file.current[start..start + len].copy_from_slice(&buf[..len]);
        file.unsynced.push((start, buf[..len].to_vec()));
        counters.writes += 1;
        counters.bytes_written += len as u64;
        Ok(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.lock();
        let State {
            faults,
            counters,
            files,
            ..
        } = &mut *state;
        counters.syncs += 1;
        let file = &mut files[self.id];
        if fires(&mut faults.sync_error_after, counters) {
            // The pages are dropped as clean: no later sync writes them, though reads still see them.
            file.unsynced.clear();
            return Err(eio());
        }
        let unsynced = std::mem::take(&mut file.unsynced);
        file.durable.resize(file.current.len(), 0);
        for (offset, data) in unsynced {
            let end = (offset + data.len()).min(file.durable.len());
            if offset < end {
                file.durable[offset..end].copy_from_slice(&data[..end - offset]);
            }
        }
        Ok(())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.lock();
        let len = usize::try_from(len).map_err(|_| enospc())?;
        state.files[self.id].current.resize(len, 0);
        Ok(())
    }
}
