//! Distance kernels, hot in cache: nanoseconds for one pair, per element type, metric and dimension.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use longbow_kernels::{Pair, Paired, Simd, bf16, f16, pair};
use rand::{Rng, SeedableRng, rngs::SmallRng};

const DIMENSIONS: [usize; 5] = [96, 384, 768, 1536, 3072];

fn of_type<T: Paired + Copy>(c: &mut Criterion, name: &str, make: impl Fn(f64) -> T) {
    let mut rng = SmallRng::seed_from_u64(1);
    let Pair { l2, dot, cosine } = pair::<T>();
    for (metric, kernel) in [("l2", l2), ("dot", dot), ("cosine", cosine)] {
        let mut group = c.benchmark_group(format!("{name}/{metric}/{}", Simd::active().as_str()));
        for dimension in DIMENSIONS {
            let mut vector = || -> Vec<T> {
                (0..dimension)
                    .map(|_| make(rng.random_range(-1.0..1.0)))
                    .collect()
            };
            let (a, b) = (vector(), vector());
            group.throughput(Throughput::Elements(dimension as u64));
            group.bench_function(BenchmarkId::from_parameter(dimension), |bencher| {
                bencher.iter(|| kernel(black_box(&a), black_box(&b)));
            });
        }
        group.finish();
    }
}

fn kernels(c: &mut Criterion) {
    of_type(c, "f32", |x| x as f32);
    of_type(c, "f16", f16::from_f64);
    of_type(c, "bf16", bf16::from_f64);
    of_type(c, "f64", |x| x);
    of_type(c, "i8", |x| (x * 127.0) as i8);
    of_type(c, "u8", |x| ((x + 1.0) * 127.0) as u8);
    of_type(c, "i16", |x| (x * 32767.0) as i16);
    of_type(c, "i32", |x| (x * 2e9) as i32);
    of_type(c, "i64", |x| (x * 9e18) as i64);
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20)
        .warm_up_time(std::time::Duration::from_millis(100))
        .measurement_time(std::time::Duration::from_millis(300));
    targets = kernels
}
criterion_main!(benches);
