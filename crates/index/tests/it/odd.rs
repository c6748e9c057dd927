//! Rows of which codes say little: without a direction, or too far apart for the numbers that estimates are made of.

use longbow_index::{Bitset, Element, Metric, Mode, Params, Quantization, SearchParams, VectorIndex};

use crate::support::{bytes, gaussian, search};

const ROWS: usize = 2_000;
const CODES: [Quantization; 3] = [Quantization::Sq8, Quantization::Sq4, Quantization::Bit1];

fn link(index: &VectorIndex, rows: &[u8]) {
    index.append(rows).unwrap();
    while index.link(100) > 0 {}
}

#[test]
fn rows_without_a_direction_keep_no_others_out() {
    let is_odd = |row: usize| row % 12 == 5;
    for (element, metric) in [
        (Element::F32, Metric::Cosine),
        (Element::F16, Metric::Cosine),
        (Element::F32, Metric::L2),
    ] {
        let mut rows = gaussian(ROWS, 40, 71);
        for (at, row) in rows.iter_mut().enumerate().filter(|(at, _)| is_odd(*at)) {
            row[at % 40] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY][at % 3];
        }
        let all = Bitset::full(ROWS);
        for codes in CODES {
            let index = VectorIndex::with_quantization(Params::new(element, metric, 40), codes);
            link(&index, &bytes(&rows, element));
            let (mut hits, queries) = (0, gaussian(40, 40, 72));
            for query in &queries {
                let found = search(&index, query, 10, Mode::Auto, &all);
                let exact = search(&index, query, 10, Mode::Exact, &all);
                assert!(!exact.iter().any(|found| is_odd(found.slot as usize)));
                assert!(
                    !found.iter().any(|found| is_odd(found.slot as usize)),
                    "{element:?} {metric:?} {codes:?}: {found:?}"
                );
                hits += exact.iter().filter(|exact| found.contains(exact)).count();
            }
            assert!(hits >= 340, "{element:?} {metric:?} {codes:?}: {hits} of 400");
        }
    }
}

#[test]
fn the_nearest_are_found_however_large_distances_are() {
    let all = Bitset::full(ROWS);
    let (rows, queries) = (gaussian(ROWS, 40, 73), gaussian(30, 40, 74));
    for (element, metric, scale) in [
        (Element::I64, Metric::L2, 1e15),
        (Element::F64, Metric::L2, 1e16),
        (Element::F64, Metric::Dot, 1e-30),
        (Element::F64, Metric::Dot, 1e-18),
    ] {
        let scaled = |row: &Vec<f32>| -> Vec<f64> { row.iter().map(|&x| f64::from(x) * scale).collect() };
        let numbers = rows.iter().flat_map(scaled);
        let bytes: Vec<u8> = match element {
            Element::I64 => numbers.flat_map(|x| (x as i64).to_ne_bytes()).collect(),
            _ => numbers.flat_map(f64::to_ne_bytes).collect(),
        };
        for codes in CODES {
            let index = VectorIndex::with_quantization(Params::new(element, metric, 40), codes);
            link(&index, &bytes);
            let mut hits = 0;
            for query in queries.iter().map(scaled) {
                let ask = |mode| {
                    let params = SearchParams { k: 10, ef: 100, mode };
                    index.search(&query, &params, &all, &|| false).unwrap().0
                };
                let (found, exact) = (ask(Mode::Auto), ask(Mode::Exact));
                hits += exact.iter().filter(|exact| found.contains(exact)).count();
            }
            assert!(
                hits >= 280,
                "{element:?} {metric:?} {scale} {codes:?}: {hits} of 300"
            );
        }
    }
}
