//! How near a flat scan comes to what the memory gives.

use std::{
    hint::black_box,
    io::Write,
    sync::Barrier,
    time::{Duration, Instant},
};

use anyhow::Result;
use longbow_kernels::{ROW_ALIGN, Rows, rows};
use serde_json::json;

use super::median;

/// The data set of the bar.
const ROWS: usize = 116_659;
const DIMENSION: usize = 384;
/// Rows whose distances are asked for in one call.
const CALL: usize = 256;
/// What the probe reads: far more than the scan, whose rows it drives out of the caches in between.
const PROBE_BYTES: usize = 1 << 30;
const ROUNDS: usize = 9;

/// Bytes a second of a flat scan of f32 rows by the bytes a second that the same number of threads can read, at best, in
/// alternating rounds.
pub fn flat_scan(threads: usize, samples: &mut dyn Write) -> Result<f64> {
    // Written, so that every page is there.
    let probe = vec![1.0f32; PROBE_BYTES / 4];
    let storage = vec![0.5f32; ROWS * DIMENSION + ROW_ALIGN / 4];
    let start = storage.as_ptr().align_offset(ROW_ALIGN);
    let table = &storage[start..][..ROWS * DIMENSION];
    let query = vec![0.25f32; DIMENSION];
    let mut scans = Vec::new();
    let mut reads: [Vec<f64>; 2] = Default::default();
    for _ in 0..ROUNDS {
        for (kind, reads) in reads.iter_mut().enumerate() {
            let seconds = spread(threads, probe.len(), |part| {
                let part = &probe[part];
                black_box(if kind == 0 {
                    sum(part)
                } else {
                    sum_of_streams(part)
                });
            });
            reads.push(PROBE_BYTES as f64 / seconds.as_secs_f64());
        }
        let seconds = spread(threads, ROWS, |part| {
            scan(&query, &table[part.start * DIMENSION..part.end * DIMENSION])
        });
        scans.push((ROWS * DIMENSION * 4) as f64 / seconds.as_secs_f64());
    }
    let line = json!({"bandwidth": threads, "read": reads[0], "read_in_streams": reads[1], "scan": scans});
    writeln!(samples, "{line}")?;
    let best = reads.into_iter().map(median).fold(0.0, f64::max);
    let scan = median(scans);
    eprintln!(
        "{threads} threads: scan {:.1} GB/s, memory {:.1} GB/s",
        scan / 1e9,
        best / 1e9
    );
    Ok(scan / best)
}

/// Runs `work` over equal parts of `0..len` on `threads` threads that start together; the time of the slowest.
fn spread(threads: usize, len: usize, work: impl Fn(std::ops::Range<usize>) + Sync) -> Duration {
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

/// What a flat index does: distances of all rows, in order.
fn scan(query: &[f32], table: &[f32]) {
    let Rows { l2, .. } = rows::<f32>();
    let mut out = [0.0; CALL];
    for rows in table.chunks(CALL * DIMENSION) {
        let count = rows.len() / DIMENSION;
        let mut addresses = [std::ptr::null(); CALL];
        for (address, row) in addresses.iter_mut().zip(rows.chunks_exact(DIMENSION)) {
            *address = row.as_ptr();
        }
        // SAFETY: 384 elements are a multiple of a cache line's worth; rows are as long as the query and, the table
        // being so, aligned to cache lines.
        unsafe { l2(query, &addresses[..count], &mut out[..count]) };
        black_box(&out);
    }
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
