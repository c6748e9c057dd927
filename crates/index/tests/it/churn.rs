//! Rows come and go, again and again; the graph stays what a fresh one would be, and does not grow.

use std::sync::atomic::{AtomicBool, Ordering};

use longbow_index::{Bitset, Element, Metric, Mode, Params, Quantization, SearchParams, VectorIndex, Way};
use rand::{Rng, SeedableRng, rngs::SmallRng, seq::SliceRandom};

use crate::support::{Linked, Stop, bytes, check, clustered, gaussian};

const ROWS: usize = 6_000;
const DIMENSION: usize = 24;

/// An index with the row that each live slot holds.
pub struct Table {
    pub index: VectorIndex,
    pub rows: Vec<Option<Vec<f32>>>,
    /// Slots removed and not used again.
    pub removed: usize,
}

impl Table {
    pub fn new(quantization: Quantization, rows: &[Vec<f32>]) -> Self {
        let params = Params::new(Element::F32, Metric::L2, rows[0].len());
        let mut table = Self {
            index: VectorIndex::with_quantization(params, quantization),
            rows: Vec::new(),
            removed: 0,
        };
        table.insert(rows);
        table.link();
        table
    }

    pub fn insert(&mut self, rows: &[Vec<f32>]) -> Vec<u32> {
        let mut slots = Vec::new();
        let before = self.index.len() as usize;
        self.index.insert(&bytes(rows, Element::F32), &mut slots).unwrap();
        self.removed -= rows.len() - (self.index.len() as usize - before);
        self.rows.resize(self.index.len() as usize, None);
        for (&slot, row) in slots.iter().zip(rows) {
            assert!(
                self.rows[slot as usize].replace(row.clone()).is_none(),
                "{slot} is taken"
            );
        }
        slots
    }

    pub fn remove(&mut self, slot: u32) {
        assert!(self.rows[slot as usize].take().is_some());
        self.index.remove(slot);
        self.removed += 1;
    }

    pub fn link(&self) {
        while self.index.link(100) > 0 {}
    }

    /// Until every removed slot is free: searches of other tests may hold it up.
    pub fn vacuum(&self) {
        while self.index.free() < self.removed {
            if self.index.vacuum(1_000) == 0 {
                std::thread::yield_now();
            }
        }
    }

    pub fn live(&self) -> Bitset {
        (0..self.rows.len())
            .filter(|&slot| self.rows[slot].is_some())
            .collect()
    }

    /// Recall@10 and mean distances computed.
    pub fn measure(&self, queries: &[Vec<f32>]) -> (f64, f64) {
        let live = self.live();
        let params = SearchParams {
            k: 10,
            ef: 24,
            mode: Mode::Auto,
        };
        let (mut hits, mut distances) = (0, 0);
        for query in queries {
            let (found, stats) = self.index.search(query, &params, &live, &|| false).unwrap();
            assert_ne!(stats.way, Way::Scan);
            check(&found, &live);
            let exact = SearchParams {
                mode: Mode::Exact,
                ..params
            };
            let (truth, _) = self.index.search(query, &exact, &live, &|| false).unwrap();
            hits += found.iter().filter(|found| truth.contains(found)).count();
            distances += stats.distances;
        }
        let queries = queries.len() as f64;
        (hits as f64 / queries / 10.0, distances as f64 / queries)
    }

    /// Rows that no walk on the vectors for themselves finds, however wide, that is less work than a scan.
    pub fn lost(&self) -> usize {
        let live = self.live();
        let finds = |row: &[f32]| {
            for ef in (3..).map(|octave| 1 << octave) {
                let params = SearchParams {
                    k: 1,
                    ef,
                    mode: Mode::FullPrecision,
                };
                let (found, stats) = self.index.search(row, &params, &live, &|| false).unwrap();
                if stats.way == Way::Scan {
                    assert!(ef > 8, "too few rows to walk at all");
                    return false;
                }
                // A row that is equal is as good.
                if self.rows[found[0].slot as usize].as_deref() == Some(row) {
                    return true;
                }
            }
            unreachable!("a beam of all rows is a scan")
        };
        self.rows.iter().flatten().filter(|row| !finds(row)).count()
    }
}

#[test]
fn replacing_a_fifth_ten_times_costs_neither_recall_nor_memory() {
    for quantization in [Quantization::None, Quantization::Sq8] {
        let mut pool = clustered(3 * ROWS, DIMENSION, 41);
        let queries = clustered(200, DIMENSION, 42);
        let mut rng = SmallRng::seed_from_u64(43);
        let spare = pool.split_off(ROWS);
        let mut spare = spare.chunks(ROWS / 5);
        let mut table = Table::new(quantization, &pool);
        for _ in 0..10 {
            let mut slots: Vec<u32> = table.live().iter().map(|slot| slot as u32).collect();
            slots.shuffle(&mut rng);
            slots[..ROWS / 5].iter().for_each(|&slot| table.remove(slot));
            table.vacuum();
            assert_eq!(table.index.free(), ROWS / 5);
            table.insert(spare.next().unwrap());
            table.link();
        }
        assert_eq!(table.index.len() as usize, ROWS);
        assert_eq!(table.lost(), 0);
        let rows: Vec<Vec<f32>> = table.rows.iter().flatten().cloned().collect();
        let fresh = Table::new(quantization, &rows);
        let ((recall, distances), (fresh_recall, fresh_distances)) =
            (table.measure(&queries), fresh.measure(&queries));
        assert!(recall >= fresh_recall - 0.01, "{recall}, fresh {fresh_recall}");
        assert!(
            distances <= 1.15 * fresh_distances,
            "{distances}, fresh {fresh_distances}"
        );
    }
}

#[test]
fn whole_regions_may_go_and_come_back() {
    let rows = clustered(ROWS, DIMENSION, 44);
    let mut table = Table::new(Quantization::None, &rows);
    // The rows on one side of the space, then all that is left.
    for round in 0..4 {
        let side = |row: &Vec<f32>| (row[round] > 0.0) != (round % 2 == 0);
        let slots: Vec<u32> = table
            .live()
            .iter()
            .filter(|&slot| table.rows[slot].as_ref().is_some_and(side))
            .map(|slot| slot as u32)
            .collect();
        assert!(slots.len() > ROWS / 4);
        let gone: Vec<Vec<f32>> = slots
            .iter()
            .map(|&slot| table.rows[slot as usize].clone().unwrap())
            .collect();
        slots.iter().for_each(|&slot| table.remove(slot));
        table.vacuum();
        table.insert(&gone);
        table.link();
        assert!(table.lost() * 1_000 <= ROWS, "{} rows are lost", table.lost());
    }
    assert_eq!(table.index.len() as usize, ROWS);
    let all: Vec<u32> = table.live().iter().map(|slot| slot as u32).collect();
    all.iter().for_each(|&slot| table.remove(slot));
    table.vacuum();
    assert_eq!(table.index.free(), ROWS);
    table.insert(&rows[..2_000]);
    table.link();
    assert_eq!(table.index.len() as usize, ROWS);
    assert!(table.lost() <= 2, "{} rows are lost", table.lost());
}

#[test]
fn waiting_rows_are_found_once() {
    let rows = clustered(3_000, DIMENSION, 45);
    let mut table = Table::new(Quantization::None, &rows);
    (0..600).for_each(|slot| table.remove(slot));
    table.vacuum();
    let slots = table.insert(&rows[..600]);
    assert_eq!(table.index.len(), 3_000);
    for part in 0..3 {
        // None linked, some, all.
        table.index.link(300 * part);
        let (recall, _) = table.measure(&rows[..100]);
        assert!(recall >= 0.9, "{recall}");
    }
    table.remove(slots[0]);
    assert!(!table.live().get(slots[0] as usize));
    assert_eq!(table.lost(), 0);
}

#[test]
fn a_scan_compares_waiting_rows_once() {
    let rows = clustered(300, DIMENSION, 49);
    let mut table = Table::new(Quantization::None, &rows);
    (0..60).for_each(|slot| table.remove(slot));
    table.vacuum();
    table.insert(&rows[..60]);
    assert_eq!(table.index.waiting(), 60);
    for mode in [Mode::Auto, Mode::Exact] {
        let params = SearchParams { k: 10, ef: 0, mode };
        let answer = table.index.search(&rows[7], &params, &table.live(), &|| false);
        let (found, stats) = answer.unwrap();
        assert_eq!((stats.way, stats.distances, stats.exact), (Way::Scan, 300, true));
        assert_eq!(table.rows[found[0].slot as usize].as_ref(), Some(&rows[7]));
    }
}

#[test]
fn where_rows_have_no_clusters_replacing_them_costs_little() {
    // Each coordinate says less than the one before, as those of embeddings do along their principal axes.
    let fading = |rows: usize, seed| -> Vec<Vec<f32>> {
        let mut rows = gaussian(rows, DIMENSION, seed);
        for row in &mut rows {
            for (axis, value) in row.iter_mut().enumerate() {
                *value *= (axis as f32 + 1.0).powf(-0.4);
            }
        }
        rows
    };
    let queries = fading(400, 51);
    let mut rng = SmallRng::seed_from_u64(52);
    let mut pool = fading(3 * ROWS, 50);
    let spare = pool.split_off(ROWS);
    let mut table = Table::new(Quantization::None, &pool);
    for part in spare.chunks(ROWS / 5) {
        let mut slots: Vec<u32> = table.live().iter().map(|slot| slot as u32).collect();
        slots.shuffle(&mut rng);
        slots[..ROWS / 5].iter().for_each(|&slot| table.remove(slot));
        table.vacuum();
        table.insert(part);
        table.link();
    }
    let rows: Vec<Vec<f32>> = table.rows.iter().flatten().cloned().collect();
    let ((recall, _), (fresh, _)) = (
        table.measure(&queries),
        Table::new(Quantization::None, &rows).measure(&queries),
    );
    assert!(fresh < 0.97, "{fresh}: too easy to tell");
    assert!(recall >= fresh - 0.012, "{recall}, fresh {fresh}");
}

#[test]
fn few_removed_rows_begin_no_pass() {
    let rows = clustered(3_000, DIMENSION, 46);
    let mut table = Table::new(Quantization::None, &rows);
    assert_eq!(table.index.vacuum(1_000), 0);
    table.remove(7);
    assert_eq!(table.index.vacuum(1_000), 0);
    assert_eq!(table.index.free(), 0);
}

#[test]
fn answers_hold_while_slots_are_used_again() {
    let rows = clustered(4_000, DIMENSION, 47);
    let index = VectorIndex::new(Params::new(Element::F16, Metric::Cosine, DIMENSION));
    // What a slot holds, under the rule that storage keeps: a slot is removed only when no search may show it.
    // Not the standard library's lock, which ThreadSanitizer sees only where that is built with it.
    let live: parking_lot::Mutex<Vec<Option<usize>>> = parking_lot::Mutex::default();
    let searching = parking_lot::RwLock::new(());
    let stopped = AtomicBool::new(false);
    let insert = |numbers: &[usize]| {
        let part: Vec<Vec<f32>> = numbers.iter().map(|&number| rows[number].clone()).collect();
        let mut slots = Vec::new();
        index.insert(&bytes(&part, Element::F16), &mut slots).unwrap();
        let mut live = live.lock();
        live.resize(index.len() as usize, None);
        for (slot, &number) in slots.into_iter().zip(numbers) {
            assert_eq!(live[slot as usize].replace(number), None);
        }
    };
    insert(&(0..rows.len()).collect::<Vec<_>>());
    std::thread::scope(|scope| {
        let _stop = Stop(&stopped);
        for _ in 0..2 {
            scope.spawn(|| {
                while !stopped.load(Ordering::Relaxed) {
                    if index.link(16) + index.vacuum(64) == 0 {
                        std::thread::yield_now();
                    }
                }
            });
        }
        for thread in 0..3 {
            let (rows, index, live, searching, stopped) = (&rows, &index, &live, &searching, &stopped);
            scope.spawn(move || {
                let mut rng = SmallRng::seed_from_u64(thread);
                while !stopped.load(Ordering::Relaxed) {
                    let _shown = searching.read();
                    let shown = live.lock().clone();
                    let allow: Bitset = (0..shown.len()).filter(|&slot| shown[slot].is_some()).collect();
                    let number = rng.random_range(0..rows.len());
                    let params = SearchParams {
                        k: 10,
                        ef: 64,
                        mode: Mode::Auto,
                    };
                    let (found, _) = index.search(&rows[number], &params, &allow, &|| false).unwrap();
                    assert_eq!(found.len(), 10);
                    check(&found, &allow);
                    for found in found {
                        let shown = shown[found.slot as usize].unwrap();
                        let dot = |a: &[f32], b: &[f32]| -> f32 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
                        let (a, b) = (&rows[number], &rows[shown]);
                        let distance = 1.0 - dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
                        assert!((distance - found.distance).abs() < 5e-3, "{found:?} {distance}");
                    }
                }
            });
        }
        let mut rng = SmallRng::seed_from_u64(48);
        for _ in 0..150 {
            let part: Vec<(u32, usize)> = {
                let mut live = live.lock();
                let mut taken = Vec::new();
                while taken.len() < 100 {
                    let slot = rng.random_range(0..live.len());
                    if let Some(number) = live[slot].take() {
                        taken.push((slot as u32, number));
                    }
                }
                taken
            };
            // Searches that may show them end first.
            drop(searching.write());
            part.iter().for_each(|&(slot, _)| index.remove(slot));
            insert(&part.iter().map(|&(_, number)| number).collect::<Vec<_>>());
            // So that linking and mending keep up however few processors there are.
            index.link(100);
            index.vacuum(2_000);
        }
    });
    while index.link(100) + index.vacuum(100) > 0 {}
    let live = live.into_inner();
    assert!(
        live.len() < 3 * rows.len(),
        "{} slots for {} rows",
        live.len(),
        rows.len()
    );
    let allow: Bitset = (0..live.len()).filter(|&slot| live[slot].is_some()).collect();
    let held: Vec<Vec<f32>> = live
        .iter()
        .map(|number| number.map_or(vec![1.0; DIMENSION], |number| rows[number].clone()))
        .collect();
    let linked = Linked {
        index,
        rows: held.into(),
    };
    let recall = linked.recall(&clustered(50, DIMENSION, 49), 10, 0, &allow);
    assert!(recall >= 0.97, "{recall}");
}
