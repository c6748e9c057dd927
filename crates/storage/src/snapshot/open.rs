//! Files become a replica.

use std::sync::Arc;

use arrow::array::RecordBatch;
use longbow_index::{Bitset, VectorIndex};
use longbow_query::ids::Ids;
use longbow_types::{Schema, VectorColumn};

use super::columns::{live_of_batch, read_batch};
use super::error::{Error, Result};
use super::further::{self, from_file};
use super::manifest::{Listed, Manifest};
use super::names::{Name, Part};
use super::{Snapshots, store};
use crate::columns::{Chunk, Chunks};
use crate::further::Further;
use crate::ids::IdMap;
use crate::layout::{params, quantization};
use crate::tenants::Tenants;
use crate::versions::recognised;
use crate::{Layout, Replica, View};

/// Most bytes of a file of columns: chunks are full long before.
const COLUMNS_BYTES_MAX: u64 = 1 << 30;

/// How much is looked at before a snapshot is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verify {
    /// Every byte, and that the rows have the digest they had when they were written.
    Everything,
    /// Everything but vectors and their codes, which are read as they are used; [`Snapshots::verify`] looks at them
    /// later. Until it has, a vector that was damaged on the disk is answered as it is.
    AllButVectors,
}

/// How a snapshot is opened.
#[derive(Debug, Clone, Copy)]
pub struct Open {
    /// What is looked at before.
    pub verify: Verify,
    /// Whether an older one is taken if the newest cannot be opened.
    pub fall_back: bool,
}

/// A replica as it was when its snapshot was taken.
pub struct Opened {
    /// Goes on with the entry after [`Manifest::applied_index`]. Rows that were not linked then are to be linked.
    pub replica: Replica,
    /// What was opened.
    pub manifest: Manifest,
    /// Newer generations that could not be opened, newest first, and why.
    pub passed_over: Vec<(u64, Error)>,
}

impl Snapshots {
    /// Opens the newest snapshot; `None` if there is none. The graph is used where it lies on the disk, and read as it
    /// is used; columns are read into memory. `schema_of` tells the schema, from what the caller put into the manifest.
    ///
    /// The graph keeps the parameters it was built with.
    ///
    /// # Errors
    /// What is wrong with the newest snapshot, and with every other if it may fall back.
    pub fn open(
        &mut self,
        how: Open,
        schema_of: &mut dyn FnMut(&Manifest) -> longbow_types::Result<Schema>,
        cancel: &dyn Fn() -> bool,
    ) -> Result<Option<Opened>> {
        let mut passed_over = Vec::new();
        for generation in self.generations()?.into_iter().rev() {
            match self.open_generation(generation, how.verify, schema_of, cancel) {
                Ok((replica, manifest)) => {
                    return Ok(Some(Opened {
                        replica,
                        manifest,
                        passed_over,
                    }));
                }
                Err(Error::Cancelled) => return Err(Error::Cancelled),
                Err(error) => {
                    if error.is_damage() {
                        self.damaged.insert(generation);
                    }
                    passed_over.push((generation, error));
                }
            }
            if !how.fall_back {
                break;
            }
        }
        match passed_over.into_iter().next() {
            Some((_, error)) => Err(error),
            None => Ok(None),
        }
    }

    fn open_generation(
        &mut self,
        generation: u64,
        verify: Verify,
        schema_of: &mut dyn FnMut(&Manifest) -> longbow_types::Result<Schema>,
        cancel: &dyn Fn() -> bool,
    ) -> Result<(Replica, Manifest)> {
        let manifest = self.manifest(generation)?;
        let schema = schema_of(&manifest).map_err(|source| Error::Schema {
            file: Name::manifest(generation).to_string(),
            source,
        })?;
        let layout = Arc::new(Layout::at(schema, manifest.owner.schema_version));
        let live = self.live(&manifest)?;
        let mut chunks = Chunks::with_capacity(manifest.columns.len());
        let (mut base, mut next) = (0, vec![0; layout.further().len()]);
        for file in &manifest.columns {
            if cancel() {
                return Err(Error::Cancelled);
            }
            chunks.push(Arc::new(Chunk::new(base, self.batch(file, &layout, &mut next)?)));
            base += file.rows;
        }
        let ids = ids(&layout, &chunks, &live, &manifest.columns)?;
        let index = self.index(&manifest.index, verify, &layout.schema().vector(), cancel)?;
        if live.iter().any(|slot| !index.holds(slot as u32)) {
            let name = manifest.index.name.to_string();
            return Err(Error::damaged(&name, "its rows are not those of the columns"));
        }
        // Rows that were retired when the view was taken, and that older views still showed.
        (0..manifest.slots)
            .filter(|&slot| !live.get(slot as usize))
            .for_each(|slot| index.remove(slot));
        let further = self.further(&manifest, verify, &layout, (&chunks, &live, &next), cancel)?;
        let mut view = View {
            layout,
            index: Arc::new(index),
            ids: Arc::new(ids),
            tenants: Arc::new(Tenants::in_order(manifest.slots)),
            chunks,
            live: Arc::new(live),
            live_rows: manifest.live_rows as usize,
            further,
            digest: manifest.digest.unwrap_or_default(),
            next_key: manifest.slots.into(),
            applied_index: manifest.applied_index,
            touched_index: manifest.touched_index,
            ages: Arc::new(manifest.ages.clone()),
        };
        settle_digest(&mut view, &manifest, verify)?;
        self.remember(&view.chunks, &manifest);
        let replica = Replica::restored(view);
        let file = Name::manifest(generation).to_string();
        let replica = replica.map_err(|error| Error::mismatch(&file, error.to_string()))?;
        Ok((replica, manifest))
    }

    /// The one batch of a file.
    fn arrow(&self, file: &Listed) -> Result<RecordBatch> {
        let bytes = store::read_summed(self.disk.as_ref(), file.name, file.sum, COLUMNS_BYTES_MAX)?;
        let name = file.name.to_string();
        let batch = read_batch(&bytes).map_err(|reason| Error::damaged(&name, reason))?;
        if batch.num_rows() != file.rows as usize {
            let reason = format!("{} rows where {} were written", batch.num_rows(), file.rows);
            return Err(Error::damaged(&name, reason));
        }
        Ok(batch)
    }

    fn live(&self, manifest: &Manifest) -> Result<Bitset> {
        let batch = self.arrow(&manifest.live)?;
        let live = live_of_batch(&batch).filter(|live| live.iter().count() == manifest.live_rows as usize);
        live.ok_or_else(|| {
            Error::damaged(
                &manifest.live.name.to_string(),
                "its rows are not those the manifest counts",
            )
        })
    }

    /// Rows of columns as the layout wants them, or as an earlier version of the schema did.
    fn batch(&self, file: &Listed, layout: &Layout, next: &mut [u32]) -> Result<RecordBatch> {
        let batch = self.arrow(file)?;
        from_file(layout, &batch, next)
            .and_then(|batch| recognised(layout, &batch))
            .map_err(|reason| Error::mismatch(&file.name.to_string(), reason))
    }

    /// Further vector columns, whose values follow the rows of the chunks; so many they are of each.
    fn further(
        &self,
        manifest: &Manifest,
        verify: Verify,
        layout: &Layout,
        (chunks, live, values): (&Chunks, &Bitset, &[u32]),
        cancel: &dyn Fn() -> bool,
    ) -> Result<Vec<Further>> {
        let columns = layout.further().iter();
        let parts = columns.map(|column| Part::Further(column.vector.position as u32));
        if !parts.eq(manifest.further.iter().map(|file| file.name.part)) {
            let file = Name::manifest(manifest.generation).to_string();
            return Err(Error::mismatch(
                &file,
                "its vector columns are not those of the schema",
            ));
        }
        let files = layout.further().iter().zip(&manifest.further).zip(values);
        let opened = files.map(|((column, file), &values)| {
            let name = file.name.to_string();
            if file.rows != values {
                return Err(Error::damaged(&name, "its rows are not those of the columns"));
            }
            let index = self.index(file, verify, &column.vector, cancel)?;
            further::opened(index, chunks, column.stored, live, &name)
        });
        opened.collect()
    }

    fn index(
        &self,
        file: &Listed,
        verify: Verify,
        vector: &VectorColumn,
        cancel: &dyn Fn() -> bool,
    ) -> Result<VectorIndex> {
        let name = file.name.to_string();
        let disk = self.disk.as_ref();
        match verify {
            Verify::Everything => store::check_sum(disk, file.name, file.sum, cancel)?,
            Verify::AllButVectors => store::check_length(disk, file.name, file.sum)?,
        }
        let memory = disk
            .map(&name)
            .map_err(|source| Error::io("map", &name, source))?;
        let index = VectorIndex::from_image(memory).map_err(|source| Error::Image {
            file: name.clone(),
            source,
        })?;
        let (have, want) = (index.params(), params(vector));
        if (have.element, have.metric, have.dimension) != (want.element, want.metric, want.dimension)
            || index.quantization() != quantization(vector)
        {
            return Err(Error::mismatch(&name, "it is an index of other vectors"));
        }
        if index.len() != file.rows {
            return Err(Error::damaged(&name, "its rows are not those of the columns"));
        }
        Ok(index)
    }
}

/// Compares the rows with the digest that the manifest tells, if everything is to be looked at, and finds out theirs if
/// it tells none.
fn settle_digest(view: &mut View, manifest: &Manifest, verify: Verify) -> Result<()> {
    if manifest.digest.is_some() && verify == Verify::AllButVectors {
        return Ok(());
    }
    view.digest = view.digest_anew();
    if manifest.digest.is_some_and(|told| told != view.digest) {
        let file = Name::manifest(manifest.generation).to_string();
        return Err(Error::damaged(&file, "its digest is not that of its rows"));
    }
    Ok(())
}

/// The slot of each id that is live.
fn ids(layout: &Layout, chunks: &Chunks, live: &Bitset, files: &[Listed]) -> Result<IdMap> {
    let map = IdMap::new(layout.schema().id_kind());
    let mut keys = 0..;
    for (chunk, file) in chunks.iter().zip(files) {
        let damaged = |reason: &str| Error::damaged(&file.name.to_string(), reason);
        let ids = Ids::new(chunk.batch.column(layout.id()).as_ref())
            .map_err(|error| damaged(&error.to_string()))?;
        // Rows are numbered as they stand in the files.
        for (row, key) in keys.by_ref().take(ids.len()).enumerate() {
            if live.get(key as usize) && map.insert(&ids, row, key).is_some() {
                return Err(damaged("an id is live twice"));
            }
        }
    }
    Ok(map)
}
