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
fn rows_are_found_however_far_apart_they_lie() {
    let all = Bitset::full(ROWS);
    let rows = gaussian(ROWS, 40, 73);
    for codes in CODES {
        let found = |scale: f64| {
            let scaled = rows
                .iter()
                .map(|row| row.iter().map(move |&x| (f64::from(x) * scale) as i64));
            let bytes: Vec<u8> = scaled.clone().flatten().flat_map(i64::to_ne_bytes).collect();
            let index = VectorIndex::with_quantization(Params::new(Element::I64, Metric::L2, 40), codes);
            link(&index, &bytes);
            let params = SearchParams {
                k: 1,
                ef: 64,
                mode: Mode::Auto,
            };
            let themselves = (0u32..).zip(scaled).step_by(10).filter(|(slot, row)| {
                let query: Vec<f64> = row.clone().map(|x| x as f64).collect();
                let (found, _) = index.search(&query, &params, &all, &|| false).unwrap();
                found[0].slot == *slot
            });
            themselves.count()
        };
        let (near, far) = (found(1e5), found(1e15));
        assert!(
            near >= 190 && far + 4 >= near,
            "{codes:?}: {near} near, {far} far apart"
        );
    }
}
