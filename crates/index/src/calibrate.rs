//! Which beam gives which recall, measured on the index itself.
//!
//! Queries are stored rows, asked for as if they were none: neither are they in their own answers nor does a walk pass
//! through them, whose links lead to just those. So queries lie where rows do, as far from others as rows are, whatever
//! the data. What is missing is what others gave up for the sake of them: searches for anything else find a little
//! more. True neighbours come from a scan. What is kept per beam is a lower bound of the mean recall, so that a target is
//! met even if the sample was lucky.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use longbow_kernels::Bitset;
use parking_lot::Mutex;

use crate::{
    error::Cancelled,
    hnsw::Hnsw,
    key::distance_of,
    kind::Query,
    mix::{STEP, mix},
    params::{Mode, Neighbor, RecallTarget, SearchParams, Stats},
    plan::{default_ef, plan, walking},
    scan::scan,
    search::Manner,
    space::{Points, Space},
    sync::epoch,
    topk::TopK,
};

/// Beams measured; the last compares everything, on codes where there are codes.
const EFS: [usize; 14] = [
    10,
    16,
    24,
    32,
    48,
    64,
    96,
    128,
    192,
    256,
    384,
    512,
    768,
    usize::MAX,
];
/// Neighbours measured; answers to any other number are like those to the next larger.
const KS: [usize; 3] = [1, 10, 100];
/// Shares of allowed slots measured; any other is like the next smaller.
const SHARES: [f64; 4] = [1.0, 0.5, 0.25, 0.1];
/// A share that is nearly another counts as that: see `plan`.
const NEARLY: f64 = 0.95;
/// Queries of a calibration.
const SAMPLES: u32 = 200;
/// Smaller indexes are scanned, or as good as.
const ROWS_MIN: u32 = 2_000;
/// Rows that may come and go, as a share of all, before what was measured is measured again.
const DRIFT: f64 = 0.2;
/// Quantile of the normal distribution: one in twenty means is below its lower bound.
const Z: f64 = 1.645;

/// What was measured, and the measuring in progress.
pub(crate) struct Calibration {
    /// Per share, number and beam, the lower bound of the recall as the bits of a float; 0 while unknown.
    table: [[[AtomicU32; EFS.len()]; KS.len()]; SHARES.len()],
    /// Rows that came or went.
    changes: AtomicU64,
    /// What `changes` was when the table was measured; all ones before.
    measured: AtomicU64,
    work: Mutex<Option<Box<Work>>>,
}

/// A calibration in progress.
struct Work {
    next: u32,
    changes: u64,
    cells: Cells,
}

type Cells = [[[Cell; EFS.len()]; KS.len()]; SHARES.len()];

#[derive(Clone, Copy, Default)]
struct Cell {
    sum: f64,
    squares: f64,
    count: f64,
}

impl Cell {
    fn add(&mut self, recall: f64) {
        self.sum += recall;
        self.squares += recall * recall;
        self.count += 1.0;
    }

    /// What the mean recall is above, almost certainly; `k` neighbours were asked for each time.
    fn lower(&self, k: usize) -> f64 {
        if self.count < 2.0 {
            return 0.0;
        }
        let mean = self.sum / self.count;
        let variance = (self.squares / self.count - mean * mean).max(0.0);
        let bound = mean - Z * (variance / self.count).sqrt();
        // That nothing was missed does not say that nothing ever will be.
        bound.clamp(0.0, 1.0 - 1.0 / (self.count * k as f64))
    }
}

fn hash(x: u64) -> u64 {
    mix(x.wrapping_add(1).wrapping_mul(STEP))
}

impl Calibration {
    pub(crate) fn new() -> Self {
        Self {
            table: std::array::from_fn(|_| {
                std::array::from_fn(|_| std::array::from_fn(|_| AtomicU32::new(0)))
            }),
            changes: AtomicU64::new(0),
            measured: AtomicU64::new(u64::MAX),
            work: Mutex::new(None),
        }
    }

    /// Rows came or went.
    pub(crate) fn changed(&self, rows: usize) {
        self.changes.fetch_add(rows as u64, Ordering::Relaxed);
    }

    /// Where the table answers for `k` neighbours at a share of allowed slots: place of the share, place of the
    /// number, and how much wider than measured a beam has to be.
    fn place(k: usize, share: f64) -> (usize, usize, f64) {
        let last = SHARES.len() - 1;
        let share = SHARES.iter().position(|&s| share >= s * NEARLY).unwrap_or(last);
        match KS.iter().position(|&of| k <= of) {
            Some(number) => (share, number, 1.0),
            None => {
                let number = KS.len() - 1;
                (share, number, k as f64 / KS[number] as f64)
            }
        }
    }

    /// The narrowest beam measured to reach a target: `None` before anything was measured, `Some(None)` if none does.
    fn ef(&self, k: usize, share: f64, target: f64) -> Option<Option<usize>> {
        if self.measured.load(Ordering::Acquire) == u64::MAX {
            return None;
        }
        let (share, number, wider) = Self::place(k, share);
        let bounds = &self.table[share][number];
        let reached = bounds
            .iter()
            .position(|bound| f64::from(f32::from_bits(bound.load(Ordering::Relaxed))) >= target);
        Some(reached.map(|at| ((EFS[at] as f64 * wider).ceil() as usize).max(k)))
    }

    /// The recall of a beam, a lower bound; `None` if it was not measured, as walks among fewer slots than the smallest
    /// share were not. Comparing everything misses no more of fewer.
    pub(crate) fn recall(&self, k: usize, share: f64, ef: usize) -> Option<f32> {
        if ef < usize::MAX && share < SHARES[SHARES.len() - 1] * NEARLY {
            return None;
        }
        let (share, number, wider) = Self::place(k, share);
        let at = EFS.iter().rposition(|&of| of as f64 * wider <= ef as f64)?;
        let bits = self.table[share][number][at].load(Ordering::Relaxed);
        (bits != 0).then(|| f32::from_bits(bits))
    }

    fn publish(&self, work: &Work) {
        for (of_share, cells) in self.table.iter().zip(&work.cells) {
            for ((of_number, cells), &k) in of_share.iter().zip(cells).zip(&KS) {
                let mut least = 0.0f64;
                for (bound, cell) in of_number.iter().zip(cells) {
                    // A wider beam finds no less.
                    least = least.max(cell.lower(k));
                    bound.store((least as f32).to_bits(), Ordering::Relaxed);
                }
            }
        }
        self.measured.store(work.changes, Ordering::Release);
    }
}

impl<S: Points> Hnsw<S> {
    /// Measures with up to `max` queries; how many were tried, 0 if the table is fresh enough. `cancel` is asked as
    /// searches ask; a query that it ends has not been tried.
    pub(crate) fn calibrate(&self, max: usize, cancel: &dyn Fn() -> bool) -> usize {
        let Some(mut work) = self.calibration.work.try_lock() else {
            return 0;
        };
        if work.is_none() && !self.calibration_due() {
            return 0;
        }
        let changes = self.calibration.changes.load(Ordering::Relaxed);
        let mut scratch = Scratch::default();
        for done in 0..max {
            let work_now = work.get_or_insert_with(|| {
                Box::new(Work {
                    next: 0,
                    changes,
                    cells: Default::default(),
                })
            });
            // Of a query that is not asked with every beam nothing is kept: the widest come last.
            let mut cells = work_now.cells;
            match self.sample(work_now.next, &mut cells, &mut scratch, cancel) {
                Ok(()) => work_now.cells = cells,
                Err(Cancelled) => return done,
            }
            work_now.next += 1;
            if work_now.next >= SAMPLES {
                self.calibration.publish(work_now);
                *work = None;
                return done + 1;
            }
        }
        max
    }

    fn calibration_due(&self) -> bool {
        let (linked, len) = (self.linked(), self.len());
        // A graph that is being built says nothing of the one it becomes.
        if linked < ROWS_MIN || f64::from(linked) < 0.9 * f64::from(len) {
            return false;
        }
        let measured = self.calibration.measured.load(Ordering::Relaxed);
        let changes = self.calibration.changes.load(Ordering::Relaxed);
        measured == u64::MAX || (changes.wrapping_sub(measured)) as f64 > DRIFT * f64::from(linked)
    }

    /// How to search for `k` of the allowed slots with a recall.
    pub(crate) fn aim(&self, k: usize, target: RecallTarget, allow: &Bitset) -> SearchParams {
        let target = f64::from(target.get());
        let exact = SearchParams {
            k,
            ef: 0,
            mode: Mode::Exact,
        };
        // Among so few a scan takes no longer than a walk, and what walks find is not measured.
        if target >= 1.0 || self.len() < ROWS_MIN {
            return exact;
        }
        let share = self.scope(&exact, allow, &|| false).task.share();
        let ef = match self.calibration.ef(k, share, target) {
            Some(Some(ef)) => ef,
            Some(None) => return exact,
            // What the default loses is taken to halve when the beam doubles.
            None => (default_ef(k) as f64 * (0.05 / (1.0 - target)).clamp(1.0, 64.0)) as usize,
        };
        SearchParams {
            k,
            ef,
            mode: Mode::Auto,
        }
    }

    /// Asks one query with every beam, and counts what was found.
    fn sample(
        &self,
        number: u32,
        cells: &mut Cells,
        scratch: &mut Scratch,
        cancel: &dyn Fn() -> bool,
    ) -> Result<(), Cancelled> {
        // What is not removed now is not written again before this is unpinned.
        let _pin = epoch::pin();
        let linked = self.linked();
        let present = |slot: u32| !self.removed.get(slot) && !self.waiting.get(slot);
        // One that no way down leads through.
        let entry = self.graph.entry().map(|entry| entry.slot);
        let is_apart = |slot: u32| self.graph.level(slot) == 0 && entry != Some(slot);
        let start = (hash(u64::from(number)) % u64::from(linked.max(1))) as u32;
        let mut slots = (start..linked).chain(0..start);
        let Some(from) = slots.find(|&slot| present(slot) && is_apart(slot)) else {
            return Ok(());
        };
        let Scratch { query, found } = scratch;
        query.clear();
        self.points.rows().values(from, query);
        let seed = hash(u64::from(number)) << 32;
        for (share, cells) in SHARES.iter().zip(cells) {
            let least = (share * u32::MAX as f64) as u64;
            let chosen = |slot: u32| *share >= 1.0 || hash(seed | u64::from(slot)) >> 32 < least;
            let slots = (0..linked).filter(|&slot| slot != from && present(slot) && chosen(slot));
            let mut allow = Bitset::new(linked as usize);
            slots.for_each(|slot| allow.set(slot as usize));
            let truth = self.truth(query, &allow, cancel)?;
            let question = Question {
                query,
                from,
                allow: &allow,
                truth: &truth,
                cancel,
            };
            for (k, cells) in KS.iter().zip(cells) {
                self.ask_all(&question, *k, cells, found)?;
            }
        }
        Ok(())
    }

    /// Searches with every beam.
    fn ask_all(
        &self,
        question: &Question<'_>,
        k: usize,
        cells: &mut [Cell],
        found: &mut Vec<Neighbor>,
    ) -> Result<(), Cancelled> {
        let &Question {
            query,
            from,
            allow,
            truth,
            cancel,
        } = question;
        let wanted = k.min(truth.len());
        if wanted == 0 {
            return Ok(());
        }
        let worst = truth[wanted - 1];
        for (cell, &ef) in cells.iter_mut().zip(&EFS).filter(|&(_, &ef)| ef >= k) {
            let params = SearchParams {
                k,
                ef,
                mode: Mode::Auto,
            };
            let manner = Manner {
                // Where a scan is cheaper, searches scan; what is asked here is what walks are worth.
                plan: if ef == usize::MAX { plan } else { walking },
                hidden: Some(from),
                clock: None,
            };
            self.search_by(manner, query.into(), &params, allow, cancel, found)?;
            let hits = found.iter().filter(|found| found.distance <= worst).count();
            cell.add(hits as f64 / wanted as f64);
        }
        Ok(())
    }

    /// Distances of the nearest, in order.
    fn truth(&self, query: &[f64], allow: &Bitset, cancel: &dyn Fn() -> bool) -> Result<Vec<f32>, Cancelled> {
        let rows = self.points.rows();
        let mut exact = Query::default();
        rows.prepare(query.into(), &mut exact);
        let mut top = TopK::default();
        top.reset(KS[KS.len() - 1]);
        let (all, mut stats) = (0..allow.len() as u32, Stats::default());
        scan(
            rows,
            &exact,
            all,
            self.allowed(allow),
            cancel,
            &mut top,
            &mut stats,
        )?;
        Ok(top.sorted().iter().map(|&key| distance_of(key)).collect())
    }
}

/// What is asked with every beam.
struct Question<'a> {
    query: &'a [f64],
    /// The slot that the query is the row of.
    from: u32,
    allow: &'a Bitset,
    /// Distances of the true neighbours, nearest first.
    truth: &'a [f32],
    cancel: &'a dyn Fn() -> bool,
}

#[derive(Default)]
struct Scratch {
    query: Vec<f64>,
    found: Vec<Neighbor>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lower_bound_is_below_the_mean_and_below_one() {
        let mut cell = Cell::default();
        assert_eq!(cell.lower(10), 0.0);
        (0..200).for_each(|_| cell.add(1.0));
        assert!(cell.lower(10) < 1.0 && cell.lower(10) > 0.999);
        (0..200).for_each(|_| cell.add(0.9));
        assert!(cell.lower(10) < 0.95 && cell.lower(10) > 0.93);
    }

    #[test]
    fn a_table_answers_for_the_next_harder_case() {
        assert_eq!(Calibration::place(1, 1.0), (0, 0, 1.0));
        assert_eq!(Calibration::place(5, 0.97), (0, 1, 1.0));
        assert_eq!(Calibration::place(11, 0.6), (1, 2, 1.0));
        assert_eq!(Calibration::place(400, 0.01), (3, 2, 4.0));
        let calibration = Calibration::new();
        assert_eq!(calibration.ef(10, 1.0, 0.9), None);
        assert_eq!(calibration.recall(10, 1.0, 64), None);
        let mut work = Work {
            next: 0,
            changes: 7,
            cells: Default::default(),
        };
        for at in 0..200 {
            for (place, cell) in work.cells[0][1].iter_mut().enumerate() {
                cell.add(if at % (place + 1) == 0 { 0.8 } else { 1.0 });
            }
        }
        calibration.publish(&work);
        let ef = calibration.ef(10, 1.0, 0.9).unwrap().unwrap();
        assert!(EFS.contains(&ef) && calibration.recall(10, 1.0, ef).unwrap() >= 0.9);
        assert!(calibration.ef(10, 1.0, 0.95).unwrap().unwrap() > ef);
        assert_eq!(calibration.ef(10, 1.0, 0.9999), Some(None));
    }
}
