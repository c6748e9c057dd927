//! Rows in tight clusters, which lie about equally far from each other: where codes are all that tells near rows apart, and
//! where a filter may leave nothing around the query.

use longbow_index::{Answer, Bitset, Element, Metric, Mode, Params, Quantization, SearchParams};
use rand::{Rng, SeedableRng, rngs::SmallRng};

use crate::support::Linked;

const CLUSTERS: usize = 20;
const DIMENSION: usize = 64;

/// Row `i` belongs to cluster `i % CLUSTERS`, whose rows share most of their direction.
fn tight(rows: usize, seed: u64) -> Vec<Vec<f32>> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut around = |spread: f32| -> Vec<f32> {
        let number = |rng: &mut SmallRng| (0..6).map(|_| rng.random_range(-1.0f32..1.0)).sum::<f32>();
        (0..DIMENSION).map(|_| spread * number(&mut rng)).collect()
    };
    let centres: Vec<Vec<f32>> = (0..CLUSTERS).map(|_| around(1.0)).collect();
    let row = |row: usize| -> Vec<f32> {
        let pairs = centres[row % CLUSTERS].iter().zip(around(0.3));
        pairs.map(|(centre, off)| centre + off).collect()
    };
    (0..rows).map(row).collect()
}

#[test]
fn codes_tell_the_rows_of_a_cluster_apart() {
    const ROWS: usize = 6_000;
    let rows = tight(ROWS, 91);
    let all = Bitset::full(ROWS);
    for quantization in [Quantization::Sq8, Quantization::Sq4] {
        for metric in [Metric::Cosine, Metric::L2, Metric::Dot] {
            let params = Params::new(Element::F32, metric, DIMENSION);
            let linked = Linked::quantized(params, quantization, rows.clone());
            let queries: Vec<Vec<f32>> = rows.iter().step_by(61).cloned().collect();
            let recall = linked.recall_of_walks(&queries, 10, 0, &all);
            assert!(recall >= 0.95, "{quantization:?} {metric:?}: {recall}");
        }
    }
}

#[test]
fn a_filter_that_leaves_nothing_around_the_query_costs_no_answers() {
    const ROWS: usize = 12_000;
    let rows = tight(ROWS, 92);
    // All of the first cluster.
    let queries: Vec<Vec<f32>> = rows.iter().step_by(CLUSTERS * 20).cloned().collect();
    for quantization in [Quantization::None, Quantization::Sq4, Quantization::Bit1] {
        let params = Params::new(Element::F16, Metric::Cosine, DIMENSION);
        let linked = Linked::quantized(params, quantization, rows.clone());
        for least in [1, CLUSTERS / 2, CLUSTERS - 4, CLUSTERS - 1] {
            let allow: Bitset = (0..ROWS).filter(|row| row % CLUSTERS >= least).collect();
            let recall = linked.recall(&queries, 10, 0, &allow);
            assert!(
                recall >= 0.95,
                "{quantization:?}, clusters from {least} on: {recall}"
            );
        }
    }
}

#[test]
fn a_batch_that_is_stopped_has_no_answers() {
    let rows = tight(4_000, 93);
    let linked = Linked::new(Element::F32, Metric::L2, rows);
    let queries: Vec<&[f32]> = vec![&[0.5; DIMENSION]; 20];
    let all = Bitset::full(4_000);
    for mode in [Mode::Auto, Mode::Exact] {
        let params = SearchParams { k: 3, ef: 16, mode };
        let asked = std::cell::Cell::new(0);
        let stop = || asked.replace(asked.get() + 1) > 8;
        let mut answers = vec![Answer::default(); queries.len()];
        let stopped = linked
            .index
            .search_batch(&queries, &params, &all, &stop, &mut answers);
        assert!(stopped.is_err());
        assert!(
            answers.iter().all(|answer| answer.neighbors.is_empty()),
            "{mode:?}"
        );
    }
}

/// With a beam so narrow that it is not a scan which finds them.
#[test]
fn few_allowed_rows_all_far_from_the_query_are_found() {
    const ROWS: usize = 30_000;
    let rows = tight(ROWS, 94);
    let queries: Vec<Vec<f32>> = rows.iter().step_by(CLUSTERS * 50).cloned().collect();
    for quantization in [Quantization::None, Quantization::Sq4] {
        let params = Params::new(Element::F16, Metric::Cosine, DIMENSION);
        let linked = Linked::quantized(params, quantization, rows.clone());
        // Two, four halves and nineteen tenths of the clusters.
        for (least, one_in) in [(CLUSTERS - 3, 1), (CLUSTERS - 6, 2), (1, 7)] {
            let matches = |row: &usize| row % CLUSTERS >= least && (row / CLUSTERS).is_multiple_of(one_in);
            let allow: Bitset = (0..ROWS).filter(matches).collect();
            let recall = linked.recall(&queries, 10, 10, &allow);
            assert!(
                recall >= 0.95,
                "{quantization:?}, one in {one_in} of clusters from {least} on: {recall}"
            );
        }
    }
}

/// A vector of zeros among random ones is nearer to each than they are to one another, and so are its like.
#[test]
fn rows_in_the_middle_of_all_others_hide_none_of_them() {
    const ROWS: usize = 6_000;
    let mut rng = SmallRng::seed_from_u64(95);
    let mut row = || -> Vec<f32> {
        let number = |rng: &mut SmallRng| (0..6).map(|_| rng.random_range(-1.0f32..1.0)).sum::<f32>();
        (0..DIMENSION).map(|_| number(&mut rng)).collect()
    };
    let rows: Vec<Vec<f32>> = (0..ROWS).map(|_| row()).collect();
    let queries: Vec<Vec<f32>> = (0..60).map(|_| row()).collect();
    let all = Bitset::full(ROWS);
    let measure = |zeros: &[usize], quantization| {
        let mut rows = rows.clone();
        zeros.iter().for_each(|&zero| rows[zero].fill(0.0));
        let own: Vec<Vec<f32>> = rows.iter().step_by(13).cloned().collect();
        let params = Params::new(Element::F32, Metric::L2, DIMENSION);
        let linked = Linked::quantized(params, quantization, rows);
        let recall = linked.recall_of_walks(&queries, 10, 64, &all);
        (recall, linked.recall_of_walks(&own, 1, 64, &all))
    };
    let many: Vec<usize> = (0..ROWS).step_by(100).collect();
    for quantization in [Quantization::None, Quantization::Sq4] {
        let (recall, found) = measure(&[], quantization);
        for zeros in [&[10], &many[..]] {
            let (beside, found_beside) = measure(zeros, quantization);
            eprintln!(
                "{quantization:?} {} {recall} {found} {beside} {found_beside}",
                zeros.len()
            );
            assert!(
                beside >= recall - 0.05,
                "{quantization:?}: {beside} after {recall}"
            );
            assert!(
                found_beside >= found - 0.05,
                "{quantization:?}: {found_beside} of their own rows after {found}"
            );
        }
    }
}
