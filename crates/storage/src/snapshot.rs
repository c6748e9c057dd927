//! Snapshots of one replica: exact at one index of the log, written beside everything else, opened where they lie.
//!
//! A snapshot is taken of a [`View`](crate::View), which never changes, so that neither the writer nor readers wait
//! for it; the view is held until the snapshot is published, so that the index keeps every row it shows. Files never
//! change once they have their names. A chunk of columns that did not change since the newest snapshot is not written
//! again: its file is listed by both. All this lies in one flat directory:
//!
//! ```text
//! <generation>.manifest                   what the snapshot is of, and its files
//! <generation>-index.image                the vectors and their graph, an index image
//! <generation>-vectors-<column>.image      those of a further vector column, which is the column of the dataset of that number
//! <generation>-live.arrow                 which rows are live: one Boolean column `_live`
//! <generation>-columns-<slot>.arrow       consecutive rows, from a slot on when it was written: the other columns of the dataset, and `_row_version`
//! <any of these>.tmp                      on its way
//! ```
//!
//! with generations of 20 digits, slots and columns of 10. Column files are Arrow IPC files of one batch each; those of a
//! manifest, one after the other, hold a row per slot, as do the image and the live rows: a snapshot numbers slots as
//! rows stand in the columns, which is in the order of their versions. The image of a further vector column has a slot per
//! row that has a value there, in the same order; which rows these are tells a Boolean column in the place of the vectors. A dead row whose slot was given to another before
//! the snapshot was written has a free one in the image. A manifest is, all numbers
//! little-endian and sums CRC-32C of all bytes before or of a whole file,
//!
//! ```text
//! manifest = magic:8 version:4 0:4 generation:8 applied-index:8 touched-index:8 dataset:8
//!            partition:4 schema-version:4 slots:4 live-rows:4 columns:4 catalogue-bytes:4 digest:16
//!            stamps:4 stamp*stamps vectors:4 catalogue index live column*columns further*vectors crc:4
//! stamp = before:8 log-time:8
//! index, live, column, further = generation:8 bytes:8 slot:4 rows:4 crc:4
//! ```
//!
//! where the catalogue is the caller's, and slots are those of first rows; of a further vector column it is its number, and its
//! rows are those that have a value there. In version 1 the slot of a file of columns is
//! the number of rows in the files before it. In version 2 it is what that number was when the file was written: since
//! then rows in front of it may have gone. In both there is no digest; version 3 has that of the live
//! rows ([`Digest`](crate::Digest)). Version 4 has also the ages of rows, as stamps: rows of entries before an index had been
//! written at a log time, in milliseconds; both ascend. It is written where there are any, and version 3 where not. Version 5, written where there are further vector columns, has
//! those, and ages if there are any. No list of ids is kept: ids stand in the columns, and of those that came more than
//! once one row is live.
//!
//! Invariants:
//! - a file has its name only when its bytes are durable, and a manifest only when the names of its files are;
//! - whatever is missing, cut or changed is found before a replica is made of it, and named;
//! - a snapshot that was published is removed only when as many newer ones as are to be kept were published.

mod columns;
mod disk;
mod error;
mod fs;
mod further;
mod manifest;
mod names;
mod numbered;
mod open;
mod retain;
mod store;
mod sweep;
mod write;

use std::collections::BTreeSet;
use std::sync::Weak;

use crate::columns::Chunk;
use manifest::Listed;
use names::{Name, Part};

pub use disk::{Disk, NewFile};
pub use error::{Error, Result};
pub use fs::FsDisk;
pub use manifest::{Manifest, Owner};
pub use open::{Open, Opened, Verify};
pub use write::Written;

/// The snapshots of one replica in one directory, which nobody else changes.
pub struct Snapshots {
    disk: Box<dyn Disk>,
    keep: usize,
    /// The chunks of the newest snapshot written or opened, and their files.
    known: Vec<(Weak<Chunk>, Listed)>,
    /// Generations that were found damaged.
    damaged: BTreeSet<u64>,
}

impl Snapshots {
    /// The snapshots on a disk, of which the newest `keep` are kept, at least one.
    pub fn new(disk: impl Disk + 'static, keep: usize) -> Self {
        Self {
            disk: Box::new(disk),
            keep: keep.max(1),
            known: Vec::new(),
            damaged: BTreeSet::new(),
        }
    }

    /// Generations of the snapshots that were published, oldest first, whether they can be opened or not.
    pub fn generations(&self) -> Result<Vec<u64>> {
        let is_manifest = |name: &Name| name.part == Part::Manifest;
        let files = self.files()?;
        let names = files.iter().filter_map(|file| Name::parse(file));
        let mut generations: Vec<u64> = names.filter(is_manifest).map(|name| name.generation).collect();
        generations.sort_unstable();
        Ok(generations)
    }

    /// The manifest of a generation.
    pub fn manifest(&self, generation: u64) -> Result<Manifest> {
        let name = Name::manifest(generation);
        let bytes = store::read(self.disk.as_ref(), name, manifest::MANIFEST_BYTES_MAX)?;
        Manifest::parse(name, &bytes)
    }

    /// Compares the sums of all files of a snapshot. What is found damaged is not counted among those to keep any more,
    /// and not used again by the next snapshot.
    pub fn verify(&mut self, manifest: &Manifest, cancel: &dyn Fn() -> bool) -> Result<()> {
        for file in manifest.files() {
            let checked = store::check_sum(self.disk.as_ref(), file.name, file.sum, cancel);
            if let Err(error) = checked {
                if error.is_damage() {
                    self.damaged.insert(manifest.generation);
                    self.known.retain(|(_, known)| known.name != file.name);
                }
                return Err(error);
            }
        }
        Ok(())
    }

    /// What a snapshot was made of is gone, as its owner knows: from now on it is as good as a damaged one.
    pub fn give_up(&mut self, generation: u64) {
        self.damaged.insert(generation);
    }

    /// Names of all files of the directory.
    fn files(&self) -> Result<Vec<String>> {
        self.disk
            .list()
            .map_err(|source| Error::io("list", "the directory of snapshots", source))
    }

    fn sync_names(&self) -> Result<()> {
        self.disk
            .sync_names()
            .map_err(|source| Error::io("sync", "the directory of snapshots", source))
    }
}
