//! Under the inner product a longer query has the same neighbours.

use longbow_index::{Bitset, Element, Metric, Params, Quantization};

use crate::support::{Linked, gaussian};

const ROWS: usize = 12_000;
const DIMENSION: usize = 48;

#[test]
fn a_query_of_any_length_finds_the_same() {
    let unit = |mut rows: Vec<Vec<f32>>| {
        for row in &mut rows {
            let length = row.iter().map(|x| x * x).sum::<f32>().sqrt();
            row.iter_mut().for_each(|x| *x /= length);
        }
        rows
    };
    let queries = unit(gaussian(40, DIMENSION, 32));
    let all = Bitset::full(ROWS);
    for quantization in [Quantization::None, Quantization::Sq8] {
        let rows = unit(gaussian(ROWS, DIMENSION, 31));
        let params = Params::new(Element::F32, Metric::Dot, DIMENSION);
        let linked = Linked::quantized(params, quantization, rows);
        let recall = |times: f32| {
            let longer: Vec<Vec<f32>> = queries
                .iter()
                .map(|query| query.iter().map(|x| x * times).collect())
                .collect();
            linked.recall_of_walks(&longer, 10, 200, &all)
        };
        let expected = recall(1.0);
        assert!(expected > 0.85, "{quantization:?}: {expected}");
        for times in [0.01, 10.0, 1000.0] {
            let found = recall(times);
            assert!(
                (found - expected).abs() < 0.02,
                "{quantization:?}, {times} times: {found} for {expected}"
            );
        }
    }
}
