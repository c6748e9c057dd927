//! A view becomes files.

use std::sync::Arc;

use super::columns::{batch_of_live, write_batch};
use super::error::{Error, Result};
use super::further::{Order, to_file};
use super::manifest::{CATALOGUE_BYTES_MAX, Listed, Manifest, Owner};
use super::names::{Name, Part};
use super::numbered::Numbered;
use super::{Snapshots, store};
use crate::View;
use crate::columns::Chunk;
use crate::expiry::Ages;

/// A snapshot that was published.
#[derive(Debug)]
pub struct Written {
    /// What it is of.
    pub manifest: Manifest,
    /// Bytes written; the other bytes of [`Manifest::bytes`] were there already.
    pub bytes: u64,
    /// Why files that nobody needs were left lying. The next snapshot removes them.
    pub unswept: Option<Error>,
}

impl Snapshots {
    /// Writes a snapshot of a view, publishes it, and removes those beyond what is kept. Takes as long as the disk
    /// does, and nobody waits for it; only rows that were removed are not freed meanwhile.
    ///
    /// `cancel` is asked before every MiB or so and ends it; nothing was published then.
    ///
    /// # Errors
    /// Those of the disk, `TooLarge` and `Cancelled`. Earlier snapshots are as they were. After a failed
    /// [`Disk::sync_names`](super::Disk::sync_names) at the very end the snapshot may have been published.
    pub fn write(&mut self, view: &Arc<View>, owner: Owner, cancel: &dyn Fn() -> bool) -> Result<Written> {
        let bytes = owner.catalogue.len();
        if bytes > CATALOGUE_BYTES_MAX {
            return Err(Error::TooLarge {
                bytes,
                limit: CATALOGUE_BYTES_MAX,
            });
        }
        // What an earlier one left that was not published may be what fills the disk.
        self.sweep(None)?;
        let published = self.publish(view, owner, cancel);
        let (manifest, bytes) = match published {
            Ok(published) => published,
            Err(error) => {
                // If this fails too, the next snapshot sweeps.
                let _ = self.sweep(None);
                return Err(error);
            }
        };
        self.remember(&view.chunks, &manifest);
        let unswept = self.sweep(Some(self.keep)).err();
        Ok(Written {
            manifest,
            bytes,
            unswept,
        })
    }

    /// Chunks stand in the files of a manifest.
    pub(super) fn remember(&mut self, chunks: &[Arc<Chunk>], manifest: &Manifest) {
        let chunks = chunks.iter().map(Arc::downgrade);
        self.known = chunks.zip(manifest.columns.iter().copied()).collect();
    }

    fn publish(&self, view: &View, owner: Owner, cancel: &dyn Fn() -> bool) -> Result<(Manifest, u64)> {
        let generation = self.next_generation()?;
        let disk = self.disk.as_ref();
        let mut written = 0;
        let mut list = |part, rows, fill: &mut dyn FnMut(&mut dyn std::io::Write) -> std::io::Result<()>| {
            let name = Name { generation, part };
            let sum = store::write(disk, name, cancel, fill)?;
            written += sum.bytes;
            Ok::<_, Error>(Listed { name, rows, sum })
        };
        let numbered = Numbered::of(view)?;
        let slots = numbered.rows;
        let index = list(Part::Index, slots, &mut |out| {
            let written = match &numbered.order {
                None => view.index.write_image(slots, out),
                Some(order) => view.index.write_image_in_order(order, out),
            };
            written.map(drop)
        })?;
        let mut further = Vec::with_capacity(view.further.len());
        for (at, column) in view.layout.further().iter().enumerate() {
            let order = Order::of(view, at);
            let part = Part::Further(column.vector.position as u32);
            further.push(list(part, order.len(), &mut |out| {
                order.write(&view.further[at].index, out)
            })?);
        }
        let live = list(Part::Live, slots, &mut |out| {
            write_batch(&batch_of_live(&numbered.live), out)
        })?;
        let mut columns = Vec::with_capacity(view.chunks.len());
        let mut base = 0;
        for chunk in &view.chunks {
            let rows = chunk.rows() as u32;
            columns.push(match self.file_of(chunk) {
                Some(file) => file,
                None => list(Part::Columns(base), rows, &mut |out| {
                    let batch = to_file(&view.layout, &chunk.batch).map_err(std::io::Error::other)?;
                    write_batch(&batch, out)
                })?,
            });
            base += rows;
        }
        self.sync_names()?;
        let manifest = Manifest {
            generation,
            owner,
            applied_index: view.applied_index,
            touched_index: view.touched_index,
            slots,
            live_rows: view.live_rows as u32,
            digest: Some(view.digest),
            ages: Ages::clone(&view.ages),
            index,
            live,
            columns,
            further,
        };
        let bytes = manifest.to_bytes();
        let sum = store::write(disk, Name::manifest(generation), cancel, |out| {
            out.write_all(&bytes)
        })?;
        self.sync_names()?;
        Ok((manifest, written + sum.bytes))
    }

    /// The file in which a chunk stands already.
    fn file_of(&self, chunk: &Arc<Chunk>) -> Option<Listed> {
        // A chunk that is only known weakly is gone, but its address is not used again.
        let is_it = |(known, _): &&(std::sync::Weak<Chunk>, Listed)| known.as_ptr() == Arc::as_ptr(chunk);
        let &(_, file) = self.known.iter().find(is_it)?;
        let is_there = store::check_length(self.disk.as_ref(), file.name, file.sum).is_ok();
        is_there.then_some(file)
    }

    /// Above that of every file there is.
    fn next_generation(&self) -> Result<u64> {
        let mut last = 0;
        for file in self.files()? {
            let Some(name) = Name::parse(&file).or_else(|| Name::parse_temporary(&file)) else {
                continue;
            };
            if name.generation == u64::MAX {
                return Err(Error::damaged(&file, "there is no generation above it"));
            }
            last = last.max(name.generation);
        }
        Ok(last + 1)
    }
}
