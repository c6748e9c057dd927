//! The vector index on generated clustered vectors: linking, traversal and exact scan.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use longbow_index::{Bitset, Element, Metric, Mode, Params, SearchParams, VectorIndex};
use rand::{Rng, SeedableRng, rngs::SmallRng};

const ROWS: usize = 20_000;
const DIMENSION: usize = 96;

fn vectors(rows: usize, seed: u64) -> Vec<Vec<f32>> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut point = || -> Vec<f32> { (0..DIMENSION).map(|_| rng.random_range(-1.0..1.0)).collect() };
    let centres: Vec<Vec<f32>> = (0..200).map(|_| point()).collect();
    let near = |(row, offset): (usize, Vec<f32>)| {
        offset
            .iter()
            .zip(&centres[row * 7919 % 200])
            .map(|(x, c)| 0.6 * x + c)
            .collect()
    };
    (0..rows).map(|row| (row, point())).map(near).collect()
}

fn index(c: &mut Criterion) {
    let rows = vectors(ROWS, 1);
    let bytes: Vec<u8> = rows.iter().flatten().flat_map(|x| x.to_ne_bytes()).collect();
    let params = Params::new(Element::F32, Metric::Cosine, DIMENSION);
    let mut group = c.benchmark_group("index");
    group.sample_size(10);
    group.throughput(Throughput::Elements(2_000));
    group.bench_function("link 2,000 rows", |bencher| {
        bencher.iter(|| {
            let index = VectorIndex::new(params);
            index.append(&bytes[..2_000 * DIMENSION * 4]).expect("whole rows");
            while index.link(100) > 0 {}
            index.linked()
        });
    });
    let index = VectorIndex::new(params);
    index.append(&bytes).expect("whole rows");
    while index.link(1_000) > 0 {}
    let queries = vectors(100, 2);
    let all = Bitset::full(ROWS);
    group.throughput(Throughput::Elements(queries.len() as u64));
    for (name, ef, mode) in [
        ("ef 32", 32, Mode::Auto),
        ("ef 128", 128, Mode::Auto),
        ("exact", 0, Mode::Exact),
    ] {
        group.bench_function(BenchmarkId::new("search", name), |bencher| {
            let mut out = Vec::new();
            bencher.iter(|| {
                for query in &queries {
                    let params = SearchParams { k: 10, ef, mode };
                    index
                        .search_into(query, &params, &all, &|| false, &mut out)
                        .expect("not cancelled");
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, index);
criterion_main!(benches);
