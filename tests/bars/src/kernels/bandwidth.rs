//! How near the index's exact search comes to what the memory gives.

use std::{
    hint::black_box,
    io::Write,
    ops::Range,
    sync::Barrier,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use longbow_index::{
    Bitset, Element, ImageMemory, Metric, Mode, Neighbor, Params, SearchParams, VectorIndex,
};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use serde_json::json;

use super::median;

/// The data set of the bar.
const ROWS: usize = 116_659;
const DIMENSION: usize = 384;
const K: usize = 10;
/// Rows appended at once.
const APPEND_ROWS: usize = 1024;
/// What is read before every measurement, to drive the rows out of the caches.
const FILLER_BYTES: usize = 1 << 30;
const ROUNDS: usize = 9;

/// Bytes a second of the index's exact search over f32 rows by the bytes a second that the same number of threads can
/// read, at best, in alternating rounds: of the very same rows, because what memory gives depends on where it lies.
pub fn flat_scan(threads: usize, samples: &mut dyn Write) -> Result<f64> {
    let mut filler = ImageMemory::zeroed(FILLER_BYTES)?;
    // Written, so that every page is there.
    for number in filler.as_mut().as_chunks_mut::<4>().0 {
        *number = 1.0f32.to_ne_bytes();
    }
    let mut rng = SmallRng::seed_from_u64(1);
    let memory = image(&mut rng)?;
    let rows = rows(&memory)?;
    let index = VectorIndex::from_image(memory)?;
    // SAFETY: the index keeps the memory where it is as long as it lives, and writes no rows that it has.
    let rows = unsafe { std::slice::from_raw_parts(rows, ROWS * DIMENSION) };
    let query: Vec<f32> = random(&mut rng, DIMENSION).collect();
    let everything = Bitset::full(ROWS);
    let mut scans = Vec::new();
    let mut reads: [Vec<f64>; 2] = Default::default();
    let bytes = (ROWS * DIMENSION * 4) as f64;
    for _ in 0..ROUNDS {
        for (kind, reads) in reads.iter_mut().enumerate() {
            black_box(sum(numbers(filler.as_ref())));
            let seconds = spread(threads, rows.len(), |part| {
                let part = &rows[part];
                black_box(if kind == 0 {
                    sum(part)
                } else {
                    sum_of_streams(part)
                });
            });
            reads.push(bytes / seconds.as_secs_f64());
        }
        black_box(sum(numbers(filler.as_ref())));
        let seconds = spread(threads, ROWS, |part| {
            black_box(exact(&index, &query, part, &everything));
        });
        scans.push(bytes / seconds.as_secs_f64());
    }
    let line = json!({"bandwidth": threads, "read": reads[0], "read_in_streams": reads[1], "scan": scans});
    writeln!(samples, "{line}")?;
    let best = reads.into_iter().map(median).fold(0.0, f64::max);
    let scan = median(scans);
    eprintln!(
        "  {threads} threads: exact search {:.1} GB/s, memory {:.1} GB/s",
        scan / 1e9,
        best / 1e9
    );
    Ok(scan / best)
}

/// Any bytes are numbers.
fn numbers(bytes: &[u8]) -> &[f32] {
    // SAFETY: they are.
    unsafe { bytes.align_to().1 }
}

/// Where the rows begin in an image of [`image`].
fn rows(memory: &ImageMemory) -> Result<*const f32> {
    let first: Vec<u8> = random(&mut SmallRng::seed_from_u64(1), DIMENSION)
        .flat_map(f32::to_ne_bytes)
        .collect();
    let bytes = memory.as_ref();
    let at = bytes
        .windows(first.len())
        .step_by(size_of::<f32>())
        .position(|window| window == first)
        .context("the image has no such row")?;
    Ok(numbers(bytes)[at..][..ROWS * DIMENSION].as_ptr())
}

/// The image of an index of random rows, in the kind of memory that rows lie in, huge pages included.
fn image(rng: &mut SmallRng) -> Result<ImageMemory> {
    let mut bytes = Vec::new();
    index(rng)?.write_image(u32::MAX, &mut bytes)?;
    let mut memory = ImageMemory::zeroed(bytes.len())?;
    memory.as_mut().copy_from_slice(&bytes);
    Ok(memory)
}

fn random(rng: &mut SmallRng, count: usize) -> impl Iterator<Item = f32> {
    (0..count).map(|_| rng.random_range(-1.0f32..1.0))
}

/// An index of random rows; none is linked, which an exact search does not need.
fn index(rng: &mut SmallRng) -> Result<VectorIndex> {
    let index = VectorIndex::new(Params::new(Element::F32, Metric::Cosine, DIMENSION));
    for start in (0..ROWS).step_by(APPEND_ROWS) {
        let count = APPEND_ROWS.min(ROWS - start) * DIMENSION;
        let bytes: Vec<u8> = random(rng, count).flat_map(f32::to_ne_bytes).collect();
        index.append(&bytes)?;
    }
    Ok(index)
}

/// What a thread does: the whole exact search if it is alone, else its share of one.
fn exact(index: &VectorIndex, query: &[f32], part: Range<usize>, everything: &Bitset) -> Vec<Neighbor> {
    let mut found = Vec::new();
    let params = SearchParams {
        k: K,
        ef: 0,
        mode: Mode::Exact,
    };
    let answered = if part.len() == ROWS {
        index.search_into(query, &params, everything, &|| false, &mut found)
    } else {
        let part = part.start as u32..part.end as u32;
        index.scan(query, K, part, everything, &|| false, &mut found)
    };
    answered.expect("nobody cancels it");
    found
}

/// Runs `work` over equal parts of `0..len` on `threads` threads that start together; the time of the slowest.
fn spread(threads: usize, len: usize, work: impl Fn(Range<usize>) + Sync) -> Duration {
    let barrier = Barrier::new(threads);
    let part = len / threads;
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..threads)
            .map(|thread| {
                let (barrier, work) = (&barrier, &work);
                scope.spawn(move || {
                    barrier.wait();
                    let started = Instant::now();
                    work(thread * part..(thread + 1) * part);
                    started.elapsed()
                })
            })
            .collect();
        let times = runs.into_iter().map(|run| run.join().unwrap_or(Duration::MAX));
        times.max().unwrap_or(Duration::MAX)
    })
}

/// Adds numbers up as fast as they can be read, one stream.
fn sum(numbers: &[f32]) -> f32 {
    let simd = longbow_kernels::Simd::active();
    #[cfg(target_arch = "x86_64")]
    match simd {
        // SAFETY: only a supported instruction set is active.
        longbow_kernels::Simd::Avx512 => return unsafe { sum_avx512(numbers) },
        // SAFETY: as above.
        longbow_kernels::Simd::Avx2 => return unsafe { sum_avx2(numbers) },
        _ => {}
    }
    let _ = simd;
    lanes(numbers)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn sum_avx512(numbers: &[f32]) -> f32 {
    lanes(numbers)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn sum_avx2(numbers: &[f32]) -> f32 {
    lanes(numbers)
}

/// Shaped so that the compiler uses four to eight registers of any width.
#[inline(always)]
fn lanes(numbers: &[f32]) -> f32 {
    const LANES: usize = 64;
    let mut sums = [0.0f32; LANES];
    for lane in numbers.as_chunks::<LANES>().0 {
        for (sum, x) in sums.iter_mut().zip(lane) {
            *sum += x;
        }
    }
    sums.iter().sum()
}

/// As [`sum`], in four streams of 4 KiB that interleave, which some machines prefetch better.
fn sum_of_streams(numbers: &[f32]) -> f32 {
    const PAGE: usize = 1024;
    let quarter = numbers.len() / 4 / PAGE * PAGE;
    let mut total = 0.0;
    for at in (0..quarter).step_by(PAGE) {
        for stream in 0..4 {
            total += sum(&numbers[stream * quarter + at..][..PAGE]);
        }
    }
    total + sum(&numbers[4 * quarter..])
}
