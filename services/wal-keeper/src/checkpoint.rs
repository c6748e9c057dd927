//! The replicated state on disk, so that a start need not replay the whole log. In sled, off the write path.
//!
//! It may lag behind what is applied, never run ahead of what is durable in the log. Two slots are written in turn,
//! each in chunks with a checksum over all, so that a torn one is never taken for whole.
//!
//! sled's `flush` does not sync on Linux: a file handle of our own on its `db` file does. Chunks stay far below the
//! size from which sled would put them into files that nobody syncs.

use std::{
    fs::{self, File},
    io,
    mem::ManuallyDrop,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use longbow_cluster::{catalogue::Catalogue, keepers::Keepers};
use longbow_types::{Error, ErrorCode, Result};
use longbow_wire::internal;
use prost::Message;

use crate::state::State;

const CHUNK_BYTES: usize = 16 << 10;
const CACHE_BYTES: u64 = 8 << 20;
const SLOTS: [u8; 2] = [0, 1];
const META_BYTES: usize = 28;
/// Version 2 holds the whole state; version 1 held the catalogue alone, of a group that could not change.
const VERSION: u32 = 2;
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// Checkpoints of one keeper.
pub(crate) struct Checkpoints {
    dir: PathBuf,
    open: Option<Open>,
    /// Slot that the next checkpoint goes to: never the only whole one.
    next: u8,
}

struct Open {
    db: sled::Db,
    file: File,
}

/// Why a checkpoint was not written.
#[derive(Debug)]
enum Failure {
    /// A sync failed: final, and a signal about the disk.
    Sync(Error),
    /// Anything else: tried again later.
    Other(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Sync(error) | Failure::Other(error) => error,
        }
    }
}

/// What a slot says about itself.
struct Meta {
    version: u32,
    applied: u64,
    len: u64,
    crc: u32,
}

impl Meta {
    fn encode(&self) -> [u8; META_BYTES] {
        let mut bytes = [0; META_BYTES];
        bytes[..4].copy_from_slice(&self.version.to_le_bytes());
        bytes[4..12].copy_from_slice(&self.applied.to_le_bytes());
        bytes[12..20].copy_from_slice(&self.len.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.crc.to_le_bytes());
        let own = crc32c::crc32c(&bytes[..24]);
        bytes[24..].copy_from_slice(&own.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; META_BYTES] = bytes.try_into().ok()?;
        let u32_at = |at: usize| Some(u32::from_le_bytes(bytes[at..at + 4].try_into().ok()?));
        let u64_at = |at: usize| Some(u64::from_le_bytes(bytes[at..at + 8].try_into().ok()?));
        let version = u32_at(0)?;
        let sound = u32_at(24)? == crc32c::crc32c(&bytes[..24]) && (1..=VERSION).contains(&version);
        sound.then_some(Self {
            version,
            applied: u64_at(4)?,
            len: u64_at(12)?,
            crc: u32_at(20)?,
        })
    }
}

impl Checkpoints {
    /// Opens the folder, creating it if it is not there, and reads the newest state in it. `formed`: the group as it
    /// was formed, which is the first state.
    pub fn open(dir: &Path, formed: &Keepers) -> Result<(Self, State)> {
        let (checkpoints, states) = Self::open_all(dir, formed)?;
        let newest = states.into_iter().next_back();
        Ok((
            checkpoints,
            newest.unwrap_or_else(|| State::first(formed.clone())),
        ))
    }

    /// The same, with all states that are whole, the newest last.
    pub fn open_all(dir: &Path, formed: &Keepers) -> Result<(Self, Vec<State>)> {
        let mut checkpoints = Self {
            dir: dir.to_owned(),
            open: None,
            next: 0,
        };
        let open = checkpoints.opened()?;
        let mut found = Vec::new();
        for slot in SLOTS {
            found.extend(load(&open.db, slot, formed)?.map(|state| (slot, state)));
        }
        // Of two at one index the one counts that says that the log begins behind it.
        found.sort_by_key(|(_, state)| (state.index(), state.snapshot_term == 0));
        checkpoints.next = found.last().map_or(0, |&(slot, _)| 1 - slot);
        Ok((checkpoints, found.into_iter().map(|(_, state)| state).collect()))
    }

    /// Goes back to a state: no newer one is left.
    pub fn go_back(&mut self, state: &State) -> Result<()> {
        for _ in SLOTS {
            match self.store(state)? {
                Stored::Durable => {}
                Stored::Missed => {
                    let message = format!("{}: no room for a checkpoint", self.dir.display());
                    return Err(Error::new(ErrorCode::StorageFailed, message));
                }
            }
        }
        Ok(())
    }

    /// Writes a state durably. An error is a failed sync, and final.
    ///
    /// What else goes wrong, as on a full disk, closes the database, which could keep failing until it is opened again;
    /// the next call opens it.
    pub fn store(&mut self, state: &State) -> Result<Stored> {
        let bytes = state.encode();
        let slot = self.next;
        let stored = match self.opened() {
            Ok(open) => open.write(slot, state.index(), &bytes),
            Err(error) => Err(error),
        };
        let error = match stored {
            Ok(()) => {
                self.next = 1 - slot;
                return Ok(Stored::Durable);
            }
            Err(Failure::Other(error)) => error,
            Err(Failure::Sync(error)) => {
                if let Some(open) = self.open.take() {
                    open.abandon();
                }
                return Err(error);
            }
        };
        tracing::warn!(%error, "a checkpoint was not written: trying again later");
        self.shut()?;
        Ok(Stored::Missed)
    }

    /// Closes the database. An error is a failed sync, and final.
    pub fn close(mut self) -> Result<()> {
        self.shut()
    }

    fn shut(&mut self) -> Result<()> {
        self.open.take().map_or(Ok(()), Open::close)
    }

    fn opened(&mut self) -> Result<&mut Open, Failure> {
        let open = match self.open.take() {
            Some(open) => open,
            None => Open::new(&self.dir)?,
        };
        Ok(self.open.insert(open))
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        if let Err(error) = self.shut() {
            tracing::error!(%error, "the checkpoints could not be closed");
        }
    }
}

/// What became of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stored {
    Durable,
    /// It was not written, and is to be offered again.
    Missed,
}

impl Open {
    fn new(dir: &Path) -> Result<Self, Failure> {
        fs::create_dir_all(dir).map_err(|error| io_error(dir, &error))?;
        let config = sled::Config::new()
            .path(dir)
            .cache_capacity(CACHE_BYTES)
            .mode(sled::Mode::LowSpace)
            // Nothing is durable before our own sync; a background flusher would only burn the idle core.
            .flush_every_ms(None);
        let db = open_unlocked(&config).map_err(|error| sled_error(dir, &error))?;
        let file = File::open(dir.join("db")).map_err(|error| io_error(dir, &error))?;
        for folder in [Some(dir), dir.parent()].into_iter().flatten() {
            let synced = File::open(folder).and_then(|folder| folder.sync_all());
            synced.map_err(|error| Failure::Sync(io_error(folder, &error)))?;
        }
        Ok(Self { db, file })
    }

    /// Leaves everything as it is. sled syncs when it is dropped, and panics where that fails; but a sync that has failed
    /// is not tried again. What it holds is free when the process ends, which is soon.
    fn abandon(self) {
        let _never_dropped = ManuallyDrop::new(self.db);
    }

    /// Closes the database, so that it can be opened again. An error is a failed sync.
    fn close(self) -> Result<()> {
        // One that cannot write any more, as on a full disk, leaves the disk alone when it is dropped. Of any other the
        // last sync is ours, so that the next one has nothing to do.
        if self.db.flush().is_ok()
            && let Err(error) = self.file.sync_data()
        {
            self.abandon();
            return Err(io_error(Path::new("fdatasync of the checkpoint"), &error));
        }
        let dropped = catch_unwind(AssertUnwindSafe(move || drop(self.db)));
        dropped.map_err(|_| {
            let message = "the checkpoints could not be synced when they were closed";
            Error::new(ErrorCode::StorageFailed, message)
        })
    }

    fn write(&mut self, slot: u8, applied: u64, bytes: &[u8]) -> Result<(), Failure> {
        let meta = Meta {
            version: VERSION,
            applied,
            len: bytes.len() as u64,
            crc: crc32c::crc32c(bytes),
        };
        let failed = |error: sled::Error| sled_error(Path::new("checkpoint"), &error);
        let mut chunks = 0u32;
        for chunk in bytes.chunks(CHUNK_BYTES) {
            self.db.insert(chunk_key(slot, chunks), chunk).map_err(failed)?;
            chunks += 1;
        }
        for stale in self.db.range(chunk_key(slot, chunks)..=chunk_key(slot, u32::MAX)) {
            let (key, _) = stale.map_err(failed)?;
            self.db.remove(key).map_err(failed)?;
        }
        self.db.insert(meta_key(slot), &meta.encode()).map_err(failed)?;
        self.db.flush().map_err(failed)?;
        let synced = self.file.sync_data();
        synced.map_err(|error| Failure::Sync(io_error(Path::new("fdatasync of the checkpoint"), &error)))
    }
}

/// Opens the database. One that this process has just closed may hold its lock a moment longer: sled's own threads
/// let go of it when they are done.
fn open_unlocked(config: &sled::Config) -> sled::Result<sled::Db> {
    let until = Instant::now() + LOCK_PATIENCE;
    loop {
        match config.open() {
            Err(sled::Error::Io(error)) if is_locked(&error) && Instant::now() < until => {
                thread::sleep(LOCK_PAUSE);
            }
            opened => return opened,
        }
    }
}

/// sled keeps the kind in the text alone.
fn is_locked(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock || error.to_string().contains("could not acquire lock")
}

/// Reads a slot. `None`: there is no whole checkpoint in it.
fn load(db: &sled::Db, slot: u8, formed: &Keepers) -> Result<Option<State>> {
    let failed = |error: sled::Error| sled_error(Path::new("checkpoint"), &error);
    let stored = db.get(meta_key(slot)).map_err(failed)?;
    let Some(meta) = stored.and_then(|bytes| Meta::decode(&bytes)) else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    for chunk in db.range(chunk_key(slot, 0)..=chunk_key(slot, u32::MAX)) {
        bytes.extend_from_slice(&chunk.map_err(failed)?.1);
    }
    if bytes.len() as u64 != meta.len || crc32c::crc32c(&bytes) != meta.crc {
        tracing::warn!(slot, "a checkpoint that was not finished is passed over");
        return Ok(None);
    }
    let state = match meta.version {
        1 => {
            let message = internal::Catalogue::decode(&bytes[..]).map_err(|error| corrupt(&error))?;
            State {
                catalogue: Catalogue::from_proto(&message)?,
                ..State::first(formed.clone())
            }
        }
        _ => State::decode(&bytes)?,
    };
    if state.index() != meta.applied {
        return Err(corrupt(&"the applied index is not the one recorded"));
    }
    Ok(Some(state))
}

fn chunk_key(slot: u8, chunk: u32) -> [u8; 6] {
    let [a, b, c, d] = chunk.to_be_bytes();
    [b'c', slot, a, b, c, d]
}

fn meta_key(slot: u8) -> [u8; 2] {
    [b'm', slot]
}

fn corrupt(why: &dyn std::fmt::Display) -> Error {
    Error::new(ErrorCode::Corruption, format!("the catalogue checkpoint: {why}"))
}

fn sled_error(path: &Path, error: &sled::Error) -> Error {
    match error {
        sled::Error::Io(error) => io_error(path, error),
        sled::Error::Corruption { .. } => corrupt(error),
        other => Error::new(ErrorCode::StorageFailed, format!("{}: {other}", path.display())),
    }
}

fn io_error(path: &Path, error: &io::Error) -> Error {
    Error::new(ErrorCode::StorageFailed, format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests;
