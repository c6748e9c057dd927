//! Images written while rows come, go and are linked.

use std::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use longbow_index::{Bitset, Element, Metric, Mode, Params, Quantization, SearchParams, VectorIndex};
use rand::{Rng, SeedableRng, rngs::SmallRng};

use crate::{
    churn::Table,
    support::{Stop, bytes, check, clustered, opened},
};

const DIMENSION: usize = 32;
/// Rows at the end of the pool that only an opened image gets.
const SPARE: usize = 10_000;

/// What goes on beside.
struct Life<'a> {
    index: &'a VectorIndex,
    pool: &'a [Vec<f32>],
    /// Which row each slot holds; slots are removed under the lock.
    live: &'a Mutex<Vec<Option<usize>>>,
    /// How often something was inserted and removed.
    rounds: &'a AtomicUsize,
    /// No more rounds than these.
    rounds_max: &'a AtomicUsize,
    /// An image is being written.
    writing: &'a AtomicBool,
    stopped: &'a AtomicBool,
}

impl Life<'_> {
    fn insert(&self, numbers: &[usize]) {
        let part: Vec<Vec<f32>> = numbers.iter().map(|&at| self.pool[at].clone()).collect();
        let mut slots = Vec::new();
        let mut live = self.live.lock().unwrap();
        self.index
            .insert(&bytes(&part, Element::F32), &mut slots)
            .unwrap();
        live.resize(self.index.len() as usize, None);
        for (slot, &number) in slots.into_iter().zip(numbers) {
            assert_eq!(live[slot as usize].replace(number), None);
        }
    }

    fn rests(&self) -> bool {
        self.rounds.load(Ordering::Relaxed) >= self.rounds_max.load(Ordering::Relaxed)
    }

    /// Until so many rounds are over.
    fn wait(&self, rounds: usize) {
        self.rounds_max.store(rounds, Ordering::Relaxed);
        while self.rounds.load(Ordering::Relaxed) < rounds {
            assert!(!self.stopped.load(Ordering::Relaxed), "another thread ended");
            std::thread::yield_now();
        }
    }

    fn come_and_go(&self, seed: u64) {
        let _stop = Stop(self.stopped);
        let mut rng = SmallRng::seed_from_u64(seed);
        while !self.stopped.load(Ordering::Relaxed) {
            if self.rests() {
                std::thread::yield_now();
                continue;
            }
            let mut live = self.live.lock().unwrap();
            for _ in 0..40 {
                let slot = rng.random_range(0..live.len());
                if live[slot].take().is_some() {
                    self.index.remove(slot as u32);
                }
            }
            drop(live);
            // Slowly enough that an image is begun and ended with some to be linked.
            let is_writing = self.writing.load(Ordering::Relaxed);
            self.index.link(if is_writing { 2 } else { 240 });
            self.index.vacuum(5_000);
            // Last, so that a round leaves something to be linked.
            let first = 4_000 + 40 * self.rounds.load(Ordering::Relaxed) % (self.pool.len() - SPARE - 4_000);
            let numbers: Vec<usize> = (first..first + 40).collect();
            self.insert(&numbers);
            self.rounds.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn search(&self, seed: u64) {
        let _stop = Stop(self.stopped);
        let mut rng = SmallRng::seed_from_u64(seed);
        while !self.stopped.load(Ordering::Relaxed) {
            let all = Bitset::full(self.index.len() as usize);
            let params = SearchParams {
                k: 5,
                ef: 32,
                mode: Mode::Auto,
            };
            let query = &self.pool[rng.random_range(0..self.pool.len())];
            let (found, _) = self.index.search(query, &params, &all, &|| false).unwrap();
            check(&found, &all);
            if !self.rests() && !self.writing.load(Ordering::Relaxed) {
                self.index.link(4);
            }
        }
    }
}

/// Rows that lived from before the image until after it are in it, and found; nothing else is believed.
fn inspect(written: &[u8], pool: &[Vec<f32>], before: &[Option<usize>], after: &[Option<usize>]) {
    let index = opened(written);
    let held = |slot: usize| {
        before
            .get(slot)
            .copied()
            .flatten()
            .filter(|_| before[slot] == after[slot])
    };
    let mut table = Table {
        rows: (0..index.len() as usize)
            .map(|slot| held(slot).map(|number| pool[number].clone()))
            .collect(),
        removed: 0,
        index,
    };
    for (slot, row) in table.rows.iter().enumerate() {
        if let Some(row) = row {
            let mut stored = Vec::new();
            table.index.vector(slot as u32, &mut stored);
            assert_eq!(
                stored,
                bytes(std::slice::from_ref(row), Element::F32),
                "slot {slot}"
            );
        }
    }
    let lost = |table: &Table| table.lost() * 1_000 <= table.rows.len();
    assert!(lost(&table), "{} lost at first", table.lost());
    table.link();
    assert!(lost(&table), "{} lost when linked", table.lost());
    // What the owner of the table does not know goes, and what is free is used again.
    for slot in 0..table.rows.len() {
        if table.rows[slot].is_none() {
            table.index.remove(slot as u32);
            table.removed += 1;
        }
    }
    while table.index.vacuum(10_000) > 0 {}
    assert!(lost(&table), "{} lost when mended", table.lost());
    let free = table.index.free();
    let slots = table.insert(&pool[pool.len() - free - 300..]);
    assert_eq!(slots.len(), free + 300);
    table.link();
    assert!(lost(&table), "{} lost when filled", table.lost());
}

#[test]
fn images_written_beside_everything_are_whole() {
    for quantization in [Quantization::None, Quantization::Sq8] {
        let pool = clustered(60_000, DIMENSION, 61);
        // With half of the links even a fresh graph of such rows leaves 58 of 4,000 unfound.
        let params = Params {
            ef_construction: 100,
            ..Params::new(Element::F32, Metric::L2, DIMENSION)
        };
        let index = VectorIndex::with_quantization(params, quantization);
        let live = Mutex::default();
        let (writing, stopped) = (AtomicBool::new(false), AtomicBool::new(false));
        let (rounds, rounds_max) = (AtomicUsize::new(0), AtomicUsize::new(5));
        let life = Life {
            index: &index,
            pool: &pool,
            live: &live,
            rounds: &rounds,
            rounds_max: &rounds_max,
            writing: &writing,
            stopped: &stopped,
        };
        life.insert(&(0..4_000).collect::<Vec<_>>());
        // So many that walks may be wide.
        index.link(3_500);
        std::thread::scope(|scope| {
            let _stop = Stop(&stopped);
            let life = &life;
            scope.spawn(move || life.come_and_go(1));
            scope.spawn(move || life.search(2));
            let (mut unlinked, mut free) = (0, 0);
            // Until an image was seen of an index with rows on their way in and slots on their way back.
            for image in 0..20 {
                if image >= 8 && unlinked > 0 && free > 0 {
                    break;
                }
                let settled = rounds.load(Ordering::Relaxed) + 10;
                life.wait(settled);
                let before = live.lock().unwrap().clone();
                let mut written = Slow {
                    bytes: Vec::new(),
                    life,
                };
                writing.store(true, Ordering::Relaxed);
                let summary = index.write_image(u32::MAX, &mut written).unwrap();
                writing.store(false, Ordering::Relaxed);
                let after = live.lock().unwrap().clone();
                assert!(summary.slots as usize >= before.len());
                unlinked += summary.unlinked;
                free += summary.free;
                inspect(&written.bytes, &pool, &before, &after);
            }
            assert!(
                unlinked > 0 && free > 0,
                "{unlinked} rows were on their way in, {free} slots on their way back"
            );
        });
    }
}

/// Takes bytes only after another round: whatever waited for the writer would wait for ever.
struct Slow<'a> {
    bytes: Vec<u8>,
    life: &'a Life<'a>,
}

impl std::io::Write for Slow<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.life.wait(self.life.rounds.load(Ordering::Relaxed) + 1);
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_writer_that_fails_leaves_the_index_alone() {
    struct Full(usize);
    impl std::io::Write for Full {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let part = bytes.len().min(self.0);
            self.0 -= part;
            match part {
                0 => Err(std::io::ErrorKind::StorageFull.into()),
                part => Ok(part),
            }
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let rows = clustered(3_000, DIMENSION, 62);
    let mut table = Table::new(Quantization::None, &rows);
    for room in [0, 30, 64, 5_000, 40_000] {
        let error = table.index.write_image(u32::MAX, &mut Full(room)).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    }
    (0..100).for_each(|slot| table.remove(slot));
    table.vacuum();
    assert_eq!(table.index.free(), 100);
    assert_eq!(table.lost(), 0);
}
