//! How does a replica follow the log? The one writer of a partition's state.

mod alter;
mod apply;
mod by_filter;
mod conditional;
mod install;
mod retire;
mod tick;
mod update;

use std::sync::Arc;

use arc_swap::ArcSwap;
use longbow_index::{Bitset, Params, VectorIndex};
use longbow_types::{Result, Schema};
use parking_lot::Mutex;

use crate::columns::Chunks;
use crate::digest::Digest;
use crate::expiry::{Ages, Instants};
use crate::further::Further;
use crate::ids::IdMap;
use crate::layout::{params, quantization};
use crate::located::Located;
use crate::outcomes::Outcomes;
use crate::tenants::{Key, Tenants};
use crate::{Layout, Reader, View};
use retire::Retired;

/// What a write does. The body of an upsert holds whole rows, that of a delete the id column alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteKind {
    /// Inserts rows, or replaces those with the same id.
    Upsert,
    /// Deletes rows by id.
    Delete,
    /// An upsert of those rows alone whose id has a row of the version that they ask for, or has none if they ask for 0. The
    /// versions are the last column.
    UpsertIf,
    /// A delete of those ids alone whose row has the version that they ask for. The versions are the last column.
    DeleteIf,
    /// Changes columns of rows that are there, of the version that each asks for or of any. The body holds the id, the columns
    /// that change, in the dataset's order, and the versions.
    Update,
}

/// What an entry did to a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Applied {
    /// Rows in the entry; of a conditional one those that matched.
    pub rows: usize,
    /// Rows that were live before and are replaced or deleted now.
    pub retired: usize,
}

/// How a replica builds its graph.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Links of a graph node.
    pub m: usize,
    /// Candidates examined when a node is linked.
    pub ef_construction: usize,
    /// Seed of the node levels.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            m: 16,
            ef_construction: 200,
            seed: 0,
        }
    }
}

/// One replica: the writer's side. Readers and graph builders hold a [`Reader`].
///
/// Entries are applied, then published together: until [`publish`](Self::publish), readers see the state before.
pub struct Replica {
    reader: Reader,
    layout: Arc<Layout>,
    ids: Arc<IdMap>,
    tenants: Arc<Tenants>,
    chunks: Chunks,
    live: Arc<Bitset>,
    live_rows: usize,
    /// Of vector columns that rows need not have a value in, in the order of the layout.
    further: Vec<Further>,
    digest: Digest,
    /// Key of the next row.
    next_key: Key,
    applied_index: u64,
    touched_index: u64,
    retired: Retired,
    ages: Arc<Ages>,
    /// Rows that have an instant of their own at which they go.
    instants: Instants,
    /// No row with a key below is too old and has no instant of its own.
    passed: Key,
    /// Whether chunks were installed that no view has.
    is_rearranged: bool,
}

impl Replica {
    /// An empty replica whose first entry has an index above `created_at`, the index of the entry that created the
    /// dataset.
    pub fn new(schema: Schema, options: &Options, created_at: u64) -> Self {
        let layout = Arc::new(Layout::new(schema));
        let vector = layout.schema().vector();
        let params = Params {
            m: options.m,
            ef_construction: options.ef_construction,
            seed: options.seed,
            ..params(&vector)
        };
        let further = layout.further().iter();
        let further = further
            .map(|column| Further::new(&column.vector, &params))
            .collect();
        let index = Arc::new(VectorIndex::with_quantization(params, quantization(&vector)));
        let ids = Arc::new(IdMap::new(layout.schema().id_kind()));
        Self::of(View {
            layout,
            index,
            ids,
            tenants: Arc::new(Tenants::in_order(0)),
            chunks: Chunks::new(),
            live: Arc::new(Bitset::new(0)),
            live_rows: 0,
            further,
            digest: Digest::default(),
            next_key: 0,
            applied_index: created_at,
            touched_index: created_at,
            ages: Arc::default(),
        })
    }

    /// A replica that begins with what a view shows.
    pub(crate) fn of(view: View) -> Self {
        let columns = Arc::default();
        view.chunks.iter().for_each(|chunk| chunk.count_in(&columns));
        for (chunk, dead) in view.located().dead() {
            chunk.died(dead);
        }
        Self {
            layout: Arc::clone(&view.layout),
            ids: Arc::clone(&view.ids),
            tenants: Arc::clone(&view.tenants),
            chunks: view.chunks.clone(),
            live: Arc::clone(&view.live),
            live_rows: view.live_rows,
            further: view.further.clone(),
            digest: view.digest,
            next_key: view.next_key,
            applied_index: view.applied_index,
            touched_index: view.touched_index,
            retired: Retired::default(),
            ages: Arc::clone(&view.ages),
            instants: Instants::default(),
            passed: 0,
            is_rearranged: false,
            reader: Reader {
                outcomes: Arc::new(Mutex::new(Outcomes::after(view.applied_index))),
                columns,
                index: Arc::clone(&view.index),
                turn: Arc::default(),
                view: Arc::new(ArcSwap::from_pointee(view)),
            },
        }
    }

    /// A replica that begins with what a view of files shows. O(rows), where rows have instants of their own.
    pub(crate) fn restored(view: View) -> Result<Self> {
        let mut replica = Self::of(view);
        let layout = Arc::clone(&replica.layout);
        replica.instants = replica.instants_anew(&layout)?;
        Ok(replica)
    }

    /// What readers share.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// How rows are laid out, as of the last entry applied.
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// Last index applied, published or not.
    pub fn applied_index(&self) -> u64 {
        self.applied_index
    }

    /// Says that nothing up to `index` touches this partition any more. Never moves backwards.
    pub fn advance(&mut self, index: u64) {
        self.applied_index = self.applied_index.max(index);
    }

    /// Shows readers the state reached.
    pub fn publish(&mut self) {
        let before = self.reader.view.load_full();
        if before.applied_index == self.applied_index && !self.is_rearranged {
            return;
        }
        self.is_rearranged = false;
        let view = View {
            layout: Arc::clone(&self.layout),
            index: Arc::clone(&before.index),
            ids: Arc::clone(&before.ids),
            tenants: Arc::clone(&before.tenants),
            chunks: self.chunks.clone(),
            live: Arc::clone(&self.live),
            live_rows: self.live_rows,
            further: self.further.clone(),
            digest: self.digest,
            next_key: self.next_key,
            applied_index: self.applied_index,
            touched_index: self.touched_index,
            ages: Arc::clone(&self.ages),
        };
        self.reader.view.store(Arc::new(view));
        self.retired.replaced(&before);
        drop(before);
        self.retired.release(&self.reader.index, &self.further, &self.ids);
    }

    /// Where the rows stand, published or not.
    fn rows(&self) -> Located<'_> {
        Located {
            chunks: &self.chunks,
            live: &self.live,
            tenants: &self.tenants,
        }
    }
}
