//! Kernels, hot in cache, with the instruction set in use: nanoseconds for one pair of every element type, metric and
//! dimension; for one query against a block of rows or codes; and for bitsets.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use longbow_kernels::{
    Bits, Bitset, Codes, Complex, Complex64, Complex128, Pair, Paired, ROW_ALIGN, Rows, Simd, Stored, bf16,
    bits, codes, f16, hermitian, pair, rows,
};
use rand::{Rng, SeedableRng, rngs::SmallRng};

const DIMENSIONS: [usize; 5] = [96, 384, 768, 1536, 3072];
/// Rows of one call: two groups and a rest.
const ROWS: usize = 11;

fn rng() -> SmallRng {
    SmallRng::seed_from_u64(1)
}

fn group_name(name: &str) -> String {
    format!("{name}/{}", Simd::active().as_str())
}

fn vector<T>(len: usize, rng: &mut SmallRng, make: impl Fn(f64) -> T) -> Vec<T> {
    (0..len).map(|_| make(rng.random_range(-1.0..1.0))).collect()
}

fn pairs_of<T: Paired + Copy>(c: &mut Criterion, name: &str, make: impl Fn(f64) -> T + Copy) {
    let mut rng = rng();
    let Pair { l2, dot, cosine } = pair::<T>();
    for (metric, kernel) in [("l2", l2), ("dot", dot), ("cosine", cosine)] {
        let mut group = c.benchmark_group(group_name(&format!("{name}/{metric}")));
        for dimension in DIMENSIONS {
            let (a, b) = (
                vector(dimension, &mut rng, make),
                vector(dimension, &mut rng, make),
            );
            group.throughput(Throughput::Elements(dimension as u64));
            group.bench_function(BenchmarkId::from_parameter(dimension), |bencher| {
                bencher.iter(|| kernel(black_box(&a), black_box(&b)));
            });
        }
        group.finish();
    }
}

fn pairs(c: &mut Criterion) {
    pairs_of(c, "f32", |x| x as f32);
    pairs_of(c, "f16", f16::from_f64);
    pairs_of(c, "bf16", bf16::from_f64);
    pairs_of(c, "f64", |x| x);
    pairs_of(c, "i8", |x| (x * 127.0) as i8);
    pairs_of(c, "u8", |x| ((x + 1.0) * 127.0) as u8);
    pairs_of(c, "i16", |x| (x * 32767.0) as i16);
    pairs_of(c, "u16", |x| ((x + 1.0) * 32767.0) as u16);
    pairs_of(c, "i32", |x| (x * 2e9) as i32);
    pairs_of(c, "u32", |x| ((x + 1.0) * 2e9) as u32);
    pairs_of(c, "i64", |x| (x * 9e18) as i64);
    pairs_of(c, "u64", |x| ((x + 1.0) * 9e18) as u64);
    let complex64 = |x: f64| Complex64 {
        re: x as f32,
        im: -x as f32,
    };
    let complex128 = |x: f64| Complex128 { re: x, im: -x };
    pairs_of(c, "complex64", complex64);
    pairs_of(c, "complex128", complex128);
    let mut group = c.benchmark_group(group_name("complex64/hermitian"));
    for dimension in DIMENSIONS {
        let (a, b): (Vec<Complex<f32>>, _) = (
            vector(dimension, &mut rng(), complex64),
            vector(dimension, &mut rng(), complex64),
        );
        group.bench_function(BenchmarkId::from_parameter(dimension), |bencher| {
            bencher.iter(|| hermitian(black_box(&a), black_box(&b)));
        });
    }
    group.finish();
}

/// One query against [`ROWS`] rows that start on cache lines.
fn rows_of<T: Stored>(c: &mut Criterion, name: &str, make: impl Fn(f64) -> T) {
    let mut rng = rng();
    let Rows { l2, dot, .. } = rows::<T>();
    for (metric, kernel) in [("l2", l2), ("dot", dot)] {
        let mut group = c.benchmark_group(group_name(&format!("rows/{name}/{metric}")));
        for dimension in DIMENSIONS {
            let padded = dimension.next_multiple_of(T::LANE);
            let storage = vector(ROWS * padded + T::LANE, &mut rng, &make);
            let start = storage.as_ptr().align_offset(ROW_ALIGN);
            let addresses: Vec<*const T> = storage[start..]
                .chunks_exact(padded)
                .take(ROWS)
                .map(<[T]>::as_ptr)
                .collect();
            let query = vector(padded, &mut rng, |x| T::query_from_f32(x as f32));
            let mut out = [0.0; ROWS];
            group.throughput(Throughput::Elements((ROWS * dimension) as u64));
            group.bench_function(BenchmarkId::from_parameter(dimension), |bencher| {
                // SAFETY: query and rows are padded to whole lanes and aligned; there is an answer for each row.
                bencher.iter(|| unsafe {
                    kernel(black_box(&query), black_box(&addresses), black_box(&mut out))
                });
            });
        }
        group.finish();
    }
}

fn many_rows(c: &mut Criterion) {
    rows_of(c, "f32", |x| x as f32);
    rows_of(c, "f16", f16::from_f64);
    rows_of(c, "bf16", bf16::from_f64);
    rows_of(c, "f64", |x| x);
    rows_of(c, "i8", |x| (x * 127.0) as i8);
    rows_of(c, "u8", |x| ((x + 1.0) * 127.0) as u8);
    rows_of(c, "i16", |x| (x * 32767.0) as i16);
    rows_of(c, "u16", |x| ((x + 1.0) * 32767.0) as u16);
    rows_of(c, "i32", |x| (x * 2e9) as i32);
    rows_of(c, "u32", |x| ((x + 1.0) * 2e9) as u32);
}

/// Codes of 8, 4 and 1 bits against [`ROWS`] rows.
fn many_codes(c: &mut Criterion) {
    let Codes { bytes, nibbles } = codes();
    let Bits { one, four, eight } = bits();
    let mut rng = rng();
    for dimension in DIMENSIONS {
        let padded = dimension.next_multiple_of(128);
        let query: Vec<i8> = (0..padded).map(|_| rng.random_range(-127..=127)).collect();
        let rows: Vec<Vec<u64>> = (0..ROWS)
            .map(|_| (0..padded / 8).map(|_| rng.random()).collect())
            .collect();
        let words: Vec<*const u64> = rows.iter().map(|row| row.as_ptr()).collect();
        let addresses: Vec<*const u8> = words.iter().map(|row| row.cast()).collect();
        let planes: Vec<u64> = (0..8 * padded / 64).map(|_| rng.random()).collect();
        let mut group = c.benchmark_group(group_name("codes"));
        group.throughput(Throughput::Elements((ROWS * dimension) as u64));
        let mut out = [0i32; ROWS];
        for (name, kernel) in [("8-bit", bytes), ("4-bit", nibbles)] {
            group.bench_function(BenchmarkId::new(name, dimension), |bencher| {
                // SAFETY: the query is padded for both; rows have a byte for each of its elements.
                bencher.iter(|| unsafe {
                    kernel(black_box(&query), black_box(&addresses), black_box(&mut out))
                });
            });
        }
        let mut out = [0u32; ROWS];
        for (count, kernel) in [(1, one), (4, four), (8, eight)] {
            let planes = &planes[..count * dimension.div_ceil(64)];
            group.bench_function(
                BenchmarkId::new(format!("1-bit-{count}-planes"), dimension),
                |bencher| {
                    // SAFETY: rows have as many words as a plane, and more.
                    bencher.iter(|| unsafe {
                        kernel(black_box(planes), black_box(&words), black_box(&mut out))
                    });
                },
            );
        }
        group.finish();
    }
}

fn bitsets(c: &mut Criterion) {
    const LEN: usize = 1 << 17;
    let mut rng = rng();
    let mut random = |one_in: u32| -> Bitset {
        (0..LEN)
            .filter(|_| rng.random_ratio(1, one_in))
            .chain([LEN - 1])
            .collect()
    };
    let (mut a, b) = (random(2), random(10));
    let mut group = c.benchmark_group(group_name("bitset"));
    group.throughput(Throughput::Elements(LEN as u64));
    group.bench_function("and", |bencher| {
        bencher.iter(|| black_box(&mut a).and_with(black_box(&b)))
    });
    group.bench_function("or", |bencher| {
        bencher.iter(|| black_box(&mut a).or_with(black_box(&b)))
    });
    group.bench_function("andnot", |bencher| {
        bencher.iter(|| black_box(&mut a).andnot_with(black_box(&b)));
    });
    group.bench_function("not", |bencher| bencher.iter(|| black_box(&mut a).not()));
    group.bench_function("count", |bencher| {
        bencher.iter(|| black_box(&b).count_from(black_box(0)))
    });
    group.bench_function("iterate", |bencher| {
        bencher.iter(|| black_box(&b).iter().sum::<usize>())
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20)
        .warm_up_time(std::time::Duration::from_millis(100))
        .measurement_time(std::time::Duration::from_millis(300));
    targets = pairs, many_rows, many_codes, bitsets
}
criterion_main!(benches);
