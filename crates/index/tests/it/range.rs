//! Range searches: what lies within a radius, and no more than a limit of it.

use longbow_index::{
    Bitset, Element, Metric, Mode, Neighbor, Params, Quantization, RangeParams, SearchError, Stats,
};

use crate::support::{Linked, check, clustered, plain};

const ROWS: usize = 20_000;
const TAIL: usize = 100;

fn ask(linked: &Linked, query: &[f32], params: &RangeParams, allow: &Bitset) -> (Vec<Neighbor>, Stats, bool) {
    let mut out = Vec::new();
    let (stats, cut) = linked
        .index
        .search_range(query, params, allow, &|| false, &mut out)
        .unwrap();
    check(&out, allow);
    assert!(out.iter().all(|found| found.distance <= params.radius));
    assert!(out.len() <= params.limit);
    (out, stats, cut)
}

#[test]
fn finds_what_lies_within_a_radius() {
    for (element, metric, codes) in [
        (Element::F32, Metric::L2, Quantization::None),
        (Element::F16, Metric::Cosine, Quantization::Sq4),
        (Element::F32, Metric::Dot, Quantization::None),
    ] {
        let params = Params::new(element, metric, 16);
        let linked = Linked::quantized(params, codes, clustered(ROWS, 16, 61));
        linked.append(&clustered(TAIL, 16, 62));
        let rows = linked.rows.lock().unwrap().clone();
        let all = Bitset::full(ROWS + TAIL);
        let most: Bitset = (0..ROWS + TAIL).filter(|row| row % 3 != 0).collect();
        let few: Bitset = (0..ROWS + TAIL).filter(|row| row % 40 == 0).collect();
        let (mut walks, mut hits, mut wanted) = (0, 0, 0);
        for query in &clustered(8, 16, 63) {
            for allow in [&all, &most, &few] {
                let ranks = plain(&params, &rows, query, 1_000, allow);
                for inside in [0, 1, 30, 400] {
                    // Between two neighbours, so that rounding decides nothing.
                    let radius = match inside {
                        0 => ranks[0].0 - 0.01,
                        _ => (ranks[inside - 1].0 + ranks[inside].0) / 2.0,
                    };
                    let range = RangeParams {
                        radius: radius as f32,
                        limit: 2_000,
                        ef: 20,
                        mode: Mode::Exact,
                    };
                    let (exact, stats, cut) = ask(&linked, query, &range, allow);
                    let slack = 1e-4 * (1.0 + radius.abs());
                    let certain = ranks.iter().filter(|rank| rank.0 < radius - slack).count();
                    let possible = ranks.iter().filter(|rank| rank.0 <= radius + slack).count();
                    assert!(
                        (certain..=possible).contains(&exact.len()),
                        "{} {inside}",
                        exact.len()
                    );
                    assert!(stats.exact && !cut);
                    let range = RangeParams {
                        mode: Mode::Auto,
                        ..range
                    };
                    let (found, stats, cut) = ask(&linked, query, &range, allow);
                    assert!(!cut && found.iter().all(|found| exact.contains(found)));
                    walks += u32::from(!stats.exact);
                    hits += found.len();
                    wanted += exact.len();
                }
            }
        }
        assert!(walks > 20, "{walks} walks");
        assert!(hits as f64 >= 0.97 * wanted as f64, "{hits} of {wanted}");
    }
}

#[test]
fn a_limit_keeps_the_nearest_and_says_that_there_are_more() {
    let linked = Linked::new(Element::F32, Metric::L2, clustered(ROWS, 8, 64));
    let all = Bitset::full(ROWS);
    for query in &clustered(5, 8, 65) {
        for mode in [Mode::Auto, Mode::Exact] {
            let range = |radius, limit| RangeParams {
                radius,
                limit,
                ef: 50,
                mode,
            };
            let (many, _, cut) = ask(&linked, query, &range(1.0, ROWS), &all);
            assert!(!cut);
            for limit in [1, 10, many.len().max(1)] {
                let (found, stats, cut) = ask(&linked, query, &range(1.0, limit), &all);
                assert_eq!(found[..], many[..limit.min(many.len())]);
                assert_eq!(cut, many.len() > limit, "{stats:?}");
            }
            // However large the radius, a limit bounds the work.
            let (found, stats, cut) = ask(&linked, query, &range(f32::INFINITY, 10), &all);
            assert!(found.len() == 10 && cut);
            assert!(stats.exact || stats.distances < ROWS as u64 / 4, "{stats:?}");
            for (radius, limit) in [(1.0, 0), (f32::NAN, 10), (-1.0, 10), (f32::NEG_INFINITY, 10)] {
                let mut out = Vec::new();
                let params = range(radius, limit);
                let (_, cut) = linked
                    .index
                    .search_range(query, &params, &all, &|| false, &mut out)
                    .unwrap();
                assert!(out.is_empty() && !cut, "{radius} {limit}");
            }
        }
    }
    let params = RangeParams {
        radius: 1.0,
        limit: 10,
        ef: 0,
        mode: Mode::Auto,
    };
    let answer = linked
        .index
        .search_range(&[0.0; 8], &params, &all, &|| true, &mut Vec::new());
    assert_eq!(answer, Err(SearchError::Cancelled));
}

#[test]
fn a_row_is_found_where_it_lies_however_narrow_the_beam() {
    let rows = clustered(ROWS, 16, 68);
    let linked = Linked::new(Element::F32, Metric::L2, rows.clone());
    let all = Bitset::full(ROWS);
    let params = RangeParams {
        radius: 0.0,
        limit: 10,
        ef: 1,
        mode: Mode::Auto,
    };
    let (mut walks, mut missed) = (0, 0);
    for (slot, row) in rows.iter().enumerate().step_by(17) {
        let (found, stats, _) = ask(&linked, row, &params, &all);
        walks += u32::from(!stats.exact);
        missed += u32::from(found.iter().all(|found| found.slot as usize != slot));
    }
    assert!(walks > 1_000 && missed <= 1, "{missed} of {walks}");
}

#[test]
fn shares_of_a_scan_make_up_the_whole() {
    let linked = Linked::new(Element::F32, Metric::Cosine, clustered(3_000, 20, 66));
    let allow: Bitset = (0..3_000).filter(|row| row % 7 != 1).collect();
    for query in &clustered(5, 20, 67) {
        let params = longbow_index::SearchParams {
            k: 10,
            ef: 0,
            mode: Mode::Exact,
        };
        let (whole, _) = linked.index.search(query, &params, &allow, &|| false).unwrap();
        let (mut merged, mut part) = (Vec::new(), Vec::new());
        for range in [0..1, 1..1_234, 1_234..2_000, 2_000..9_999, 5_000..6_000] {
            let stats = linked
                .index
                .scan(query, 10, range, &allow, &|| false, &mut part)
                .unwrap();
            assert!(stats.exact);
            merged.extend_from_slice(&part);
        }
        merged.sort_by(|a, b| (a.distance, a.slot).partial_cmp(&(b.distance, b.slot)).unwrap());
        merged.truncate(10);
        assert_eq!(merged, whole);
    }
}
