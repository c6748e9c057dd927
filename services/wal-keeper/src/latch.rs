//! The latch at one keeper: which fatal signals it knows, the register it persists, and who is told.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use longbow_cluster::latch::{LatchState, Signals};
use longbow_types::{Error, ErrorCode, NodeId, Result};
use longbow_wire::internal::LatchRegister;
use parking_lot::{Condvar, Mutex};
use prost::Message;
use tokio::sync::watch;

const FILE: &str = "latch";
const FILE_BYTES_MAX: u64 = 64 << 10;
/// Magic with the version of the format in it, checksum of what follows, the encoded register.
const MAGIC: [u8; 8] = *b"LBLATCH1";
const CRC_BYTES: usize = 4;
/// How long a reset may take to be durable.
const RESET_PATIENCE: Duration = Duration::from_secs(10);

/// The latch. Shared by the engine, the RPC and gossip.
///
/// It is announced first and stored afterwards, by a thread of its own: the disk that tripped it may hang, and nobody
/// must wait for it.
pub(crate) struct Latch {
    dir: PathBuf,
    shelf: Arc<Shelf>,
    state: Mutex<State>,
    register: watch::Sender<LatchRegister>,
}

struct State {
    latch: LatchState,
    signals: Signals,
    voters: Vec<NodeId>,
}

impl Latch {
    /// Starts from the stored register.
    pub fn open(dir: &Path, voters: Vec<NodeId>) -> Result<Self> {
        let latch = LatchState::new(load_or_tripped(dir)?);
        let register = watch::Sender::new(latch.register().clone());
        let shelf = Arc::new(Shelf::default());
        shelf.spawn(dir.to_owned())?;
        let this = Self {
            dir: dir.to_owned(),
            shelf,
            state: Mutex::new(State {
                latch,
                signals: Signals::default(),
                voters,
            }),
            register,
        };
        this.report();
        Ok(this)
    }

    /// Follows the register.
    pub fn register(&self) -> watch::Receiver<LatchRegister> {
        self.register.subscribe()
    }

    /// The refusal that a write gets, if the latch is tripped.
    pub fn refusal(&self) -> Option<Error> {
        longbow_cluster::latch::refusal(&self.register.borrow())
    }

    /// Takes note of how a keeper's disk is, and trips the latch if no quorum of healthy keepers is left.
    pub fn observe(&self, keeper: &NodeId, disk_generation: u64, cause: Option<&str>) {
        let mut state = self.state.lock();
        if state.signals.observe(keeper, disk_generation, cause) {
            self.judge(&mut state);
        }
    }

    /// The group has other voters now.
    pub fn set_voters(&self, voters: Vec<NodeId>) {
        let mut state = self.state.lock();
        if state.voters != voters {
            state.voters = voters;
            self.judge(&mut state);
        }
    }

    fn judge(&self, state: &mut State) {
        if let Some(cause) = state.signals.verdict(&state.voters)
            && state.latch.trip(&cause)
        {
            tracing::error!(
                cause,
                epoch = state.latch.register().epoch,
                "the latch trips: no more writes"
            );
            self.publish(&state.latch);
        }
    }

    /// Takes in a register that somebody else announced.
    pub fn merge(&self, register: &LatchRegister) {
        let mut state = self.state.lock();
        if state.latch.merge(register) {
            tracing::warn!(
                epoch = register.epoch,
                tripped = register.tripped,
                cause = register.cause,
                "the latch changed"
            );
            self.publish(&state.latch);
        }
    }

    /// Tests the disk that the latch stands for. The register as it is. Blocks.
    pub fn test(&self) -> Result<LatchRegister> {
        test_disk(&self.dir).map_err(|error| {
            let message = format!("the disk test failed, the latch stays tripped: {error}");
            Error::new(ErrorCode::StorageFailed, message).field("latch")
        })?;
        Ok(self.state.lock().latch.register().clone())
    }

    /// Opens the latch again after a disk test, for a reason that an operator gives. Blocks until that is durable.
    pub fn reset(&self, reason: &str) -> Result<LatchRegister> {
        longbow_cluster::latch::check_reason(reason)?;
        self.test()?;
        let register = {
            let mut state = self.state.lock();
            if state.latch.reset(reason) {
                // A new life: signals of the last one are dealt with.
                state.signals = Signals::default();
                tracing::warn!(
                    epoch = state.latch.register().epoch,
                    reason,
                    "the latch was reset"
                );
                self.publish(&state.latch);
            }
            let register = state.latch.register().clone();
            // Also where it was open already: that may not have been stored.
            self.shelf.put(register.clone());
            register
        };
        if !self.settle(RESET_PATIENCE) {
            let message = "the latch was reset, but the disk does not keep it";
            return Err(Error::new(ErrorCode::StorageFailed, message).field("latch"));
        }
        Ok(register)
    }

    /// Waits until the register is stored; whether it was. Blocks.
    pub fn settle(&self, patience: Duration) -> bool {
        self.shelf.wait(patience)
    }

    /// Tells everybody, and has it persisted as well as a failing disk may allow.
    fn publish(&self, latch: &LatchState) {
        self.register.send_replace(latch.register().clone());
        self.report();
        self.shelf.put(latch.register().clone());
    }

    fn report(&self) {
        let register = self.register.borrow();
        metrics::gauge!("longbow_latch_tripped").set(f64::from(u8::from(register.tripped)));
        metrics::gauge!("longbow_latch_epoch").set(register.epoch as f64);
    }
}

impl Drop for Latch {
    fn drop(&mut self) {
        self.shelf.state.lock().ended = true;
        self.shelf.news.notify_all();
    }
}

/// Registers on their way to the disk: the newest counts.
#[derive(Default)]
struct Shelf {
    state: Mutex<ShelfState>,
    news: Condvar,
}

#[derive(Default)]
struct ShelfState {
    waiting: Option<LatchRegister>,
    storing: bool,
    failed: bool,
    ended: bool,
}

impl Shelf {
    fn spawn(self: &Arc<Self>, dir: PathBuf) -> Result<()> {
        let this = self.clone();
        let spawned = thread::Builder::new()
            .name("longbow-latch".to_owned())
            .spawn(move || this.run(&dir));
        spawned
            .map(|_| ())
            .map_err(|error| Error::new(ErrorCode::Internal, format!("cannot start a thread: {error}")))
    }

    fn run(&self, dir: &Path) {
        while let Some(register) = self.take() {
            let stored = store(dir, &register);
            let mut state = self.state.lock();
            (state.storing, state.failed) = (false, stored.is_err());
            drop(state);
            self.news.notify_all();
            if let Err(error) = stored {
                tracing::warn!(%error, "the latch register could not be stored here; other nodes keep it too");
            }
        }
    }

    /// Waits for a register; `None` when all are stored and the latch is gone.
    fn take(&self) -> Option<LatchRegister> {
        let mut state = self.state.lock();
        loop {
            if let Some(register) = state.waiting.take() {
                state.storing = true;
                return Some(register);
            }
            if state.ended {
                return None;
            }
            self.news.wait(&mut state);
        }
    }

    fn put(&self, register: LatchRegister) {
        self.state.lock().waiting = Some(register);
        self.news.notify_all();
    }

    fn wait(&self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        let mut state = self.state.lock();
        while state.waiting.is_some() || state.storing {
            if self.news.wait_until(&mut state, until).timed_out() {
                return false;
            }
        }
        !state.failed
    }
}

/// The stored register. One that cannot be read may have said "tripped", so it counts as that: until a reset, or until
/// a node with a later one is heard.
fn load_or_tripped(dir: &Path) -> Result<LatchRegister> {
    match load(dir) {
        Err(error) if error.code == ErrorCode::Corruption => {
            tracing::error!(%error, "the latch register cannot be read: the latch counts as tripped");
            Ok(LatchRegister {
                epoch: 1,
                tripped: true,
                cause: format!("the stored latch register cannot be read: {error}"),
            })
        }
        loaded => loaded,
    }
}

fn load(dir: &Path) -> Result<LatchRegister> {
    let path = dir.join(FILE);
    let corrupt = |why: &str| Error::new(ErrorCode::Corruption, format!("{}: {why}", path.display()));
    match fs::metadata(&path) {
        Ok(metadata) if metadata.len() > FILE_BYTES_MAX => return Err(corrupt("it is far too long")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(LatchRegister::default()),
        _ => {}
    }
    let bytes = fs::read(&path)
        .map_err(|error| Error::new(ErrorCode::StorageFailed, format!("{}: {error}", path.display())))?;
    let Some(stored) = bytes.strip_prefix(&MAGIC) else {
        return Err(corrupt("it is no latch register of a version known here"));
    };
    let Some((crc, register)) = stored.split_first_chunk::<CRC_BYTES>() else {
        return Err(corrupt("it is too short"));
    };
    if u32::from_le_bytes(*crc) != crc32c::crc32c(register) {
        return Err(corrupt("its checksum is wrong"));
    }
    LatchRegister::decode(register).map_err(|error| corrupt(&error.to_string()))
}

/// Writes beside and renames over. The rename is done even where a sync fails: better in the page cache than nowhere,
/// and what a power cut then tears counts as tripped.
fn store(dir: &Path, register: &LatchRegister) -> io::Result<()> {
    let encoded = register.encode_to_vec();
    let beside = dir.join(format!("{FILE}.new"));
    let mut file = File::create(&beside)?;
    file.write_all(&MAGIC)?;
    file.write_all(&crc32c::crc32c(&encoded).to_le_bytes())?;
    file.write_all(&encoded)?;
    let synced = file.sync_all();
    fs::rename(&beside, dir.join(FILE))?;
    synced.and_then(|()| File::open(dir)?.sync_all())
}

/// Writes, syncs and reads back.
fn test_disk(dir: &Path) -> io::Result<()> {
    let path = dir.join("disk-test");
    let bytes: Vec<u8> = (0..64 << 10).map(|_| rand::random()).collect();
    let mut file = File::create(&path)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    let read = fs::read(&path)?;
    fs::remove_file(&path)?;
    File::open(dir)?.sync_all()?;
    if read != bytes {
        return Err(io::Error::other("the bytes read are not those written"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voters(names: &[&str]) -> Vec<NodeId> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    #[test]
    fn it_stays_tripped_over_restarts_until_it_is_reset() {
        let dir = tempfile::tempdir().unwrap();
        let voters = voters(&["k1"]);
        let latch = Latch::open(dir.path(), voters.clone()).unwrap();
        assert_eq!(latch.refusal(), None);
        latch.observe(&voters[0], 1, Some("EIO"));
        assert_eq!(latch.refusal().unwrap().code, ErrorCode::LatchTripped);
        assert!(latch.settle(RESET_PATIENCE));
        let again = Latch::open(dir.path(), voters.clone()).unwrap();
        assert!(again.register().borrow().cause.contains("k1: EIO"));
        assert!(again.test().unwrap().tripped);
        assert!(again.refusal().is_some());
        let refused = again.reset(&"x".repeat(401)).unwrap_err();
        assert_eq!(refused.code, ErrorCode::TooLarge);
        let register = again.reset("a new disk").unwrap();
        assert_eq!((register.epoch, register.tripped), (2, false));
        let stored = load(dir.path()).unwrap();
        assert_eq!((stored.epoch, stored.cause.as_str()), (2, "a new disk"));
        // Old news does not trip it again, wherever they come from.
        again.merge(&latch.register().borrow().clone());
        assert_eq!(again.refusal(), None);
        assert_eq!(Latch::open(dir.path(), voters.clone()).unwrap().refusal(), None);
        let whole = fs::read(dir.path().join(FILE)).unwrap();
        for at in 0..whole.len() {
            let mut bad = whole.clone();
            bad[at] ^= 1;
            for bytes in [&bad[..], &whole[..at]] {
                fs::write(dir.path().join(FILE), bytes).unwrap();
                assert_eq!(load(dir.path()).unwrap_err().code, ErrorCode::Corruption);
            }
        }
        let unreadable = Latch::open(dir.path(), voters).unwrap();
        assert_eq!(unreadable.refusal().unwrap().code, ErrorCode::LatchTripped);
        assert!(!unreadable.reset("").unwrap().tripped);
        assert_eq!(unreadable.refusal(), None);
    }

    #[test]
    fn it_is_announced_while_the_disk_hangs() {
        let dir = tempfile::tempdir().unwrap();
        let voters = voters(&["k1"]);
        let latch = Latch::open(dir.path(), voters.clone()).unwrap();
        // Opening a pipe to write hangs for as long as nobody reads.
        let pipe = dir.path().join(format!("{FILE}.new"));
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        latch.observe(&voters[0], 1, Some("EIO"));
        assert!(latch.refusal().is_some());
        assert!(latch.register().borrow().tripped);
        assert!(!latch.settle(Duration::ZERO), "it cannot be stored");
        // More news do not wait either.
        latch.merge(&LatchRegister {
            epoch: 2,
            ..LatchRegister::default()
        });
        assert_eq!(latch.refusal(), None);
        // Let it go.
        drop(File::open(&pipe).unwrap());
    }

    #[test]
    fn one_of_three_does_not_trip_it() {
        let dir = tempfile::tempdir().unwrap();
        let voters = voters(&["k1", "k2", "k3"]);
        let latch = Latch::open(dir.path(), voters.clone()).unwrap();
        latch.observe(&voters[0], 1, Some("EIO"));
        assert_eq!(latch.refusal(), None);
        latch.observe(&voters[1], 1, Some("EIO"));
        assert!(latch.refusal().is_some());
    }

    #[test]
    fn a_reset_needs_a_disk_that_works() {
        let dir = tempfile::tempdir().unwrap();
        let voters = voters(&["k1"]);
        let latch = Latch::open(dir.path(), voters.clone()).unwrap();
        latch.observe(&voters[0], 1, Some("EIO"));
        drop(dir);
        assert_eq!(latch.test().unwrap_err().code, ErrorCode::StorageFailed);
        assert_eq!(latch.reset("").unwrap_err().code, ErrorCode::StorageFailed);
        assert!(latch.refusal().is_some());
    }
}
