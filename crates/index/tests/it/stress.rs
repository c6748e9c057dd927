//! Eight threads append, insert, remove, link, vacuum and search one index; every answer is checked against what was
//! visible when its search began.
//!
//! By default each thread does a fixed number of things. `LONGBOW_STRESS_SECONDS=60` goes on for so long instead, and
//! `LONGBOW_STRESS_SEED` makes the choices of an earlier run again (what the threads then do to each other is up to the
//! machine). Prints one line of JSON.

mod table;

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use longbow_index::{Element, Metric, Mode, Params, Quantization, SearchParams, VectorIndex, Way};
use rand::{Rng, SeedableRng, rngs::SmallRng};

use crate::support::{assert_exact, bytes, check, distance, rounded};
use table::{Table, View};

const THREADS: u64 = 8;
/// Things each thread does where no time is given.
const STEPS: usize = 500;
/// How long the end of all work is waited for.
const SETTLE_MAX: Duration = Duration::from_secs(120);
const DIMENSION: usize = 40;
/// Live rows that the threads keep about.
const LIVE: usize = 5_000;

const VARIANTS: [(Element, Metric, Quantization); 3] = [
    (Element::F32, Metric::L2, Quantization::None),
    (Element::F16, Metric::Cosine, Quantization::Sq8),
    (Element::F32, Metric::Cosine, Quantization::Sq4),
];

/// What was done, over all threads.
#[derive(Default)]
struct Done {
    searches: AtomicU64,
    inserted: AtomicU64,
    removed: AtomicU64,
    linked: AtomicU64,
    vacuumed: AtomicU64,
    /// Searches for a row's own vector while everything went on, and how many found it.
    asked: AtomicU64,
    found: AtomicU64,
    /// The same when all was quiet.
    live: AtomicU64,
    reachable: AtomicU64,
}

fn add(counter: &AtomicU64, count: usize) {
    counter.fetch_add(count as u64, Ordering::Relaxed);
}

/// Stops the other threads, and says how to come back here, when one panics.
struct Alarm<'a>(&'a AtomicBool, u64);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
            eprintln!("stress failed with LONGBOW_STRESS_SEED={}", self.1);
        }
    }
}

#[test]
fn stress() {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seconds = number("LONGBOW_STRESS_SECONDS");
    let time = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let seed = number("LONGBOW_STRESS_SEED").unwrap_or_else(|| seconds.map_or(1, |_| time()));
    let each = seconds.map(|seconds| Duration::from_secs(seconds) / VARIANTS.len() as u32);
    let (done, started) = (Done::default(), Instant::now());
    for (element, metric, quantization) in VARIANTS {
        let params = Params {
            seed,
            ..Params::new(element, metric, DIMENSION)
        };
        run(params, quantization, seed, each, &done);
    }
    let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    println!(
        "{}",
        serde_json::json!({
            "seed": seed,
            "seconds": started.elapsed().as_secs_f64(),
            "threads": THREADS,
            "searches": of(&done.searches),
            "inserted": of(&done.inserted),
            "removed": of(&done.removed),
            "linked": of(&done.linked),
            "vacuumed": of(&done.vacuumed),
            "found_meanwhile": of(&done.found) as f64 / of(&done.asked).max(1) as f64,
            "live": of(&done.live),
            "found": of(&done.reachable) as f64 / of(&done.live).max(1) as f64,
        })
    );
}

/// Everything at once on an index of one kind, then a look at what is left.
fn run(params: Params, quantization: Quantization, seed: u64, time: Option<Duration>, done: &Done) {
    let table = Table::new(VectorIndex::with_quantization(params, quantization), seed);
    let stopped = AtomicBool::new(false);
    table.insert(LIVE / 2);
    let until = time.map(|time| Instant::now() + time);
    std::thread::scope(|scope| {
        // Joined one by one: what the threads did is then certainly done.
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (table, stopped) = (&table, &stopped);
                scope.spawn(move || {
                    let _alarm = Alarm(stopped, seed);
                    let mut rng = SmallRng::seed_from_u64(seed.wrapping_mul(THREADS).wrapping_add(thread));
                    for step in 0.. {
                        let over = until.map_or(step == STEPS, |until| Instant::now() >= until);
                        if over || stopped.load(Ordering::Relaxed) {
                            break;
                        }
                        do_something(table, &mut rng, done);
                    }
                })
            })
            .collect();
        for thread in threads {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
    });
    let _alarm = Alarm(&stopped, seed);
    settle(&table, done);
}

fn do_something(table: &Table, rng: &mut SmallRng, done: &Done) {
    match rng.random_range(0..100) {
        0..50 => search(table, &table.view(), rng, done),
        50..58 => find_itself(table, rng, done),
        58..72 => {
            let view = table.view();
            // Around the number of rows it goes up and down at random.
            if rng.random_range(0..2 * LIVE) >= view.live.count() {
                let count = rng.random_range(1..60);
                if rng.random_range(0..10) == 0 {
                    table.append(count);
                } else {
                    table.insert(count);
                }
                add(&done.inserted, count);
            } else {
                add(&done.removed, table.remove(rng.random_range(1..60), rng));
            }
        }
        72..86 => add(&done.linked, table.index.link(rng.random_range(1..100))),
        _ => add(&done.vacuumed, table.index.vacuum(rng.random_range(1..2_000))),
    }
}

/// One search of some kind, with its answer checked in every respect.
fn search(table: &Table, view: &View, rng: &mut SmallRng, done: &Done) {
    let share = [1.0, 1.0, 0.97, 0.5, 0.15, 0.02, 0.001][rng.random_range(0..7)];
    let mut allow = view.live.clone();
    if share < 1.0 {
        allow.and_with(&(0..allow.len()).filter(|_| rng.random_bool(share)).collect());
    }
    let params = SearchParams {
        k: [1, 10, 50][rng.random_range(0..3)],
        ef: [0, 0, 20, 200][rng.random_range(0..4)],
        mode: [Mode::Auto, Mode::Auto, Mode::FullPrecision, Mode::Exact][rng.random_range(0..4)],
    };
    let query = table.row(rng.random());
    let (found, stats) = table.index.search(&query, &params, &allow, &|| false).unwrap();
    add(&done.searches, 1);
    assert_eq!(found.len(), params.k.min(allow.count()), "{params:?} {stats:?}");
    check(&found, &allow);

    let (element, metric) = (table.index.params().element, table.index.params().metric);
    let query: Vec<f64> = query.iter().map(|&x| f64::from(x)).collect();
    let to = |slot: u32| distance(metric, &query, &rounded(&table.row(view.held(slot)), element));
    for found in &found {
        let truth = to(found.slot);
        assert!(
            (f64::from(found.distance) - truth).abs() < 1e-4 * (1.0 + truth.abs()),
            "{found:?} {truth} {params:?} {stats:?}"
        );
    }
    if params.mode == Mode::Exact && rng.random_range(0..8) == 0 {
        let mut all: Vec<(f64, u32)> = allow.iter().map(|slot| (to(slot as u32), slot as u32)).collect();
        all.sort_by(|a, b| a.partial_cmp(b).unwrap());
        all.truncate(params.k);
        assert_exact(&found, &all);
    }
}

/// Whether a row that is visible now is found by its own vector.
fn find_itself(table: &Table, rng: &mut SmallRng, done: &Done) {
    let view = table.view();
    let start = rng.random_range(0..view.live.len());
    let Some(slot) = view.live.iter_from(start).next() else {
        return;
    };
    let mut stored = Vec::new();
    table.index.vector(slot as u32, &mut stored);
    let row = table.row(view.held(slot as u32));
    assert_eq!(stored, bytes(&[row], table.index.params().element));
    add(&done.asked, 1);
    add(&done.found, finds(table, &view, slot as u32).0.into());
}

/// Whether a row is found by its own vector, and the way it was looked for.
fn finds(table: &Table, view: &View, slot: u32) -> (bool, Way) {
    // On the vectors: how much codes tell apart is not what is asked here.
    let params = SearchParams {
        k: 1,
        ef: 32,
        mode: Mode::FullPrecision,
    };
    let query = table.row(view.held(slot));
    let (found, stats) = table
        .index
        .search(&query, &params, &view.live, &|| false)
        .unwrap();
    check(&found, &view.live);
    (found[0].slot == slot, stats.way)
}

/// When all is quiet: everything gets done, nothing is lost, and slots that were removed come back.
fn settle(table: &Table, done: &Done) {
    table.release();
    let index = &table.index;
    let view = table.view();
    let live = view.live.count();
    let deadline = Instant::now() + SETTLE_MAX;
    loop {
        while index.link(1_000) + index.vacuum(10_000) > 0 {}
        let slots = index.len() as usize;
        let removed = slots - live - index.free();
        if index.linked() == index.len() && removed * 32 < slots {
            break;
        }
        // Searches of other tests hold passes up, for as long as their threads wait for a processor.
        assert!(
            Instant::now() < deadline,
            "{removed} slots of {slots} were removed and are not free"
        );
        std::thread::yield_now();
    }
    let found = |slot: &usize| {
        let (found, way) = finds(table, &view, *slot as u32);
        assert_ne!(way, Way::Scan, "{live} rows are too few to walk");
        found
    };
    let reachable = view.live.iter().filter(found).count();
    add(&done.live, live);
    add(&done.reachable, reachable);
    assert!(
        reachable * 1_000 >= live * 999,
        "{} of {live} rows do not find themselves",
        live - reachable
    );
}
