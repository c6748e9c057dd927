//! Exact search returns the true neighbours, for every element type and metric.

use std::cell::Cell;

use longbow_index::{
    Bitset, Element, Error, Metric, Mode, Params, Quantization, QueryVector, REALS_MAX, RangeParams,
    SearchError, SearchParams, VectorIndex,
};

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
    assert_eq!(answer.unwrap_err(), SearchError::Cancelled);
}

#[test]
fn rows_inserted_are_refused_as_they_were_given() {
    let index = VectorIndex::new(Params::new(Element::F32, Metric::L2, 3));
    index.append(&[0; 120]).unwrap();
    (0..10).for_each(|slot| index.remove(slot));
    while index.free() < 10 {
        index.link(10);
        index.vacuum(10);
    }
    let (error, mut slots) = (index.insert(&[0; 13], &mut vec![]), vec![]);
    let (bytes, row_bytes) = (13, 12);
    assert_eq!(error, Err(Error::Ragged { bytes, row_bytes }));
    assert_eq!(index.free(), 10);
    index.insert(&[0; 24], &mut slots).unwrap();
    assert_eq!((slots.len(), index.free(), index.len()), (2, 8, 10));
}

#[test]
fn the_longer_rows_are_the_more_often_is_asked_whether_to_go_on() {
    const ALL: usize = 32 << 20;
    for dimension in [32, 2_048, 32_768, 262_144] {
        let index = VectorIndex::new(Params::new(Element::F32, Metric::L2, dimension));
        index.append(&vec![0; ALL]).unwrap();
        let rows = index.len() as usize;
        let asked = Cell::new(0);
        let cancel = || {
            asked.set(asked.get() + 1);
            false
        };
        let params = SearchParams {
            k: 1,
            ef: 0,
            mode: Mode::Exact,
        };
        let query = vec![1.0f32; dimension];
        let answer = index.search(&query, &params, &Bitset::full(rows), &cancel);
        assert_eq!(answer.unwrap().1.distances, rows as u64);
        // Once for every 8 MiB that are read.
        assert!(asked.get() > ALL / (8 << 20), "{dimension}: {asked:?}");
        asked.set(0);
        let (all, mut answers) = (Bitset::full(rows), vec![]);
        index
            .search_batch(&[&query[..]; 3], &params, &all, &cancel, &mut answers)
            .unwrap();
        assert!(asked.get() > 3 * ALL / (8 << 20), "{dimension}: {asked:?}");
    }
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

#[test]
fn a_query_is_as_long_as_a_row() {
    let index = VectorIndex::new(Params::new(Element::Complex64, Metric::L2, 2));
    index.append(&[0; 32]).unwrap();
    let params = SearchParams {
        k: 1,
        ef: 0,
        mode: Mode::Auto,
    };
    let range = RangeParams {
        radius: 1.0,
        limit: 1,
        ef: 0,
        mode: Mode::Auto,
    };
    let (all, go_on) = (Bitset::full(2), || false);
    for wrong in [&[][..], &[1.0; 3], &[1.0; 5]] {
        let error = SearchError::Dimension {
            expected: 4,
            found: wrong.len(),
        };
        assert_eq!(index.search(wrong, &params, &all, &go_on).unwrap_err(), error);
        let mut out = vec![];
        assert_eq!(
            index.search_range(wrong, &range, &all, &go_on, &mut out),
            Err(error)
        );
        assert_eq!(index.scan(wrong, 1, 0..2, &all, &go_on, &mut out), Err(error));
        let (right, mut answers) = (&[0.0f32; 4][..], vec![]);
        let asked = index.search_batch(&[right, wrong], &params, &all, &go_on, &mut answers);
        assert_eq!(asked, Err(error));
        // What was found before is not the answer.
        out = index.search(right, &params, &all, &go_on).unwrap().0;
        assert_eq!(out.len(), 1);
        let asked = index.search_into(wrong, &params, &all, &go_on, &mut out);
        assert_eq!((asked.unwrap_err(), out.len()), (error, 0));
    }
    assert_eq!(
        index.search(&[0.0f32; 4], &params, &all, &go_on).unwrap().0.len(),
        1
    );
    assert_eq!(
        index.search(&[0.0f64; 4], &params, &all, &go_on).unwrap().0.len(),
        1
    );
    let of_bytes = |bytes| {
        let row = vec![0; bytes];
        index
            .search(QueryVector::Row(&row), &params, &all, &go_on)
            .unwrap_err()
    };
    for (bytes, found) in [(0, 0), (12, 3), (20, 5)] {
        assert_eq!(of_bytes(bytes), SearchError::Dimension { expected: 4, found });
    }
    for found in [15, 17] {
        assert_eq!(of_bytes(found), SearchError::Ragged { expected: 16, found });
    }
}

#[test]
fn vectors_longer_than_any_are_refused_before_memory_is_asked_for() {
    for (element, dimension) in [
        (Element::F32, REALS_MAX + 1),
        (Element::Complex64, REALS_MAX / 2 + 1),
        (Element::F32, 1 << 40),
        (Element::Complex128, 1 << 61),
        (Element::Complex128, usize::MAX),
    ] {
        let params = Params::new(element, Metric::L2, dimension);
        for codes in [Quantization::None, Quantization::Sq8, Quantization::Bit1] {
            let error = VectorIndex::try_new(params, codes).err();
            let limit = REALS_MAX;
            assert_eq!(error, Some(Error::TooLong { dimension, limit }));
        }
    }
}
