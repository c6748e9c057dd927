//! Codes lose next to nothing whatever the data look like: recall of a quantized index against one without, at the
//! same beam.

use longbow_index::{Bitset, Element, Metric, Params, Quantization};
use rand::{Rng, SeedableRng, rngs::SmallRng};

use crate::support::{Linked, SCALE, clustered};

const ROWS: usize = 4_000;
const QUERIES: usize = 60;
/// Narrow enough that [`ROWS`] rows are traversed, not scanned.
const EF: usize = 40;

/// A kind of data.
struct Kind {
    name: &'static str,
    element: Element,
    metric: Metric,
    rows: Vec<Vec<f32>>,
    queries: Vec<Vec<f32>>,
}

/// Rows and queries of one distribution: `change` makes them of clustered ones.
fn kind(
    name: &'static str,
    element: Element,
    metric: Metric,
    dimension: usize,
    change: impl Fn(&mut SmallRng, &mut [f32]),
) -> Kind {
    let mut rng = SmallRng::seed_from_u64(dimension as u64);
    let mut rows = clustered(ROWS + QUERIES, dimension * element.reals(), 61);
    rows.iter_mut().for_each(|row| change(&mut rng, row));
    let mut queries = rows.split_off(ROWS);
    if !matches!(
        element,
        Element::F16 | Element::F32 | Element::F64 | Element::Complex64
    ) {
        queries.iter_mut().flatten().for_each(|x| *x *= SCALE);
    }
    Kind {
        name,
        element,
        metric,
        rows,
        queries,
    }
}

fn add(by: f32) -> impl Fn(&mut SmallRng, &mut [f32]) {
    move |_, row| row.iter_mut().for_each(|x| *x += by)
}

fn same(_: &mut SmallRng, _: &mut [f32]) {}

/// Most elements zero.
fn sparse(rng: &mut SmallRng, row: &mut [f32]) {
    row.iter_mut().for_each(|x| {
        *x = if rng.random_range(0..20) == 0 {
            x.abs()
        } else {
            0.0
        }
    });
}

/// Some elements a hundred times as large as most.
fn heavy(rng: &mut SmallRng, row: &mut [f32]) {
    row.iter_mut()
        .for_each(|x| *x /= rng.random_range(0.02f32..1.0).powi(2));
}

/// Norms between 1/20 and 20.
fn unequal(rng: &mut SmallRng, row: &mut [f32]) {
    let size = 20f32.powf(rng.random_range(-1.0..1.0));
    row.iter_mut().for_each(|x| *x *= size);
}

fn kinds() -> Vec<Kind> {
    use {Element as E, Metric as M};
    let mut kinds = vec![
        kind("mean cosine 0.7", E::F32, M::Cosine, 100, add(1.0)),
        kind("mean cosine 0.99", E::F32, M::Cosine, 100, add(7.0)),
        kind("small offset", E::F32, M::L2, 96, add(3.0)),
        kind("large offset", E::F32, M::L2, 96, add(300.0)),
        kind("offset f16", E::F16, M::L2, 200, add(20.0)),
        kind("heavy tails", E::F32, M::L2, 100, heavy),
        kind("heavy tails", E::F32, M::Cosine, 100, heavy),
        kind("unequal norms", E::F32, M::Dot, 64, unequal),
        kind("unequal norms", E::F32, M::L2, 64, unequal),
        kind("offset", E::F32, M::Dot, 64, add(5.0)),
        kind("bytes", E::U8, M::L2, 128, add(1.65)),
        kind("signed bytes", E::I8, M::Cosine, 100, same),
        kind("wide integers", E::I64, M::Dot, 48, add(2.0)),
        kind("complex", E::Complex64, M::Cosine, 40, add(0.8)),
        kind("complex", E::Complex64, M::L2, 40, add(10.0)),
        kind("sparse", E::F32, M::Cosine, 300, sparse),
        kind("sparse", E::F32, M::L2, 300, sparse),
    ];
    for dimension in [2, 3, 8, 17] {
        for metric in [M::Cosine, M::L2, M::Dot] {
            kinds.push(kind("few dimensions", E::F32, metric, dimension, same));
        }
        kinds.push(kind(
            "few dimensions, offset",
            E::F64,
            M::L2,
            dimension,
            add(50.0),
        ));
    }
    let mut zeros = kind("zero vectors and duplicates", E::F32, M::Cosine, 60, add(0.5));
    for at in 0..ROWS {
        match at % 4 {
            0 => zeros.rows[at] = zeros.rows[at / 40 * 40 + 1].clone(),
            1 if at % 97 == 0 => zeros.rows[at].fill(0.0),
            _ => {}
        }
    }
    kinds.push(zeros);
    kinds
}

#[test]
fn recall_is_that_of_the_vectors_on_data_of_every_kind() {
    let all = Bitset::full(ROWS);
    let few: Bitset = (0..ROWS).filter(|row| row % 40 == 0).collect();
    let mut short = Vec::new();
    for kind in kinds() {
        let params = Params::new(
            kind.element,
            kind.metric,
            kind.rows[0].len() / kind.element.reals(),
        );
        let recall = |index: &Linked, allow: &Bitset| index.recall(&kind.queries, 10, EF, allow);
        let plain = recall(&Linked::with(params, kind.rows.clone()), &all);
        for (codes, loss) in [
            (Quantization::Sq8, 0.01),
            (Quantization::Sq4, 0.03),
            (Quantization::Bit1, 0.1),
        ] {
            let linked = Linked::quantized(params, codes, kind.rows.clone());
            let (found, scanned) = (recall(&linked, &all), recall(&linked, &few));
            let line = format!(
                "{} {:?} {}: {codes:?} {found:.3}, scanned {scanned:.3}, vectors {plain:.3}",
                kind.name, kind.metric, params.dimension
            );
            println!("{line}");
            if found < plain - loss || scanned < 1.0 - loss {
                short.push(line);
            }
        }
    }
    assert!(short.is_empty(), "{short:#?}");
}

#[test]
fn vectors_of_any_length_are_coded() {
    // Longer than what an integer product of 32 bits holds at once.
    let (rows, dimension) = (60, 140_000);
    let vectors = clustered(rows, dimension, 62);
    let params = Params::new(Element::F16, Metric::L2, dimension);
    for codes in [Quantization::Sq8, Quantization::Sq4, Quantization::Bit1] {
        let linked = Linked::quantized(params, codes, vectors.clone());
        let queries: Vec<Vec<f32>> = vectors.iter().step_by(20).cloned().collect();
        assert!(
            linked.recall(&queries, 3, 10, &Bitset::full(rows)) >= 0.99,
            "{codes:?}"
        );
    }
}
