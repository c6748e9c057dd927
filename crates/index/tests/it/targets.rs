//! Searches that name a recall reach it.

use longbow_index::{Bitset, Element, Metric, Mode, Params, Quantization, RecallTarget, SearchParams, Stats};

use crate::support::{Linked, clustered, gaussian, plain};

const ROWS: usize = 12_000;
const QUERIES: usize = 150;

fn target(target: f32) -> RecallTarget {
    RecallTarget::new(target).unwrap()
}

/// Mean recall of searches that aim at a target, and what the last of them did.
fn measure(
    linked: &Linked,
    queries: &[Vec<f32>],
    k: usize,
    at: RecallTarget,
    allow: &Bitset,
) -> (f64, Stats) {
    let rows = linked.rows.lock().unwrap();
    let (mut hits, mut last) = (0, Stats::default());
    for query in queries {
        let params = linked.index.aim(k, at, allow);
        let (found, stats) = linked.index.search(query, &params, allow, &|| false).unwrap();
        let worst = plain(linked.index.params(), &rows, query, k, allow)[k - 1].0;
        let near = |distance: f32| f64::from(distance) <= worst + 1e-4 * (1.0 + worst.abs());
        hits += found.iter().filter(|found| near(found.distance)).count();
        last = stats;
    }
    (hits as f64 / (k * queries.len()) as f64, last)
}

#[test]
fn a_calibrated_index_reaches_its_targets() {
    for (dimension, codes) in [(16, Quantization::None), (48, Quantization::Sq4)] {
        // Queries are rows that were left out.
        let mut rows = clustered(ROWS + QUERIES, dimension, 71);
        let queries = rows.split_off(ROWS);
        let params = Params::new(Element::F32, Metric::L2, dimension);
        let linked = Linked::quantized(params, codes, rows);
        let all = Bitset::full(ROWS);
        let half: Bitset = (0..ROWS).filter(|row| row * 7919 % 2 == 0).collect();

        let guessed = linked.index.aim(10, target(0.9), &all);
        assert!(guessed.mode == Mode::Auto && guessed.ef >= 96);
        assert!(linked.index.aim(10, target(0.99), &all).ef > guessed.ef);
        let (_, stats) = measure(&linked, &queries[..1], 10, target(0.9), &all);
        assert_eq!(stats.recall, None);

        let mut taken = 0;
        loop {
            match linked.index.calibrate(30, &|| false) {
                0 => break,
                tried => taken += tried,
            }
        }
        assert!(taken >= 100, "{taken}");
        let mut least_ef = 0;
        for at in [0.8, 0.9, 0.95, 0.99] {
            let aimed = linked.index.aim(10, target(at), &all);
            assert!(aimed.ef >= least_ef || aimed.mode == Mode::Exact);
            least_ef = aimed.ef;
            for (k, allow) in [(10, &all), (1, &all), (50, &all), (10, &half)] {
                let (recall, stats) = measure(&linked, &queries, k, target(at), allow);
                assert!(
                    recall >= f64::from(at) - 0.02,
                    "{dimension} {k} at {at}: {recall} {stats:?}"
                );
                assert!(stats.recall.is_some_and(|recall| recall >= at), "{stats:?}");
            }
        }
        // A low target costs less than the default.
        assert!(linked.index.aim(10, target(0.8), &all).ef < guessed.ef);
        assert_eq!(linked.index.aim(10, target(1.0), &all).mode, Mode::Exact);

        // Only much change is a reason to measure again.
        linked.append(&clustered(100, dimension, 72));
        while linked.index.link(100) > 0 {}
        assert_eq!(linked.index.calibrate(1, &|| false), 0);
        linked.append(&clustered(ROWS / 4, dimension, 73));
        assert_eq!(
            linked.index.calibrate(1, &|| false),
            0,
            "most of what is new is not linked"
        );
        while linked.index.link(100) > 0 {}
        assert_eq!(linked.index.calibrate(1, &|| false), 1);
    }
}

type Made = fn(usize, usize, u64) -> Vec<Vec<f32>>;

/// Rows each of which has a few others next to it.
fn near_duplicates(rows: usize, dimension: usize, seed: u64) -> Vec<Vec<f32>> {
    let mut all = gaussian(rows, dimension, seed);
    let off = gaussian(rows, dimension, seed + 1);
    for at in 0..rows {
        // Of the rows of a seed that all calls share, whichever rows they make.
        let (of, off) = (at * 7919 % 800, &off[at]);
        let centre = &gaussian(1, dimension, of as u64)[0];
        all[at] = centre.iter().zip(off).map(|(x, off)| x + 0.02 * off).collect();
    }
    all
}

/// What is promised of searches at a width is what queries find that nobody has seen.
#[test]
fn what_is_promised_is_what_is_found() {
    const ROWS: usize = 6_000;
    const DIMENSION: usize = 64;
    let cases: [(&str, Made, Quantization); 4] = [
        ("clustered", clustered, Quantization::Sq8),
        ("gaussian", gaussian, Quantization::None),
        ("gaussian", gaussian, Quantization::Sq4),
        ("near duplicates", near_duplicates, Quantization::Sq8),
    ];
    for (name, rows_of, codes) in cases {
        let mut rows = rows_of(ROWS + QUERIES, DIMENSION, 171);
        let queries = rows.split_off(ROWS);
        let params = Params::new(Element::F32, Metric::L2, DIMENSION);
        let linked = Linked::quantized(params, codes, rows);
        let all = Bitset::full(ROWS);
        while linked.index.calibrate(50, &|| false) > 0 {}
        for ef in [16, 32, 64] {
            let search = SearchParams {
                k: 10,
                ef,
                mode: Mode::Auto,
            };
            let (_, stats) = linked
                .index
                .search(&queries[0], &search, &all, &|| false)
                .unwrap();
            let promised = f64::from(stats.recall.unwrap());
            let found = linked.recall_of_walks(&queries, 10, ef, &all);
            assert!(
                (found - 0.08..found + 0.02).contains(&promised),
                "{name} {codes:?} at {ef}: promised {promised}, found {found}"
            );
        }
    }
}

#[test]
fn a_measurement_can_be_stopped_and_goes_on() {
    let linked = Linked::new(Element::F32, Metric::L2, clustered(3_000, 16, 74));
    let ask_after = |asked: u32| {
        let left = std::cell::Cell::new(asked);
        let cancel = || left.replace(left.get().saturating_sub(1)) == 0;
        linked.index.calibrate(1, &cancel)
    };
    for asked in [0, 1, 50] {
        assert_eq!(ask_after(asked), 0, "{asked}");
    }
    let tried = std::iter::from_fn(|| Some(linked.index.calibrate(7, &|| false)).filter(|&tried| tried > 0));
    assert_eq!(tried.sum::<usize>(), 200);
    let aimed = linked.index.aim(10, target(0.9), &Bitset::full(3_000));
    assert!(aimed.ef > 0 || aimed.mode == Mode::Exact);
}

#[test]
fn targets_that_are_none_are_refused() {
    for bad in [0.0, -0.5, 1.01, f32::NAN, f32::INFINITY] {
        let error = RecallTarget::new(bad).unwrap_err();
        assert!(error.to_string().contains("above 0 and at most 1"), "{error}");
    }
    assert_eq!(target(0.95).get(), 0.95);
}
