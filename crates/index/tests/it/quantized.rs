//! Traversal on codes loses next to nothing, because answers are refined on the vectors.

use std::sync::Mutex;

use longbow_index::{Bitset, Element, Metric, Mode, Params, Quantization, SearchParams, VectorIndex};

use crate::support::{Linked, assert_exact, clustered, gaussian, plain, search};

const ROWS: usize = 6_000;

#[test]
fn recall_is_that_of_the_vectors() {
    for (element, metric, dimension, codes) in [
        (Element::F32, Metric::Cosine, 24, Quantization::Sq8),
        (Element::F16, Metric::L2, 100, Quantization::Sq8),
        (Element::F16, Metric::L2, 100, Quantization::Sq4),
        (Element::BF16, Metric::Cosine, 384, Quantization::Sq4),
        (Element::F64, Metric::Cosine, 130, Quantization::Sq4),
    ] {
        let params = Params::new(element, metric, dimension);
        let rows = clustered(ROWS, dimension, 41);
        let (linked, plain) = (
            Linked::quantized(params, codes, rows.clone()),
            Linked::with(params, rows),
        );
        let queries = clustered(100, dimension, 42);
        let all = Bitset::full(ROWS);
        let of_plain = plain.recall(&queries, 10, 0, &all);
        let recall = linked.recall(&queries, 10, 0, &all);
        assert!(
            recall >= of_plain - 0.02,
            "{params:?} {codes:?}: {recall} {of_plain}"
        );
        // Survivors of a filter, which are scanned.
        let few: Bitset = (0..ROWS).filter(|row| row % 50 == 0).collect();
        assert!(linked.recall(&queries, 10, 0, &few) >= 0.999);
        // The tail that is not linked.
        let late = clustered(200, dimension, 43);
        linked.append(&late);
        let all = Bitset::full(ROWS + 200);
        let lost = late
            .iter()
            .zip(ROWS..)
            .filter(|(row, slot)| search(&linked.index, row, 1, Mode::Auto, &all)[0].slot as usize != *slot);
        assert_eq!(lost.count(), 0);
    }
}

#[test]
fn distances_are_those_of_the_vectors() {
    for (metric, codes) in [
        (Metric::Cosine, Quantization::Sq8),
        (Metric::L2, Quantization::Sq8),
        (Metric::Dot, Quantization::Sq4),
        (Metric::L2, Quantization::Sq4),
        (Metric::Cosine, Quantization::Bit1),
        (Metric::Dot, Quantization::Bit1),
    ] {
        // Norms that differ by a factor of a thousand, a zero vector, and one heavy coordinate.
        let mut rows = clustered(2_000, 20, 44);
        for (at, row) in rows.iter_mut().enumerate() {
            let size = 10f32.powi((at % 4) as i32 - 2);
            row.iter_mut().for_each(|x| *x *= size);
            row[3] += 5.0 * size;
        }
        rows[7] = vec![0.0; 20];
        let params = Params::new(Element::F32, metric, 20);
        let linked = Linked::quantized(params, codes, rows.clone());
        let all = Bitset::full(2_000);
        for query in &clustered(10, 20, 45) {
            let expected = plain(&params, &rows, query, 10, &all);
            assert_exact(&search(&linked.index, query, 10, Mode::Exact, &all), &expected);
            let search = SearchParams {
                k: 10,
                ef: 50,
                mode: Mode::Auto,
            };
            let (found, stats) = linked.index.search(query, &search, &all, &|| false).unwrap();
            // Where coarse codes would have half of the rows looked at again, vectors are compared at once.
            let idle = codes == Quantization::Bit1 && stats.refined == 0 && stats.exact;
            assert!(idle || stats.refined >= 10 && !stats.exact, "{stats:?}");
            let ranks: Vec<(f64, u32)> = plain(&params, &rows, query, 2_000, &all);
            for neighbor in found {
                let (distance, _) = ranks.iter().find(|rank| rank.1 == neighbor.slot).unwrap();
                assert!((f64::from(neighbor.distance) - distance).abs() <= 1e-4 * (1.0 + distance.abs()));
            }
        }
    }
}

#[test]
fn full_precision_is_what_no_quantization_finds() {
    let params = Params::new(Element::F32, Metric::Cosine, 64);
    let rows = clustered(ROWS, 64, 46);
    let linked = Linked::quantized(params, Quantization::Sq4, rows.clone());
    let all = Bitset::full(ROWS);
    let ask = |query: &[f32], mode| {
        let params = SearchParams { k: 10, ef: 10, mode };
        linked.index.search(query, &params, &all, &|| false).unwrap()
    };
    for query in &clustered(30, 64, 47) {
        let (coarse, coarse_stats) = ask(query, Mode::Auto);
        let (fine, stats) = ask(query, Mode::FullPrecision);
        assert!(
            coarse_stats.refined > 0 && stats.refined == 0 && !stats.exact,
            "{stats:?}"
        );
        let (truth, _) = ask(query, Mode::Exact);
        // Every distance is exact, whichever way it was found.
        for found in coarse.iter().chain(&fine) {
            let of_truth = truth.iter().find(|truth| truth.slot == found.slot);
            assert!(of_truth.is_none_or(|truth| truth.distance == found.distance));
        }
    }
}

#[test]
fn rows_that_nobody_has_linked_yet_are_found_by_their_codes() {
    let (rows, dimension) = (12_000, 64);
    let queries = gaussian(40, dimension, 92);
    for metric in [Metric::L2, Metric::Cosine] {
        let params = Params::new(Element::F32, metric, dimension);
        let unlinked = Linked {
            index: VectorIndex::with_quantization(params, Quantization::Bit1),
            rows: Mutex::default(),
        };
        unlinked.append(&gaussian(rows, dimension, 91));
        let recall = unlinked.recall(&queries, 10, 0, &Bitset::full(rows));
        assert!(recall > 0.98, "{metric:?}: {recall}");
    }
}
