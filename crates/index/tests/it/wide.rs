//! Exact answers where 32-bit floats do not reach: elements they do not hold, distances that leave their range, vectors
//! with lengths of every size. The oracle computes in 64 bits, or in integers.

use longbow_index::{
    Bitset, Element, Metric, Mode, Neighbor, Params, Quantization, QueryVector, RangeParams, SearchParams,
    VectorIndex,
};
use rand::{Rng, SeedableRng, rngs::SmallRng};

use crate::support::distance;

const ROWS: usize = 300;
const DIMENSION: usize = 8;
const K: usize = 5;
/// Rows that are asked for.
const ASKED: usize = 30;
const METRICS: [Metric; 3] = [Metric::L2, Metric::Cosine, Metric::Dot];

/// Rows of numbers between -1 and 1.
fn unit_rows(seed: u64) -> Vec<Vec<f64>> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut row = || {
        (0..DIMENSION)
            .map(|_| f64::from(rng.random_range(-1.0f32..1.0)))
            .collect()
    };
    (0..ROWS).map(|_| row()).collect()
}

fn scaled(rows: &[Vec<f64>], change: impl Fn(f64) -> f64) -> Vec<Vec<f64>> {
    rows.iter()
        .map(|row| row.iter().map(|&x| change(x)).collect())
        .collect()
}

fn bytes(rows: &[Vec<f64>], element: Element) -> Vec<u8> {
    let values = rows.iter().flatten();
    match element {
        Element::F32 => values.flat_map(|&x| (x as f32).to_ne_bytes()).collect(),
        Element::I32 => values.flat_map(|&x| (x as i32).to_ne_bytes()).collect(),
        Element::U32 => values.flat_map(|&x| (x as u32).to_ne_bytes()).collect(),
        Element::I64 => values.flat_map(|&x| (x as i64).to_ne_bytes()).collect(),
        Element::U64 => values.flat_map(|&x| (x as u64).to_ne_bytes()).collect(),
        _ => values.flat_map(|x| x.to_ne_bytes()).collect(),
    }
}

fn index(element: Element, metric: Metric, codes: Quantization, rows: &[u8]) -> VectorIndex {
    let index = VectorIndex::with_quantization(Params::new(element, metric, DIMENSION), codes);
    index.append(rows).unwrap();
    while index.link(64) > 0 {}
    index
}

fn search<'q>(index: &VectorIndex, query: impl Into<QueryVector<'q>>, mode: Mode) -> Vec<Neighbor> {
    let params = SearchParams { k: K, ef: 40, mode };
    let all = Bitset::full(ROWS);
    index.search(query, &params, &all, &|| false).unwrap().0
}

/// Slots by distance.
fn nearest(rows: &[Vec<f64>], of: impl Fn(&[f64]) -> f64) -> Vec<u32> {
    let mut all: Vec<(f64, u32)> = rows.iter().zip(0..).map(|(row, slot)| (of(row), slot)).collect();
    all.sort_by(|a, b| a.partial_cmp(b).unwrap());
    all.into_iter().map(|of| of.1).take(K).collect()
}

fn slots(found: &[Neighbor]) -> Vec<u32> {
    found.iter().map(|neighbor| neighbor.slot).collect()
}

#[test]
fn rows_far_from_zero_are_found_by_what_they_differ_in() {
    let unit = unit_rows(1);
    for (by, offset, elements) in [
        (1000.0, 1.7e12, &[Element::F64, Element::I64, Element::U64][..]),
        (
            100.0,
            1e9,
            &[Element::F64, Element::I32, Element::U32, Element::I64],
        ),
    ] {
        let rows = scaled(&unit, |x| (x * by + offset).round());
        for &element in elements {
            let index = index(element, Metric::L2, Quantization::None, &bytes(&rows, element));
            let mut batch = Vec::new();
            let params = SearchParams {
                k: K,
                ef: 0,
                mode: Mode::Exact,
            };
            let queries: Vec<&[f64]> = rows[..ASKED].iter().map(Vec::as_slice).collect();
            index
                .search_batch(&queries, &params, &Bitset::full(ROWS), &|| false, &mut batch)
                .unwrap();
            for (query, answer) in queries.iter().zip(&batch) {
                let truth = nearest(&rows, |row| distance(Metric::L2, query, row));
                assert_eq!(slots(&answer.neighbors), truth, "{element:?} {offset:e}");
                for mode in [Mode::Exact, Mode::FullPrecision] {
                    assert_eq!(
                        slots(&search(&index, *query, mode)),
                        truth,
                        "{element:?} {offset:e} {mode:?}"
                    );
                }
                let within = distance(Metric::L2, query, &rows[truth[K - 1] as usize]) as f32;
                let params = RangeParams {
                    radius: within,
                    limit: ROWS,
                    ef: 0,
                    mode: Mode::Exact,
                };
                let mut found = Vec::new();
                let all = Bitset::full(ROWS);
                index
                    .search_range(*query, &params, &all, &|| false, &mut found)
                    .unwrap();
                assert!(slots(&found).starts_with(&truth[..K - 1]));
            }
        }
    }
}

#[test]
fn directions_next_to_each_other_are_told_apart() {
    let rows = scaled(&unit_rows(2), |x| (x * 1000.0 + 1.7e12).round());
    let index = index(
        Element::I64,
        Metric::Cosine,
        Quantization::None,
        &bytes(&rows, Element::I64),
    );
    for (slot, query) in rows.iter().enumerate().take(ASKED) {
        // 1 - cosine would be nothing but rounding errors: half the squared distance of directions.
        let length = |row: &[f64]| row.iter().map(|x| x * x).sum::<f64>().sqrt();
        let truth = nearest(&rows, |row| {
            let (own, other) = (length(query), length(row));
            query
                .iter()
                .zip(row)
                .map(|(a, b)| (a / own - b / other).powi(2))
                .sum()
        });
        let found = search(&index, query, Mode::Exact);
        assert_eq!(found[0].slot as usize, slot);
        let hits = found.iter().filter(|found| truth.contains(&found.slot)).count();
        assert!(hits >= K - 1, "{found:?} {truth:?}");
    }
}

#[test]
fn integers_of_64_bits_are_compared_as_what_they_are() {
    let mut rng = SmallRng::seed_from_u64(3);
    let near: Vec<Vec<i64>> = (0..ROWS)
        .map(|_| (0..DIMENSION).map(|_| rng.random_range(-100..100)).collect())
        .collect();
    let truth_of = |query: &[i64]| {
        let mut all: Vec<(i64, u32)> = (0..)
            .zip(&near)
            .map(|(slot, row)| (row.iter().zip(query).map(|(a, b)| (a - b).pow(2)).sum(), slot))
            .collect();
        all.sort_unstable();
        all.into_iter().map(|of| of.1).take(K).collect::<Vec<u32>>()
    };
    // Nanoseconds of today, and the ends of the types.
    for (element, at) in [
        (Element::I64, 1_700_000_000_000_000_000),
        (Element::I64, i64::MIN as u64 + 100),
        (Element::I64, i64::MAX as u64 - 100),
        (Element::U64, u64::MAX - 100),
        (Element::U64, 1 << 63),
    ] {
        let row_bytes: Vec<Vec<u8>> = near
            .iter()
            .map(|row| {
                row.iter()
                    .flat_map(|&x| at.wrapping_add_signed(x).to_ne_bytes())
                    .collect()
            })
            .collect();
        let index = index(element, Metric::L2, Quantization::None, &row_bytes.concat());
        for (query, row) in near.iter().zip(&row_bytes).take(ASKED) {
            for mode in [Mode::Exact, Mode::FullPrecision] {
                assert_eq!(
                    slots(&search(&index, QueryVector::Row(row), mode)),
                    truth_of(query),
                    "{element:?} {at}"
                );
            }
        }
    }
}

#[test]
fn distances_beyond_32_bits_keep_their_order() {
    let unit = unit_rows(4);
    for scale in [1e-300, 1e-200, 1e-30, 1e-23, 1.0, 1e25, 1e200, 1e300] {
        let rows = scaled(&unit, |x| x * scale);
        for metric in METRICS {
            let index = index(
                Element::F64,
                metric,
                Quantization::None,
                &bytes(&rows, Element::F64),
            );
            for (query, unscaled) in rows.iter().zip(&unit).take(ASKED) {
                let truth = nearest(&unit, |row| distance(metric, unscaled, row));
                for mode in [Mode::Exact, Mode::FullPrecision] {
                    let found = search(&index, query, mode);
                    assert_eq!(slots(&found), truth, "{scale:e} {metric:?} {mode:?} {found:?}");
                }
                for found in search(&index, query, Mode::Exact) {
                    let plain = distance(metric, unscaled, &unit[found.slot as usize]);
                    let by = if metric == Metric::Cosine {
                        1.0
                    } else {
                        scale * scale
                    };
                    let real = if plain == 0.0 { 0.0 } else { plain * by };
                    let told = f64::from(found.distance);
                    // A few steps between the least numbers, where they are all that there is.
                    let tolerance = 1e-4 * real.abs() + 1e-15 * by.min(1.0) + 1e-44;
                    let is_near = told == f64::from(real as f32) || (told - real).abs() <= tolerance;
                    assert!(is_near, "{scale:e} {metric:?} {told} {real}");
                }
            }
        }
    }
    // So do those of integers that overflow.
    let rows = scaled(&unit, |x| (x * 9e18).round());
    let index = index(
        Element::I64,
        Metric::L2,
        Quantization::None,
        &bytes(&rows, Element::I64),
    );
    for query in rows.iter().take(ASKED) {
        let truth = nearest(&rows, |row| distance(Metric::L2, query, row));
        assert_eq!(slots(&search(&index, query, Mode::Exact)), truth);
    }
}

#[test]
fn directions_count_whatever_the_lengths() {
    let unit = unit_rows(5);
    let every = [
        Quantization::None,
        Quantization::Sq8,
        Quantization::Sq4,
        Quantization::Bit1,
    ];
    for (element, scales) in [
        (Element::F32, &[1e-40, 1e-38, 1e-30, 1.0, 1e30, 2e38][..]),
        (
            Element::F64,
            &[1e-300, 1e-100, 1e-39, 1e-30, 1.0, 1e39, 1e100, 1e300],
        ),
    ] {
        for &scale in scales {
            let rows = scaled(&unit, |x| x * scale);
            for codes in every {
                let index = index(element, Metric::Cosine, codes, &bytes(&rows, element));
                let (mut hits, mut total) = (0, 0);
                for (slot, query) in unit.iter().enumerate().take(ASKED) {
                    let truth = nearest(&unit, |row| distance(Metric::Cosine, query, row));
                    let exact = search(&index, query, Mode::Exact);
                    // Subnormal numbers have few digits.
                    let digits = if element == Element::F32 && scale < 1e-38 {
                        1e-3
                    } else {
                        1e-6
                    };
                    for (found, truth) in exact.iter().zip(&truth) {
                        let real = distance(Metric::Cosine, query, &unit[*truth as usize]);
                        assert!(
                            (f64::from(found.distance) - real).abs() < digits,
                            "{element:?} {scale:e} {codes:?} {found:?} {real}"
                        );
                    }
                    assert_eq!(exact[0].slot as usize, slot);
                    let found = search(&index, &rows[slot], Mode::Auto);
                    assert!(found.iter().all(|found| (-1e-6..3.0).contains(&found.distance)));
                    hits += found.iter().filter(|found| truth.contains(&found.slot)).count();
                    total += K;
                }
                assert!(
                    hits * 20 >= total * 19,
                    "{element:?} {scale:e} {codes:?}: {hits} of {total}"
                );
            }
        }
    }
}

/// One row too short or too long for 32 bits among others wins no search but its own.
#[test]
fn a_row_of_an_unusual_length_is_one_of_many() {
    let mut rows = unit_rows(6);
    for (slot, scale) in [(3, 1e-42), (100, 1e-39), (200, 1e37), (201, 3e38)] {
        rows[slot].iter_mut().for_each(|x| *x *= scale);
    }
    rows[250].fill(0.0);
    rows[251][1] = f64::NAN;
    rows[252][1] = f64::INFINITY;
    let index = index(
        Element::F32,
        Metric::Cosine,
        Quantization::None,
        &bytes(&rows, Element::F32),
    );
    let mut image = Vec::new();
    index.write_image(u32::MAX, &mut image).unwrap();
    let mut memory = longbow_index::ImageMemory::zeroed(image.len()).unwrap();
    memory.as_mut().copy_from_slice(&image);
    let loaded = VectorIndex::from_image(memory).unwrap();
    for index in [&index, &loaded] {
        for (slot, query) in rows
            .iter()
            .enumerate()
            .filter(|&(slot, _)| !(250..253).contains(&slot))
        {
            let found = search(index, query, Mode::Exact);
            assert_eq!(found[0].slot as usize, slot, "{found:?}");
            assert!(found.iter().all(|found| (-1e-6..3.0).contains(&found.distance)));
        }
    }
}
