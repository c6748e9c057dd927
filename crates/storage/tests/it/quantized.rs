//! Codes and recall targets: answers beside exact ones, whatever the graph is walked on.

use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::*;
use half::f16;
use longbow_storage::{Found, Options, Projection, Query, Replica, Searched, View, WriteKind, batch_to_ipc};
use longbow_types::schema::vector_type;
use longbow_types::{ErrorCode, Metric, Quantization, Schema, VectorElement};

const DIMENSION: usize = 64;
/// So many that walking is cheaper than comparing codes one by one.
const ROWS: usize = 9_000;
const K: usize = 10;

/// Numbers between -1 and 1 that depend on where they stand.
fn noise(seed: u64) -> impl FnMut() -> f32 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    }
}

/// A row near one of some centres.
fn vector(row: usize) -> Vec<f32> {
    let (mut centre, mut own) = (noise(1 + row as u64 % 90), noise(1_000 + row as u64));
    (0..DIMENSION).map(|_| centre() + 0.6 * own()).collect()
}

fn vectors(element: VectorElement, rows: &[Vec<f32>]) -> ArrayRef {
    let flat = || rows.iter().flatten().copied();
    let values: ArrayRef = match element {
        VectorElement::F16 => Arc::new(Float16Array::from_iter_values(flat().map(f16::from_f32))),
        VectorElement::F32 => Arc::new(Float32Array::from_iter_values(flat())),
        VectorElement::F64 => Arc::new(Float64Array::from_iter_values(flat().map(f64::from))),
    };
    let DataType::FixedSizeList(item, size) = vector_type(element, DIMENSION) else {
        unreachable!()
    };
    Arc::new(FixedSizeListArray::new(item, size, values, None))
}

fn schema(element: VectorElement, metric: Metric, quantization: Quantization) -> Schema {
    let fields = vec![
        Field::new("id", DataType::UInt64, false),
        Field::new("vector", vector_type(element, DIMENSION), false),
    ];
    Schema::new(fields, "id", metric)
        .unwrap()
        .with_quantization(quantization)
}

/// A replica that holds these rows under their numbers, all linked.
fn replica(schema: &Schema, rows: &[Vec<f32>]) -> Replica {
    let options = Options {
        m: 12,
        ef_construction: 80,
        seed: 5,
    };
    let mut replica = Replica::new(schema.clone(), &options, 1);
    append(&mut replica, schema, 2, 0, rows);
    replica
}

fn append(replica: &mut Replica, schema: &Schema, index: u64, first: usize, rows: &[Vec<f32>]) {
    let ids = UInt64Array::from_iter_values((first..first + rows.len()).map(|id| id as u64));
    let columns: Vec<ArrayRef> = vec![Arc::new(ids), vectors(schema.vector().element, rows)];
    let batch = RecordBatch::try_new(schema.arrow().clone(), columns).unwrap();
    let body = batch_to_ipc(&batch).unwrap();
    replica
        .apply(index, WriteKind::Upsert, &body, rows.len() as u32)
        .unwrap();
    replica.publish();
    while replica.reader().link(500) > 0 {}
}

fn rows(count: usize) -> Vec<Vec<f32>> {
    (0..count).map(vector).collect()
}

/// Vectors that are not rows.
fn queries(count: usize) -> Vec<Vec<f32>> {
    (0..count).map(|at| vector(1_000_000 + at)).collect()
}

/// A search for [`K`] rows, changed a little.
fn ask(view: &View, vector: &[f32], change: impl FnOnce(&mut Query<'_>)) -> Found {
    let projection = Projection::new(view.layout(), &[], false).unwrap();
    let mut query = Query {
        searched: Searched::default(),
        vector: vector.into(),
        k: K,
        ef: 0,
        recall_target: None,
        full_precision: false,
        exact: false,
        predicate: None,
        projection: &projection,
    };
    change(&mut query);
    view.search(&query, &|| false).unwrap()
}

fn ids(found: &Found) -> &[u64] {
    found.batch.column(0).as_primitive::<UInt64Type>().values()
}

fn distances(found: &Found) -> &[f32] {
    found.batch.column(1).as_primitive::<Float32Type>().values()
}

/// The mean share of the rows of exact answers that others have.
fn recall(answers: &[(Found, Found)]) -> f64 {
    let hits: usize = answers
        .iter()
        .map(|(exact, found)| ids(found).iter().filter(|id| ids(exact).contains(id)).count())
        .sum();
    hits as f64 / (K * answers.len()) as f64
}

fn beside_exact(view: &View, change: impl Fn(&mut Query<'_>)) -> Vec<(Found, Found)> {
    let exact = |vector: &[f32]| ask(view, vector, |query| query.exact = true);
    queries(60)
        .iter()
        .map(|vector| (exact(vector), ask(view, vector, &change)))
        .collect()
}

#[test]
fn every_choice_finds_what_an_exact_search_finds() {
    let rows = rows(ROWS);
    for (element, metric) in [
        (VectorElement::F32, Metric::Cosine),
        (VectorElement::F16, Metric::L2),
        (VectorElement::F64, Metric::Dot),
    ] {
        for quantization in Quantization::ALL {
            let what = format!("{element:?} {metric} {quantization}");
            let replica = replica(&schema(element, metric, quantization), &rows);
            let view = replica.reader().view();

            let answers = beside_exact(&view, |_| {});
            let found = recall(&answers);
            assert!(found >= 0.95, "{what}: {found}");
            for (exact, found) in &answers {
                assert!(!found.stats.exact, "{what}: the graph is walked");
                // Answers are refined on the vectors where the walk was not on them.
                assert_eq!(
                    found.stats.refined > 0,
                    quantization != Quantization::None,
                    "{what}"
                );
                for (id, distance) in ids(found).iter().zip(distances(found)) {
                    let Some(same) = ids(exact).iter().position(|other| other == id) else {
                        continue;
                    };
                    let exact = distances(exact)[same];
                    assert!((exact - distance).abs() <= 1e-4 * (1.0 + exact.abs()), "{what}");
                }
            }

            let answers = beside_exact(&view, |query| query.full_precision = true);
            let found = recall(&answers);
            assert!(found >= 0.95, "{what} on the vectors: {found}");
            assert!(
                answers.iter().all(|(_, found)| found.stats.refined == 0),
                "{what}"
            );
        }
    }
}

#[test]
fn a_recall_target_is_met_once_it_was_measured() {
    let rows = rows(ROWS + ROWS / 2);
    for quantization in [Quantization::None, Quantization::Sq8, Quantization::Sq4] {
        let schema = schema(VectorElement::F32, Metric::L2, quantization);
        let mut replica = replica(&schema, &rows[..ROWS]);
        let aim = |replica: &Replica, target: f32| {
            beside_exact(&replica.reader().view(), |query| {
                query.recall_target = Some(target)
            })
        };

        // Before that a wide search, of which nothing is claimed.
        let guessed = aim(&replica, 0.9);
        assert!(guessed.iter().all(|(_, found)| found.stats.recall.is_none()));
        assert!(recall(&guessed) >= 0.9);

        let measure = |replica: &Replica| {
            let mut taken = 0;
            while let tried @ 1.. = replica.reader().calibrate(50, &|| false) {
                taken += tried;
            }
            taken
        };
        assert!(measure(&replica) > 0);
        for target in [0.8, 0.9, 0.97] {
            let answers = aim(&replica, target);
            let claimed = answers.iter().map(|(_, found)| found.stats.recall.unwrap());
            assert!(claimed.fold(1.0, f32::min) >= target, "{quantization} {target}");
            // The mean of a few queries lies near that of all.
            let found = recall(&answers);
            assert!(
                found >= f64::from(target) - 0.03,
                "{quantization} {target}: {found}"
            );
        }
        let work = |answers: &[(Found, Found)]| -> u64 {
            answers.iter().map(|(_, found)| found.stats.distances).sum()
        };
        assert!(
            work(&aim(&replica, 0.8)) < work(&guessed),
            "what was measured is narrower"
        );

        // Nothing to do again before many rows have come.
        assert_eq!(measure(&replica), 0);
        append(&mut replica, &schema, 3, ROWS, &rows[ROWS..]);
        assert!(measure(&replica) > 0, "{quantization}");
    }
}

#[test]
fn few_rows_are_compared_one_by_one_where_a_recall_is_asked_for() {
    let schema = schema(VectorElement::F32, Metric::Cosine, Quantization::Sq4);
    let replica = replica(&schema, &rows(500));
    let view = replica.reader().view();
    let found = ask(&view, &vector(3), |query| query.recall_target = Some(0.5));
    assert_eq!((found.stats.exact, found.stats.recall), (true, Some(1.0)));
    // Nothing is there to be missed.
    let empty = Replica::new(schema, &Options::default(), 1).reader().view();
    let found = ask(&empty, &vector(3), |query| query.recall_target = Some(0.5));
    assert_eq!((found.batch.num_rows(), found.stats.recall), (0, Some(1.0)));
}

#[test]
fn a_recall_target_that_is_none_is_refused() {
    let schema = schema(VectorElement::F32, Metric::L2, Quantization::Sq8);
    let view = Replica::new(schema, &Options::default(), 1).reader().view();
    let projection = Projection::new(view.layout(), &[], false).unwrap();
    for (target, ef, exact) in [(0.0, 0, false), (1.0, 0, false), (0.9, 10, false), (0.9, 0, true)] {
        let near = vector(1);
        let query = Query {
            searched: Searched::default(),
            vector: (&near).into(),
            k: K,
            ef,
            recall_target: Some(target),
            full_precision: false,
            exact,
            predicate: None,
            projection: &projection,
        };
        let error = view.search(&query, &|| false).unwrap_err();
        assert_eq!(
            (error.code, error.field.as_deref()),
            (ErrorCode::InvalidValue, Some("recall_target"))
        );
    }
}

#[test]
fn rows_of_any_size_are_found_whatever_the_choice() {
    // Lengths from one end of f32 to the other.
    let scale = |row: usize| 10_f32.powi((row % 7) as i32 * 6 - 18);
    let rows: Vec<Vec<f32>> = (0..ROWS)
        .map(|row| vector(row).iter().map(|x| x * scale(row)).collect())
        .collect();
    for quantization in Quantization::ALL {
        for metric in [Metric::Cosine, Metric::L2, Metric::Dot] {
            let replica = replica(&schema(VectorElement::F32, metric, quantization), &rows);
            let view = replica.reader().view();
            for row in (0..ROWS).step_by(1_009) {
                let found = ask(&view, &rows[row], |_| {});
                assert_eq!(found.batch.num_rows(), K, "{metric} {quantization} {row}");
                // Shorter ones drown in L2 distances to the longest, and in products with them.
                let stands_out = match metric {
                    Metric::Cosine => true,
                    Metric::L2 => row % 7 == 6,
                    Metric::Dot => false,
                };
                if stands_out {
                    assert_eq!(ids(&found)[0], row as u64, "{metric} {quantization}");
                }
            }
        }
    }
}
