//! Building an index and timing searches on it.

use std::time::{Duration, Instant};

use anyhow::Result;
use half::f16;
use longbow_index::{
    Answer, Bitset, Element, Mode, Neighbor, Params, Quantization, SearchParams, VectorIndex,
};

use super::{answers::Truth, dataset::Dataset};

/// Rows handed to the index at once.
const APPEND_ROWS: usize = 1024;
/// Slots a builder thread takes at once.
const LINK_SLOTS: usize = 64;
/// Times that a batch is asked.
const PASSES: usize = 3;

/// A built index and what building took.
pub(super) struct Built {
    pub(super) index: VectorIndex,
    pub(super) seconds: f64,
    pub(super) rss_mb: f64,
}

/// What searching took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timing {
    pub(super) recall: f64,
    pub(super) qps: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
    /// Mean distances computed for a query.
    pub(super) distances: f64,
    /// Median of the same.
    pub(super) distances_p50: u64,
    /// 99th percentile of the same.
    pub(super) distances_p99: u64,
    pub(super) hops: f64,
}

/// Appends and links every row of the data set.
pub(super) fn build(
    dataset: &Dataset,
    params: Params,
    quantization: Quantization,
    threads: usize,
) -> Result<Built> {
    let before = resident_mb();
    let start = Instant::now();
    let index = VectorIndex::try_new(params, quantization)?;
    let mut bytes = Vec::new();
    for rows in dataset.base.chunks(APPEND_ROWS * dataset.dimension) {
        bytes.clear();
        element_bytes(rows, params.element, &mut bytes);
        index.append(&bytes)?;
    }
    link(&index, threads);
    let seconds = start.elapsed().as_secs_f64();
    Ok(Built {
        index,
        seconds,
        rss_mb: resident_mb() - before,
    })
}

/// Links all that is not linked yet on so many threads.
pub(super) fn link(index: &VectorIndex, threads: usize) {
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| while index.link(LINK_SLOTS) > 0 {});
        }
    });
}

/// Appends rows as the index takes them.
pub(super) fn element_bytes(rows: &[f32], element: Element, out: &mut Vec<u8>) {
    match element {
        Element::F16 => out.extend(rows.iter().flat_map(|&x| f16::from_f32(x).to_ne_bytes())),
        _ => out.extend(rows.iter().flat_map(|x| x.to_ne_bytes())),
    }
}

/// Resident memory of this process.
fn resident_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().split(' ').next()?.parse::<f64>().ok());
    kilobytes.unwrap_or(f64::NAN) / 1024.0
}

/// Asks every query on this thread, over and over for `at_least`.
pub(super) fn search(
    index: &VectorIndex,
    dataset: &Dataset,
    allow: &Bitset,
    truth: &Truth,
    (k, ef, mode): (usize, usize, Mode),
    at_least: Duration,
) -> Result<Timing> {
    let params = SearchParams { k, ef, mode };
    let mut found: Vec<Neighbor> = Vec::new();
    let (mut hits, mut wanted) = (0, 0);
    let (mut distances, mut hops) = (Vec::new(), 0);
    for (number, query) in dataset.queries.iter().enumerate() {
        let stats = index.search_into(query, &params, allow, &|| false, &mut found)?;
        let expected = truth.of(number, k);
        hits += found
            .iter()
            .filter(|neighbor| expected.contains(&neighbor.slot))
            .count();
        wanted += expected.len();
        distances.push(stats.distances);
        hops += stats.hops;
    }
    let mut latencies: Vec<Duration> = Vec::new();
    let start = Instant::now();
    let elapsed = loop {
        for query in &dataset.queries {
            let asked = Instant::now();
            index.search_into(query, &params, allow, &|| false, &mut found)?;
            latencies.push(asked.elapsed());
        }
        let elapsed = start.elapsed();
        if elapsed >= at_least {
            break elapsed;
        }
    };
    let qps = latencies.len() as f64 / elapsed.as_secs_f64();
    latencies.sort_unstable();
    distances.sort_unstable();
    let micros = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6;
    let queries = distances.len() as f64;
    Ok(Timing {
        recall: hits as f64 / wanted.max(1) as f64,
        qps,
        p50_us: micros(0.5),
        p99_us: micros(0.99),
        distances: distances.iter().sum::<u64>() as f64 / queries,
        distances_p50: distances[((queries - 1.0) * 0.5) as usize],
        distances_p99: distances[((queries - 1.0) * 0.99) as usize],
        hops: hops as f64 / queries,
    })
}

/// Queries a second with the queries split among threads, and each thread's handed to the index together: the median of
/// some passes.
pub(super) fn batch(
    index: &VectorIndex,
    dataset: &Dataset,
    allow: &Bitset,
    (k, ef, mode): (usize, usize, Mode),
    threads: usize,
) -> Result<f64> {
    let params = SearchParams { k, ef, mode };
    let part = dataset.queries.len().div_ceil(threads.max(1)).max(1);
    let ask = |queries: &[Vec<f32>]| {
        let queries: Vec<&[f32]> = queries.iter().map(Vec::as_slice).collect();
        let mut answers: Vec<Answer> = Vec::new();
        index.search_batch(&queries, &params, allow, &|| false, &mut answers)
    };
    let mut times = Vec::with_capacity(PASSES);
    for _ in 0..PASSES {
        let start = Instant::now();
        std::thread::scope(|scope| {
            let parts = dataset.queries.chunks(part);
            let threads: Vec<_> = parts.map(|queries| scope.spawn(move || ask(queries))).collect();
            threads.into_iter().try_for_each(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
        })?;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    Ok(dataset.queries.len() as f64 / times[PASSES / 2].as_secs_f64())
}
