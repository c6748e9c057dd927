//! Files that wait to become segments: made ahead by a helper thread, or left over from segments that were trimmed.
//!
//! A spare's name, `"{bound:016x}-{serial:x}.spare"`, says that it may hold records of generations up to `bound`, and of
//! none above. A segment of generation `g` is made only in a file whose name durably said `g` before the first byte of
//! `g` was written, and in no file that said so before and was not used then: so two tries for the same generation,
//! whose checksums agree, never meet in one file.

use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{
    Disk, DiskFile, Error, Options, Result,
    disk::{is_full, write_full},
};

/// Zeros are written and synced in pieces, so that no sync of the log waits for all of them.
const PIECE_BYTES: usize = 1 << 20;

/// A file that waits.
struct Waiting {
    bound: u64,
    serial: u64,
    len: u64,
    /// Zeros, written by this process.
    blank: bool,
}

impl Waiting {
    fn name(&self) -> String {
        spare_name(self.bound, self.serial)
    }
}

/// A file taken to become the segment of generation `bound`.
pub(crate) struct Spare {
    bound: u64,
    serial: u64,
    pub len: u64,
    pub file: Arc<dyn DiskFile>,
    pub blank: bool,
}

impl Spare {
    pub fn name(&self) -> String {
        spare_name(self.bound, self.serial)
    }
}

/// The spare segments of one log. Clones share them.
#[derive(Clone)]
pub struct Spares(Arc<Shared>);

struct Shared {
    disk: Arc<dyn Disk>,
    options: Options,
    pool: Mutex<Pool>,
    /// The current segment is so full that its successor should be at hand.
    due: AtomicBool,
    /// A spare was given up for the log's next segment, which has not been made yet: the room is not for another spare.
    given_up: AtomicBool,
}

#[derive(Default)]
struct Pool {
    waiting: Vec<Waiting>,
    next_serial: u64,
    /// Generation of the segment that is appended to.
    current: u64,
}

fn spare_name(bound: u64, serial: u64) -> String {
    format!("{bound:016x}-{serial:x}.spare")
}

/// Name of a spare that is being made. Found on start, it is left over and removed.
pub(crate) const NEW_SPARE_NAME: &str = "spare.tmp";

/// Bound and serial number in a spare's file name.
pub(crate) fn parse_spare_name(name: &str) -> Option<(u64, u64)> {
    let (bound, serial) = name.strip_suffix(".spare")?.split_once('-')?;
    let bound = u64::from_str_radix(bound, 16).ok()?;
    let serial = u64::from_str_radix(serial, 16).ok()?;
    (spare_name(bound, serial) == name).then_some((bound, serial))
}

impl Spares {
    /// Finds the spares on a disk. Removes what is too small or too much.
    pub(crate) fn load(
        disk: Arc<dyn Disk>,
        options: Options,
        names: &[String],
        current: u64,
    ) -> Result<Self> {
        let mut pool = Pool {
            current,
            ..Pool::default()
        };
        for name in names {
            let Some((bound, serial)) = parse_spare_name(name) else {
                continue;
            };
            pool.next_serial = pool.next_serial.max(serial.saturating_add(1));
            let len = disk.open(name).and_then(|file| file.len());
            let len = len.map_err(|e| Error::io("open", name, e))?;
            if len < options.segment_bytes || pool.waiting.len() >= options.spares {
                disk.remove(name).map_err(|e| Error::io("remove", name, e))?;
                continue;
            }
            pool.waiting.push(Waiting {
                bound,
                serial,
                len,
                blank: false,
            });
        }
        Ok(Self(Arc::new(Shared {
            disk,
            options,
            pool: Mutex::new(pool),
            due: AtomicBool::new(false),
            given_up: AtomicBool::new(false),
        })))
    }

    /// Spares at hand.
    pub fn count(&self) -> usize {
        self.pool().waiting.len()
    }

    /// Whether a spare should be made now: the current segment is half full, and fewer wait than the options ask for.
    pub fn wanted(&self) -> bool {
        let Shared { due, given_up, .. } = &*self.0;
        due.load(Ordering::Relaxed)
            && !given_up.load(Ordering::Relaxed)
            && self.count() < self.0.options.spares
    }

    /// Makes one spare, for a helper thread: written through with zeros, synced, named. Blocks for as long as the disk
    /// takes. `false`: enough are waiting, or `cancel` said to stop. After an error nothing has changed for the log.
    pub fn make(&self, cancel: &dyn Fn() -> bool) -> Result<bool> {
        if self.count() >= self.0.options.spares {
            return Ok(false);
        }
        let made = self.write_blank(cancel);
        if !matches!(made, Ok(true)) {
            let _ = self.0.disk.remove(NEW_SPARE_NAME);
        }
        made.map_err(|error| match is_full(&error) {
            true => Error::Full {
                operation: "make a spare segment",
                source: error,
            },
            false => Error::io("make a spare segment", NEW_SPARE_NAME, error),
        })
    }

    fn write_blank(&self, cancel: &dyn Fn() -> bool) -> io::Result<bool> {
        let Shared { disk, options, .. } = &*self.0;
        let file = disk.create(NEW_SPARE_NAME, options.segment_bytes)?;
        let zeros = vec![0; PIECE_BYTES];
        let mut at = 0;
        while at < options.segment_bytes {
            if cancel() {
                return Ok(false);
            }
            let piece = (options.segment_bytes - at).min(PIECE_BYTES as u64);
            write_full(&*file, &zeros[..piece as usize], at)?;
            file.sync_data()?;
            at += piece;
        }
        let (bound, serial) = {
            let mut pool = self.pool();
            pool.next_serial += 1;
            // Most likely the next segment: then its name need not change before it is written to.
            (pool.current + 1, pool.next_serial - 1)
        };
        disk.rename(NEW_SPARE_NAME, &spare_name(bound, serial))?;
        disk.sync_dir()?;
        self.pool().waiting.push(Waiting {
            bound,
            serial,
            len: options.segment_bytes,
            blank: true,
        });
        Ok(true)
    }

    /// Gives up one spare, so that something else fits on a full disk. Whether there was one. No other is wanted before the
    /// next segment stands.
    pub fn release(&self) -> Result<bool> {
        let mut pool = self.pool();
        self.0.given_up.store(true, Ordering::Relaxed);
        let Some(spare) = pool.waiting.last() else {
            return Ok(false);
        };
        let name = spare.name();
        self.0
            .disk
            .remove(&name)
            .map_err(|e| Error::io("remove", &name, e))?;
        pool.waiting.pop();
        Ok(true)
    }

    pub(crate) fn segment_bytes(&self) -> u64 {
        self.0.options.segment_bytes
    }

    /// Whether sealed segments should keep their room, to be used again.
    pub(crate) fn is_kept(&self) -> bool {
        self.0.options.spares > 0
    }

    pub(crate) fn set_current(&self, generation: u64) {
        self.pool().current = generation;
        self.0.due.store(false, Ordering::Relaxed);
        self.0.given_up.store(false, Ordering::Relaxed);
    }

    pub(crate) fn set_due(&self) {
        self.0.due.store(true, Ordering::Relaxed);
    }

    /// Takes a spare of at least `need` bytes for a generation. Its name says so, durably.
    pub(crate) fn take(&self, generation: u64, need: u64) -> io::Result<Option<Spare>> {
        let mut pool = self.pool();
        let fits = |w: &Waiting| {
            // What waits under the generation's own name and is not blank was tried for it before.
            w.len >= need && (w.bound < generation || (w.blank && w.bound == generation))
        };
        let disk = &self.0.disk;
        let (at, file) = loop {
            let best = (0..pool.waiting.len())
                .filter(|&at| fits(&pool.waiting[at]))
                .max_by_key(|&at| pool.waiting[at].bound);
            let Some(at) = best else {
                return Ok(None);
            };
            match disk.open(&pool.waiting[at].name()) {
                Ok(file) => break (at, file),
                // Somebody removed it. A spare is never needed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    pool.waiting.swap_remove(at);
                }
                Err(error) => return Err(error),
            }
        };
        let Waiting { bound, serial, .. } = pool.waiting[at];
        let old = spare_name(bound, serial);
        if bound != generation {
            disk.rename(&old, &spare_name(generation, serial))?;
            pool.waiting[at].bound = generation;
            disk.sync_dir()?;
        }
        let taken = pool.waiting.swap_remove(at);
        Ok(Some(Spare {
            bound: generation,
            serial,
            len: taken.len,
            file,
            blank: taken.blank,
        }))
    }

    /// Takes back a spare that was written to and did not become a segment.
    pub(crate) fn give_back(&self, spare: Spare) {
        self.pool().waiting.push(Waiting {
            bound: spare.bound,
            serial: spare.serial,
            len: spare.len,
            blank: false,
        });
    }

    /// Makes a spare of a segment that nobody reads any more, or removes it.
    pub(crate) fn recycle(&self, name: &str, generation: u64, reuse: bool) -> io::Result<()> {
        let Shared { disk, options, .. } = &*self.0;
        let mut pool = self.pool();
        let len = disk.open(name)?.len()?;
        if !reuse || len < options.segment_bytes || pool.waiting.len() >= options.spares {
            return disk.remove(name);
        }
        let serial = pool.next_serial;
        pool.next_serial += 1;
        disk.rename(name, &spare_name(generation, serial))?;
        pool.waiting.push(Waiting {
            bound: generation,
            serial,
            len,
            blank: false,
        });
        Ok(())
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.0.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
