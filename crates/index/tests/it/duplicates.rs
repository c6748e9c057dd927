//! Rows that are equal to others, as chunks of boilerplate text are, do not cut the graph into pieces.

use longbow_index::{Bitset, Element, Metric, Mode, Params, Quantization};

use crate::support::{Linked, clustered, search};

/// Enough for codes to be shorter.
const DIMENSION: usize = 32;
const GROUPS: usize = 30;
const COPIES: usize = 80;

/// Unequal rows, and groups of equal ones that come one after the other.
fn rows() -> Vec<Vec<f32>> {
    let mut rows = clustered(6_000, DIMENSION, 21);
    for group in clustered(GROUPS, DIMENSION, 22) {
        rows.extend(std::iter::repeat_n(group, COPIES));
    }
    rows.extend(clustered(6_000, DIMENSION, 23));
    rows
}

fn indexes() -> impl Iterator<Item = (String, Linked)> {
    let quantizations = [Quantization::None, Quantization::Sq8, Quantization::Sq4];
    let metrics = [Metric::L2, Metric::Cosine];
    let kinds = quantizations.map(|quantization| metrics.map(|metric| (quantization, metric)));
    kinds.into_iter().flatten().map(|(quantization, metric)| {
        let params = Params::new(Element::F32, metric, DIMENSION);
        let linked = Linked::quantized(params, quantization, rows());
        (format!("{quantization:?} {metric:?}"), linked)
    })
}

#[test]
fn equal_rows_do_not_hide_the_others() {
    for (name, linked) in indexes() {
        let all = Bitset::full(rows().len());
        let recall = linked.recall_of_walks(&clustered(100, DIMENSION, 24), 10, 64, &all);
        assert!(recall >= 0.97, "{name}: {recall}");
        // From the middle of a group out to what lies round it.
        let recall = linked.recall_of_walks(&clustered(GROUPS, DIMENSION, 22), 120, 160, &all);
        assert!(recall >= 0.95, "{name}: {recall}");
    }
}

#[test]
fn equal_rows_are_found_together() {
    for (name, linked) in indexes() {
        let all = Bitset::full(rows().len());
        let (mut found, mut lost) = (0, 0);
        for group in clustered(GROUPS, DIMENSION, 22) {
            let nearest = search(&linked.index, &group, COPIES, Mode::Auto, &all);
            let equal = nearest.iter().filter(|near| near.distance.abs() < 1e-5).count();
            if equal < COPIES {
                eprintln!("{name} {equal} {:?}", nearest.last());
            }
            found += equal;
            lost += COPIES - equal;
        }
        assert!(lost * 100 <= found, "{name}: {found} found, {lost} lost");
    }
}
