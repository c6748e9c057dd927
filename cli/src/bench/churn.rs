//! Deleting a fifth of the rows and putting them back, over and over, beside an index that was left alone.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use longbow_index::{Bitset, Mode, Neighbor, SearchParams, VectorIndex};
use rand::{SeedableRng, rngs::SmallRng, seq::index::sample};

use super::{
    dataset::Dataset,
    measure::{element_bytes, link},
};

/// One row in so many goes in a round.
const SHARE: usize = 5;
const STEP: usize = 1024;
/// Calls that find nothing to do before slots are no longer waited for.
const IDLE_MAX: u32 = 1000;
/// Times that the searches of both indexes are measured in turn.
const TURNS: usize = 5;

/// What is left of recall and speed.
pub(super) struct Churned {
    /// Largest recall lost at any ef.
    pub(super) recall_lost: f64,
    /// Least ratio of speeds at any ef.
    pub(super) qps_over_fresh: f64,
    /// Slots of the churned index for each row.
    pub(super) slots_per_row: f64,
}

/// Which slot holds which row.
struct Slots {
    of_row: Vec<u32>,
    rows: Vec<u32>,
    allow: Bitset,
}

impl Slots {
    fn new(rows: usize) -> Self {
        let numbers: Vec<u32> = (0..rows as u32).collect();
        Self {
            of_row: numbers.clone(),
            rows: numbers,
            allow: Bitset::full(rows),
        }
    }

    fn put(&mut self, row: u32, slot: u32) {
        let at = slot as usize;
        if at >= self.rows.len() {
            self.rows.resize(at + 1, u32::MAX);
            self.allow.resize(at + 1);
        }
        self.of_row[row as usize] = slot;
        self.rows[at] = row;
        self.allow.set(at);
    }
}

/// Churns `index`, which holds the rows in order, and compares it with `fresh`, which holds the same.
/// `threads` link what was put back.
pub(super) fn churn(
    fresh: &VectorIndex,
    index: &VectorIndex,
    dataset: &Dataset,
    rounds: u32,
    threads: usize,
    (k, efs): (usize, &[usize]),
) -> Result<Churned> {
    let mut slots = Slots::new(dataset.rows());
    for round in 0..rounds {
        replace(index, dataset, round, threads, &mut slots)?;
    }
    let left_alone = Slots::new(dataset.rows());
    let mut churned = Churned {
        recall_lost: f64::NEG_INFINITY,
        qps_over_fresh: f64::INFINITY,
        slots_per_row: f64::from(index.len()) / dataset.rows() as f64,
    };
    for &ef in efs {
        let recalls = [(fresh, &left_alone), (index, &slots)]
            .map(|(index, slots)| recall(index, dataset, slots, k, ef));
        let [before, after] = recalls;
        churned.recall_lost = churned.recall_lost.max(before? - after?);
        let mut ratios = Vec::new();
        for _ in 0..TURNS {
            let alone = time(fresh, dataset, &left_alone, k, ef)?;
            ratios.push(alone.as_secs_f64() / time(index, dataset, &slots, k, ef)?.as_secs_f64());
        }
        ratios.sort_by(f64::total_cmp);
        churned.qps_over_fresh = churned.qps_over_fresh.min(ratios[TURNS / 2]);
    }
    Ok(churned)
}

/// Takes a fifth of the rows out, and puts them in again.
fn replace(
    index: &VectorIndex,
    dataset: &Dataset,
    round: u32,
    threads: usize,
    slots: &mut Slots,
) -> Result<()> {
    let mut rng = SmallRng::seed_from_u64(u64::from(round));
    let rows = sample(&mut rng, dataset.rows(), dataset.rows() / SHARE);
    let mut bytes = Vec::new();
    for row in rows.iter() {
        let slot = slots.of_row[row];
        slots.allow.clear(slot as usize);
        index.remove(slot);
        let vector = &dataset.base[row * dataset.dimension..(row + 1) * dataset.dimension];
        element_bytes(vector, index.params().element, &mut bytes);
    }
    let mut idle = 0;
    while index.free() < rows.len() && idle < IDLE_MAX {
        idle = if index.vacuum(STEP) > 0 { 0 } else { idle + 1 };
    }
    let mut placed = Vec::new();
    index.insert(&bytes, &mut placed)?;
    ensure!(placed.len() == rows.len(), "an insertion lost rows");
    for (row, &slot) in rows.iter().zip(&placed) {
        slots.put(row as u32, slot);
    }
    link(index, threads);
    Ok(())
}

fn search(
    index: &VectorIndex,
    query: &[f32],
    slots: &Slots,
    (k, ef): (usize, usize),
    found: &mut Vec<Neighbor>,
) -> Result<()> {
    let params = SearchParams {
        k,
        ef,
        mode: Mode::Auto,
    };
    index.search_into(query, &params, &slots.allow, &|| false, found)?;
    Ok(())
}

fn recall(index: &VectorIndex, dataset: &Dataset, slots: &Slots, k: usize, ef: usize) -> Result<f64> {
    let (mut hits, mut wanted, mut found) = (0, 0, Vec::new());
    for (number, query) in dataset.queries.iter().enumerate() {
        search(index, query, slots, (k, ef), &mut found)?;
        let expected = dataset.truth.of(number, k);
        let rows = found.iter().map(|neighbor| slots.rows[neighbor.slot as usize]);
        hits += rows.filter(|row| expected.contains(row)).count();
        wanted += expected.len();
    }
    Ok(f64::from(hits as u32) / f64::from(wanted as u32))
}

fn time(index: &VectorIndex, dataset: &Dataset, slots: &Slots, k: usize, ef: usize) -> Result<Duration> {
    let mut found = Vec::new();
    let start = Instant::now();
    for query in &dataset.queries {
        search(index, query, slots, (k, ef), &mut found)?;
    }
    Ok(start.elapsed())
}
