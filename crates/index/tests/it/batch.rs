//! A batch answers every query as if it had been asked alone.

use std::cell::Cell;

use longbow_index::{Bitset, Element, Metric, Mode, Params, Quantization, SearchError, SearchParams, Way};

use crate::support::{Linked, clustered};

const ROWS: usize = 27_000;

#[test]
fn a_batch_answers_as_its_queries_alone_do() {
    let mut ways = Vec::new();
    for (element, metric, dimension, codes) in [
        (Element::F32, Metric::L2, 12, Quantization::None),
        (Element::F16, Metric::Cosine, 70, Quantization::Sq4),
        (Element::F32, Metric::Dot, 33, Quantization::Sq8),
    ] {
        let params = Params::new(element, metric, dimension);
        let linked = Linked::quantized(params, codes, clustered(ROWS, dimension, 51));
        linked.append(&clustered(150, dimension, 52));
        let queries = clustered(70, dimension, 53);
        let asked: Vec<&[f32]> = queries.iter().map(Vec::as_slice).collect();
        let share = |n: usize| -> Bitset { (0..ROWS + 150).filter(|row| row % n == 0).collect() };
        let mut answers = Vec::new();
        for allow in [
            Bitset::full(ROWS + 150),
            share(2),
            // Fewer would be scanned, of more all nodes are walked through.
            (0..ROWS + 150).filter(|row| row % 21 < 4).collect(),
            share(100),
            share(ROWS),
        ] {
            for (ef, mode) in [
                (10, Mode::Auto),
                (60, Mode::Auto),
                (1_100, Mode::Auto),
                (10, Mode::FullPrecision),
                (0, Mode::Exact),
            ] {
                let params = SearchParams { k: 10, ef, mode };
                linked
                    .index
                    .search_batch(&asked, &params, &allow, &|| false, &mut answers)
                    .unwrap();
                assert_eq!(answers.len(), queries.len());
                for (query, answer) in queries.iter().zip(&answers) {
                    let (alone, stats) = linked.index.search(query, &params, &allow, &|| false).unwrap();
                    assert_eq!(answer.neighbors, alone, "{params:?} {stats:?}");
                    let (of_batch, of_alone) = (answer.stats, stats);
                    assert_eq!(of_batch.hops, of_alone.hops);
                    assert_eq!(
                        (of_batch.way, of_batch.exact, of_batch.ef, of_batch.refined),
                        (of_alone.way, of_alone.exact, of_alone.ef, of_alone.refined)
                    );
                    ways.push(stats.way);
                }
            }
        }
    }
    for way in [Way::Scan, Way::Beam, Way::Filtered, Way::TwoHop] {
        assert!(ways.contains(&way), "{way:?} was not taken");
    }
}

#[test]
fn a_batch_of_nothing_and_one_that_is_cancelled_end() {
    let linked = Linked::new(Element::F32, Metric::L2, clustered(5_000, 8, 54));
    let queries = clustered(20, 8, 55);
    let asked: Vec<&[f32]> = queries.iter().map(Vec::as_slice).collect();
    let (all, none) = (Bitset::full(5_000), Bitset::new(0));
    let mut answers = Vec::new();
    for (ef, mode) in [(20, Mode::Auto), (0, Mode::Exact)] {
        let params = SearchParams { k: 10, ef, mode };
        let search = |queries: &[&[f32]], allow, cancel: &dyn Fn() -> bool, answers: &mut _| {
            linked
                .index
                .search_batch(queries, &params, allow, cancel, answers)
        };
        search(&[], &all, &|| false, &mut answers).unwrap();
        assert!(answers.is_empty());
        search(&asked, &none, &|| false, &mut answers).unwrap();
        assert!(answers.len() == 20 && answers.iter().all(|answer| answer.neighbors.is_empty()));
        // Told to stop at the third question.
        let questions = Cell::new(0);
        let cancel = || questions.replace(questions.get() + 1) >= 2;
        assert_eq!(
            search(&asked, &all, &cancel, &mut answers),
            Err(SearchError::Cancelled)
        );
        // Whatever was under way is as new.
        search(&asked, &all, &|| false, &mut answers).unwrap();
        for (query, answer) in queries.iter().zip(&answers) {
            let alone = linked.index.search(query, &params, &all, &|| false).unwrap();
            assert_eq!(answer.neighbors, alone.0);
        }
    }
}
