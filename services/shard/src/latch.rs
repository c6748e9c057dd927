//! Does this node remember that writes must stop? The latch register, over restarts.
//!
//! ```text
//! latch := magic "LBLATCH1" · crc32c of the rest (u32 LE) · LatchRegister (protobuf)
//! ```
//! Replaced as a whole: written beside, synced, renamed, directory synced.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use longbow_cluster::latch::LatchState;
use longbow_node::gossip::Gossip;
use longbow_node::shutdown::Shutdown;
use longbow_types::{Error, ErrorCode, Result};
use longbow_wire::internal::LatchRegister;
use prost::Message as _;

const FILE: &str = "latch";
const MAGIC: &[u8; 8] = b"LBLATCH1";
const HEAD: usize = MAGIC.len() + 4;
/// A cause is a sentence; nothing near this is a register of ours.
const BYTES_MAX: u64 = 64 << 10;

/// The register on disk.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    dir: PathBuf,
}

impl Stored {
    /// The register kept in a directory.
    pub(crate) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// Reads it; an open latch if there is none.
    ///
    /// # Errors
    /// `CORRUPTION` naming the file; `STORAGE_FAILED`.
    pub(crate) fn read(&self) -> Result<LatchRegister> {
        let path = self.dir.join(FILE);
        let corrupt = |why: &str| {
            let message = format!("{} is not a latch register: {why}", path.display());
            Error::new(ErrorCode::Corruption, message).field(FILE)
        };
        let bytes = match fs::metadata(&path) {
            Ok(metadata) if metadata.len() > BYTES_MAX => return Err(corrupt("it is too large")),
            Ok(_) => fs::read(&path).map_err(|error| failed(&path, &error))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(LatchRegister::default()),
            Err(error) => return Err(failed(&path, &error)),
        };
        let (head, rest) = bytes
            .split_at_checked(HEAD)
            .ok_or_else(|| corrupt("it is too short"))?;
        if !head.starts_with(MAGIC) {
            return Err(corrupt("its magic is another"));
        }
        if head[MAGIC.len()..] != crc32c::crc32c(rest).to_le_bytes() {
            return Err(corrupt("its checksum is wrong"));
        }
        LatchRegister::decode(rest).map_err(|error| corrupt(&error.to_string()))
    }

    /// Replaces it, durably.
    pub(crate) fn write(&self, register: &LatchRegister) -> Result<()> {
        let rest = register.encode_to_vec();
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&crc32c::crc32c(&rest).to_le_bytes());
        bytes.extend_from_slice(&rest);
        let (path, beside) = (self.dir.join(FILE), self.dir.join("latch.new"));
        let replace = || -> io::Result<()> {
            let mut file = File::create(&beside)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::rename(&beside, &path)?;
            File::open(&self.dir)?.sync_all()
        };
        replace().map_err(|error| failed(&path, &error))
    }
}

fn failed(path: &Path, error: &io::Error) -> Error {
    Error::new(ErrorCode::StorageFailed, format!("{}: {error}", path.display())).field(FILE)
}

/// Announces the stored register, then stores what gossip brings, until the shutdown.
pub(crate) async fn keep(stored: Option<Stored>, first: LatchRegister, gossip: Gossip, shutdown: Shutdown) {
    let mut latch = LatchState::new(first);
    let mut heard = gossip.latch();
    gossip.announce_latch(latch.register().clone());
    loop {
        tokio::select! {
            changed = heard.changed() => if changed.is_err() { return },
            () = shutdown.wait() => return,
        }
        let register = heard.borrow_and_update().clone();
        if !latch.merge(&register) {
            continue;
        }
        if register.tripped {
            tracing::warn!(epoch = register.epoch, cause = %register.cause, "the latch is tripped: writes are refused");
        } else {
            tracing::info!(epoch = register.epoch, "the latch is reset");
        }
        if let Some(stored) = stored.clone() {
            let write = tokio::task::spawn_blocking(move || stored.write(&register)).await;
            // The register also lives on other nodes and in gossip; this copy is one of many.
            if let Ok(Err(error)) = write {
                tracing::error!(%error, "the latch register is not stored");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn register(epoch: u64) -> LatchRegister {
        LatchRegister {
            epoch,
            tripped: true,
            cause: "keeper-1: EIO".into(),
        }
    }

    #[test]
    fn a_register_survives_and_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let stored = Stored::new(dir.path());
        assert_eq!(stored.read().unwrap(), LatchRegister::default());
        for epoch in [1, 2] {
            stored.write(&register(epoch)).unwrap();
            assert_eq!(Stored::new(dir.path()).read().unwrap(), register(epoch));
        }
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            1,
            "nothing is left beside it"
        );
    }

    #[test]
    fn any_damaged_byte_is_noticed_and_the_file_named() {
        let dir = tempfile::tempdir().unwrap();
        let stored = Stored::new(dir.path());
        stored.write(&register(3)).unwrap();
        let path = dir.path().join(FILE);
        let good = fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x40;
            fs::write(&path, &bad).unwrap();
            let error = stored.read().unwrap_err();
            assert_eq!(error.code, ErrorCode::Corruption, "byte {at}");
            assert!(error.message.contains("latch"), "{error}");
        }
        for len in 0..good.len() {
            fs::write(&path, &good[..len]).unwrap();
            assert_eq!(stored.read().unwrap_err().code, ErrorCode::Corruption);
        }
    }

    #[test]
    fn the_format_of_version_1_is_read_for_ever() {
        let golden = b"LBLATCH1\xbb\x9c\xdc\xde\x08\x03\x10\x01\x1a\x0bkeeper: EIO";
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), golden).unwrap();
        let want = LatchRegister {
            epoch: 3,
            tripped: true,
            cause: "keeper: EIO".into(),
        };
        assert_eq!(Stored::new(dir.path()).read().unwrap(), want);
    }
}
