//! An index that was written and opened again is the index it was, and lives on.

use longbow_index::{
    Bitset, Element, HOLE, Metric, Mode, Params, Quantization, SearchParams, VectorIndex, Way, verify_image,
};
use rand::{SeedableRng, rngs::SmallRng, seq::SliceRandom};

use crate::{
    churn::Table,
    support::{bytes, check, clustered, image, memory, opened},
};

const QUANTIZATIONS: [Quantization; 4] = [
    Quantization::None,
    Quantization::Sq8,
    Quantization::Sq4,
    Quantization::Bit1,
];

/// So many that they are not simply scanned.
const ROWS: usize = 1_800;

/// Removed, freed, used again, waiting, and not linked slots, a few of each; returns those that hold a row.
fn lived_in(params: Params, quantization: Quantization) -> (VectorIndex, Bitset) {
    let index = VectorIndex::with_quantization(params, quantization);
    let reals = params.dimension * params.element.reals();
    let rows = |count, seed| bytes(&clustered(count, reals, seed), params.element);
    index.append(&rows(ROWS, 1)).unwrap();
    while index.link(100) > 0 {}
    (0..60).for_each(|slot| index.remove(slot * 5));
    while index.free() < 60 {
        if index.vacuum(1_000) == 0 {
            std::thread::yield_now();
        }
    }
    let mut slots = Vec::new();
    index.insert(&rows(40, 2), &mut slots).unwrap();
    index.link(25);
    index.append(&rows(20, 3)).unwrap();
    index.remove(7);
    let mut live = Bitset::full(index.len() as usize);
    (0..60)
        .map(|slot| slot * 5)
        .filter(|slot| !slots.contains(slot))
        .chain([7])
        .for_each(|slot| live.clear(slot as usize));
    (index, live)
}

/// Answers of all kinds, with what they cost.
fn answers(index: &VectorIndex, allow: &Bitset) -> Vec<String> {
    let params = index.params();
    let queries = clustered(8, params.dimension * params.element.reals(), 4);
    let one_in_nine: Bitset = allow.iter().filter(|slot| slot % 9 == 1).collect();
    let mut answers = Vec::new();
    for mode in [Mode::Auto, Mode::FullPrecision, Mode::Exact] {
        for allow in [allow, &one_in_nine] {
            for query in &queries {
                let params = SearchParams { k: 4, ef: 4, mode };
                let (found, stats) = index.search(query, &params, allow, &|| false).unwrap();
                check(&found, allow);
                assert_eq!(
                    stats.way == Way::Scan,
                    mode == Mode::Exact || allow.count() < 1_000,
                    "{stats:?}"
                );
                let found: Vec<_> = found.iter().map(|n| (n.slot, n.distance.to_bits())).collect();
                answers.push(format!("{found:?} {stats:?}"));
            }
        }
    }
    answers
}

#[test]
fn every_kind_of_index_answers_as_before() {
    for element in Element::ALL {
        for metric in [Metric::Cosine, Metric::L2, Metric::Dot] {
            for quantization in QUANTIZATIONS {
                let params = Params {
                    m: 6,
                    ef_construction: 40,
                    seed: 9,
                    ..Params::new(element, metric, 34)
                };
                let (index, live) = lived_in(params, quantization);
                let written = image(&index);
                let again = opened(&written);
                assert_eq!(again.params(), index.params());
                assert_eq!(again.quantization(), quantization);
                assert_eq!(
                    (again.len(), again.linked(), again.free()),
                    (index.len(), index.linked(), index.free())
                );
                assert_eq!(answers(&again, &live), answers(&index, &live));
                assert_eq!(image(&again), written, "{element:?} {metric:?} {quantization:?}");
                for slot in live.iter() {
                    let (mut before, mut after) = (Vec::new(), Vec::new());
                    index.vector(slot as u32, &mut before);
                    again.vector(slot as u32, &mut after);
                    assert_eq!(before, after);
                }
                // What waited is linked, where it waited.
                while again.link(10) + index.link(10) > 0 {}
                assert_eq!(again.linked(), again.len());
            }
        }
    }
}

#[test]
fn empty_and_unlinked_indexes_come_back() {
    let params = Params::new(Element::F32, Metric::L2, 5);
    let empty = opened(&image(&VectorIndex::new(params)));
    assert!(empty.is_empty());
    let rows = clustered(300, 5, 5);
    empty.append(&bytes(&rows, Element::F32)).unwrap();
    let unlinked = opened(&image(&empty));
    assert_eq!((unlinked.len(), unlinked.linked()), (300, 0));
    while unlinked.link(100) > 0 {}
    let all = Bitset::full(300);
    for (slot, row) in rows.iter().enumerate() {
        let params = SearchParams {
            k: 1,
            ef: 32,
            mode: Mode::Auto,
        };
        let (found, _) = unlinked.search(row, &params, &all, &|| false).unwrap();
        assert_eq!(found[0].slot as usize, slot);
    }
}

#[test]
fn what_lies_beyond_is_left_out() {
    let index = VectorIndex::new(Params::new(Element::F32, Metric::L2, 24));
    index
        .append(&bytes(&clustered(5_000, 24, 6), Element::F32))
        .unwrap();
    while index.link(100) > 0 {}
    let mut out = Vec::new();
    let summary = index.write_image(2_500, &mut out).unwrap();
    assert_eq!((summary.slots, summary.linked), (2_500, 2_500));
    assert!(summary.links_dropped > 0);
    let part = opened(&out);
    assert_eq!(part.len(), 2_500);
    // Nodes that only led there through the others are searched too.
    let table = Table {
        index: part,
        rows: clustered(5_000, 24, 6)
            .into_iter()
            .take(2_500)
            .map(Some)
            .collect(),
        removed: 0,
    };
    assert_eq!(table.lost(), 0);
    table.link();
    assert_eq!(table.lost(), 0);
}

impl Table {
    /// The same in an index that was written and opened.
    fn reopened(self) -> Table {
        Table {
            index: opened(&image(&self.index)),
            ..self
        }
    }
}

#[test]
fn rows_come_and_go_across_images() {
    const ROWS: usize = 3_000;
    for quantization in QUANTIZATIONS {
        let mut pool = clustered(3 * ROWS, 24, 51);
        let queries = clustered(100, 24, 52);
        let mut rng = SmallRng::seed_from_u64(53);
        let spare = pool.split_off(ROWS);
        let mut spare = spare.chunks(ROWS / 5);
        let mut table = Table::new(quantization, &pool);
        // One that is written and opened all the time, and one that is not.
        let mut twin = Table::new(quantization, &pool);
        for round in 0..8 {
            let mut slots: Vec<u32> = table.live().iter().map(|slot| slot as u32).collect();
            slots.shuffle(&mut rng);
            let new = spare.next().unwrap();
            for table in [&mut table, &mut twin] {
                slots[..ROWS / 5].iter().for_each(|&slot| table.remove(slot));
                // In the middle of a pass, too.
                table.index.vacuum(round * ROWS / 3);
            }
            table = table.reopened();
            for table in [&mut table, &mut twin] {
                table.vacuum();
                table.insert(new);
                table.index.link(round * 100);
            }
            table = table.reopened();
            [&table, &twin].iter().for_each(|table| table.link());
            assert_eq!(table.index.len() as usize, ROWS);
            assert_eq!(table.rows, twin.rows);
        }
        assert_eq!(table.lost(), 0);
        let ((recall, distances), (twin_recall, twin_distances)) =
            (table.measure(&queries), twin.measure(&queries));
        assert!(recall >= twin_recall - 0.01, "{recall}, twin {twin_recall}");
        assert!(
            distances <= 1.02 * twin_distances,
            "{distances}, twin {twin_distances}"
        );
        // And it grows beyond what was mapped.
        let mut table = table.reopened();
        table.insert(&queries);
        table.insert(&clustered(1_000, 24, 54));
        table.link();
        assert_eq!(table.index.len() as usize, ROWS + 1_100);
        assert_eq!(table.lost(), 0);
    }
}

#[test]
fn a_mapped_file_is_not_changed() {
    let (index, live) = lived_in(Params::new(Element::F32, Metric::Cosine, 40), Quantization::Sq8);
    let written = image(&index);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image");
    std::fs::write(&path, &written).unwrap();
    let file = std::fs::File::open(&path).unwrap();
    // SAFETY: the file is this test's own, and nobody changes it.
    let map = unsafe { memmap2::MmapOptions::new().map_copy(&file).unwrap() };
    let mapped = VectorIndex::from_image(map).unwrap();
    assert_eq!(answers(&mapped, &live), answers(&index, &live));
    while mapped.link(100) > 0 {}
    let mut slots = Vec::new();
    let rows = bytes(&clustered(100, 40, 6), Element::F32);
    mapped.insert(&rows, &mut slots).unwrap();
    while mapped.link(100) > 0 {}
    assert_ne!(image(&mapped), written);
    assert_eq!(std::fs::read(&path).unwrap(), written);
}

#[test]
fn an_image_of_memory_that_lies_badly_is_refused() {
    let written = image(&VectorIndex::new(Params::new(Element::F32, Metric::L2, 4)));
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut shifted = vec![0; 8];
    shifted.extend_from_slice(&written);
    std::fs::write(file.path(), &shifted).unwrap();
    // SAFETY: the file is this test's own, and nobody changes it.
    let map = unsafe { memmap2::MmapOptions::new().offset(8).map_copy(file.as_file()) }.unwrap();
    let error = VectorIndex::from_image(map).err().unwrap();
    assert_eq!(error, longbow_index::ImageError::Misaligned);
    drop(memory(&written));
}

#[test]
fn slots_may_lie_in_another_order() {
    for quantization in QUANTIZATIONS {
        let rows = clustered(3_000, 40, 81);
        let queries = clustered(60, 40, 82);
        let mut table = Table::new(quantization, &rows);
        (0..500).for_each(|slot| table.remove(slot * 3));
        table.vacuum();
        table.insert(&clustered(100, 40, 84));
        table.index.link(50);
        let order = table.index.locality_order();
        // Everything but what is free.
        let mut sorted = order.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!((sorted.len(), order.len()), (2_600, 2_600));
        assert!(order.iter().all(|&slot| table.rows[slot as usize].is_some()));

        let mut out = Vec::new();
        let summary = table.index.write_image_in_order(&order, &mut out).unwrap();
        assert_eq!(
            (summary.slots, summary.linked, summary.unlinked),
            (2_600, 2_550, 50)
        );
        assert_eq!((summary.free, summary.links_dropped), (0, 0));
        assert_eq!(verify_image(&out, &|| false), Ok(true));
        let mut ordered = Table {
            index: opened(&out),
            rows: order
                .iter()
                .map(|&slot| table.rows[slot as usize].clone())
                .collect(),
            removed: 0,
        };
        // The same graph under other names: the same work, the same distances.
        let params = SearchParams {
            k: 10,
            ef: 12,
            mode: Mode::Auto,
        };
        for query in &queries {
            let ask = |table: &Table| {
                let (found, stats) = table
                    .index
                    .search(query, &params, &table.live(), &|| false)
                    .unwrap();
                let distances: Vec<u32> = found.iter().map(|found| found.distance.to_bits()).collect();
                assert_eq!(stats.way, Way::Beam);
                (distances, stats.distances)
            };
            assert_eq!(ask(&ordered), ask(&table));
        }
        assert!(ordered.lost() <= 2, "{} lost", ordered.lost());
        ordered.link();
        ordered.insert(&clustered(500, 40, 83));
        ordered.link();
        assert!(ordered.lost() <= 2, "{} lost", ordered.lost());

        for wrong in [vec![1, 1], vec![3_000]] {
            let error = table
                .index
                .write_image_in_order(&wrong, &mut Vec::new())
                .unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
        }
    }
}

#[test]
fn holes_of_an_order_are_free_slots() {
    for quantization in QUANTIZATIONS {
        let rows = clustered(1_000, 40, 87);
        let mut table = Table::new(quantization, &rows);
        table.insert(&clustered(30, 40, 88));
        // Every third slot of the image is nobody's, also behind the last linked one.
        let order: Vec<u32> = (0..1_030)
            .flat_map(|slot| [Some(slot), (slot % 2 == 1).then_some(HOLE)])
            .flatten()
            .collect();
        let mut out = Vec::new();
        let summary = table.index.write_image_in_order(&order, &mut out).unwrap();
        assert_eq!(
            (summary.slots, summary.linked, summary.unlinked, summary.free),
            (1_545, 1_000, 30, 515)
        );
        assert_eq!(verify_image(&out, &|| false), Ok(true));
        let row_of = |&slot: &u32| table.rows.get(slot as usize).cloned().flatten();
        let mut holed = Table {
            index: opened(&out),
            rows: order.iter().map(row_of).collect(),
            removed: 515,
        };
        assert_eq!((holed.index.free(), holed.index.holds(2)), (515, false));
        assert!(holed.lost() <= 2, "{} lost", holed.lost());
        holed.link();
        holed.insert(&clustered(515, 40, 89));
        assert_eq!((holed.index.free(), holed.index.len()), (0, 1_545));
        let mark = holed.index.mark();
        assert!(!holed.index.passed(mark));
        holed.link();
        assert!(holed.index.passed(mark));
        assert!(holed.lost() <= 2, "{} lost", holed.lost());
    }
}

#[test]
fn lists_are_mended_around_slots_that_an_image_leaves_out() {
    for quantization in QUANTIZATIONS {
        let (rows, queries) = (clustered(6_000, 40, 85), clustered(100, 40, 86));
        let table = Table::new(quantization, &rows);
        let half: Vec<u32> = (0..6_000).filter(|slot| slot % 2 == 0).collect();
        let mut out = Vec::new();
        let summary = table.index.write_image_in_order(&half, &mut out).unwrap();
        assert!(summary.links_dropped > 3_000);
        let left = Table {
            index: opened(&out),
            rows: half
                .iter()
                .map(|&slot| Some(rows[slot as usize].clone()))
                .collect(),
            removed: 0,
        };
        assert!(left.lost() <= 3, "{} lost", left.lost());
        left.link();
        assert!(left.lost() <= 3, "{} lost", left.lost());
        let rows: Vec<Vec<f32>> = left.rows.iter().flatten().cloned().collect();
        let ((recall, distances), (fresh_recall, fresh_distances)) = (
            left.measure(&queries),
            Table::new(quantization, &rows).measure(&queries),
        );
        assert!(
            recall >= fresh_recall - 0.025,
            "{quantization:?} {recall}, fresh {fresh_recall}"
        );
        assert!(
            distances <= fresh_distances,
            "{quantization:?} {distances}, fresh {fresh_distances}"
        );
    }
}
