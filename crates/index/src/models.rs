//! Models of what runs without locks: loom runs each through the orders of events, and the values loads may see, that
//! a few preemptions make possible. They run the index's own code; what stands for rows is a cell that notices when
//! somebody reads it while another writes it.
//!
//! `cargo test -p longbow-index --features loom --lib models`

#![allow(clippy::unwrap_used)]

mod parts;
mod slots;

use std::{io, ops::Range};

use longbow_kernels::{Element, Metric};
use loom::cell::UnsafeCell;

use crate::{
    context::Context,
    error::Error,
    hnsw::Hnsw,
    image::{Image, ImageError, Saver},
    key::slot_of,
    params::{Params, Stats},
    query::QueryVector,
    queue::Beam,
    slack::Stop,
    space::{Points, Space},
    store::Store,
    sync::epoch,
    traverse::Walk,
};

/// Runs a model through all it can do with so many preemptions.
fn explore(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 20_000;
    builder.check(model);
}

/// Most slots of a model.
const SLOTS: usize = 8;

/// A row that notices when it is read and written at once.
#[derive(Default)]
struct Cell(UnsafeCell<f32>);

// SAFETY: that accesses exclude each other is what the models check.
unsafe impl Sync for Cell {}

impl Cell {
    fn read(&self) -> f32 {
        // SAFETY: loom fails the model if somebody writes meanwhile.
        self.0.with(|value| unsafe { *value })
    }

    fn write(&self, value: f32) {
        // SAFETY: loom fails the model if somebody reads or writes meanwhile.
        self.0.with_mut(|place| unsafe { *place = value });
    }
}

/// Points on a line.
struct Line {
    rows: Store,
    cells: [Cell; SLOTS],
}

impl Line {
    fn write(&self, slot: u32) {
        let mut values = Vec::new();
        self.rows.values(slot, &mut values);
        self.cells[slot as usize].write(values[0] as f32);
    }
}

impl Space for Line {
    type Query = f32;

    fn prepare(&self, query: QueryVector<'_>, out: &mut f32) {
        *out = match query {
            QueryVector::F32(query) => query[0],
            _ => unreachable!("models ask with floats"),
        };
    }

    fn prepare_slot(&self, slot: u32, out: &mut f32) {
        *out = self.cells[slot as usize].read();
    }

    fn distances(&self, query: &f32, slots: &[u32], out: &mut [f32]) {
        for (out, &slot) in out.iter_mut().zip(slots) {
            *out = (self.cells[slot as usize].read() - query).powi(2);
        }
    }

    fn prefetch(&self, _slot: u32) {}
}

impl Points for Line {
    const QUANTIZED: bool = false;

    fn new(params: &Params) -> Self {
        Self {
            rows: Store::new(params),
            cells: Default::default(),
        }
    }

    fn append(
        &self,
        bytes: &[u8],
        prepare: impl FnOnce(usize) -> Result<(), Error>,
        mut written: impl FnMut(u32),
    ) -> Result<Range<u32>, Error> {
        self.rows.append(bytes, prepare, |slot| {
            self.write(slot);
            written(slot);
        })
    }

    unsafe fn overwrite(&self, slot: u32, bytes: &[u8]) {
        // SAFETY: passed on to the caller.
        unsafe { self.rows.overwrite(slot, bytes) };
        self.write(slot);
    }

    fn save(&self, to: &mut Saver<'_>) -> io::Result<()> {
        self.rows.save(to)
    }

    fn load(&mut self, image: &Image) -> Result<(), ImageError> {
        self.rows.load(image)
    }

    fn rows(&self) -> &Store {
        &self.rows
    }
}

type Index = Hnsw<Line>;

/// An index of the rows 0, 10, 20, … in slots 0, 1, 2, …, all linked.
fn line(rows: u32) -> Index {
    let index = Index::new(Params {
        m: 2,
        ef_construction: 4,
        seed: seed_without_levels(),
        ..Params::new(Element::F32, Metric::L2, 1)
    });
    for slot in 0..rows {
        index.append(&value(slot)).unwrap();
        assert_eq!(index.link(1), 1);
    }
    index
}

/// The row that a slot holds at first.
fn value(slot: u32) -> [u8; 4] {
    (10.0 * slot as f32).to_ne_bytes()
}

/// All nodes on the base level: fewer events.
fn seed_without_levels() -> u64 {
    let low = |seed: &u64| (0..SLOTS as u32).all(|slot| crate::link::level_of(*seed, slot, 2) == 0);
    (0..).find(low).unwrap()
}

/// What a search meets in the graph, while it is pinned.
fn walk(index: &Index, query: f32) -> Vec<u32> {
    let _pin = epoch::pin();
    let mut context = Context::<Line>::default();
    let Some(entry) = index.graph.entry() else {
        return Vec::new();
    };
    let mut walk = Walk {
        space: &index.points,
        graph: &index.graph,
        query: &query,
        visited: &mut context.visited,
        batch: &mut context.batch,
        stats: &mut Stats::default(),
        cancel: &|| false,
    };
    walk.visited.reset(index.len());
    let start = walk.descend(entry, 0).unwrap();
    walk.visited.insert(slot_of(start));
    context.sorted.reset(SLOTS);
    context.sorted.push(&mut [start]);
    walk.beam(0, &mut context.sorted, &Stop::at(usize::MAX)).unwrap();
    context.sorted.drain(&mut context.found);
    context.found.iter().map(|&key| slot_of(key)).collect()
}

/// Links and mends until nothing is left to do.
fn settle(index: &Index) {
    for _ in 0..20 {
        if index.link(SLOTS) + index.vacuum(100) == 0 {
            return;
        }
    }
    panic!("linking and mending never end");
}
