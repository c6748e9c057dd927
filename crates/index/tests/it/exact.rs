//! Exact search returns the true neighbours, for every element type and metric.

use longbow_index::{Bitset, Cancelled, Element, Error, Metric, Mode, Params, SearchParams, VectorIndex};

use crate::support::{assert_exact, bytes, clustered, plain, search};

#[test]
fn finds_the_true_neighbours_of_every_type() {
    for element in [Element::F16, Element::BF16, Element::F32, Element::F64] {
        for metric in [Metric::Cosine, Metric::L2, Metric::Dot] {
            for dimension in [1, 7, 33, 100] {
                let params = Params::new(element, metric, dimension);
                let (rows, queries) = (clustered(300, dimension, 1), clustered(5, dimension, 2));
                let index = VectorIndex::new(params);
                assert_eq!(index.append(&bytes(&rows, element)).unwrap(), 0..300);
                let allow: Bitset = (0..300).filter(|slot| slot % 3 != 0).collect();
                for query in &queries {
                    for k in [1, 10, 400] {
                        let expected = plain(&params, &rows, query, k, &allow);
                        assert_exact(&search(&index, query, k, Mode::Exact, &allow), &expected);
                    }
                }
            }
        }
    }
}

#[test]
fn gives_back_the_bytes_it_took() {
    let rows = clustered(3, 5, 3);
    for metric in [Metric::Cosine, Metric::L2] {
        let index = VectorIndex::new(Params::new(Element::F16, metric, 5));
        let given = bytes(&rows, Element::F16);
        index.append(&given).unwrap();
        let mut taken = Vec::new();
        assert!((0..3).all(|slot| index.vector(slot, &mut taken)));
        assert_eq!(taken, given);
    }
}

#[test]
fn refuses_ragged_rows_and_stops_when_told() {
    let index = VectorIndex::new(Params::new(Element::F32, Metric::L2, 3));
    let error = index.append(&[0; 13]).unwrap_err();
    assert_eq!(
        error,
        Error::Ragged {
            bytes: 13,
            row_bytes: 12
        }
    );
    assert!(index.is_empty());
    index.append(&[0; 24]).unwrap();
    let params = SearchParams {
        k: 1,
        ef: 0,
        mode: Mode::Exact,
    };
    let answer = index.search(&[0.0; 3], &params, &Bitset::full(2), &|| true);
    assert_eq!(answer.unwrap_err(), Cancelled);
}

#[test]
fn zero_vectors_and_empty_sets_have_answers() {
    let index = VectorIndex::new(Params::new(Element::F32, Metric::Cosine, 2));
    assert!(search(&index, &[1.0, 0.0], 5, Mode::Auto, &Bitset::full(9)).is_empty());
    index
        .append(&bytes(&[vec![0.0, 0.0], vec![2.0, 0.0]], Element::F32))
        .unwrap();
    let found = search(&index, &[3.0, 0.0], 5, Mode::Auto, &Bitset::full(9));
    assert_eq!(
        found.iter().map(|n| (n.slot, n.distance)).collect::<Vec<_>>(),
        [(1, 0.0), (0, 1.0)]
    );
    assert!(search(&index, &[3.0, 0.0], 5, Mode::Auto, &Bitset::new(0)).is_empty());
    assert_eq!(
        search(&index, &[0.0, 0.0], 1, Mode::Exact, &Bitset::full(2))[0].distance,
        1.0
    );
}
