//! Appending, linking, removing and searching at the same time.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use longbow_index::{Bitset, Element, Metric, Mode, Params, SearchParams, VectorIndex};

use crate::support::{Linked, StopIfPanicking, bytes, check, clustered};

const ROWS: usize = 8_000;
const DIMENSION: usize = 16;

#[test]
fn answers_hold_while_everything_goes_on() {
    let rows = clustered(ROWS, DIMENSION, 31);
    let index = VectorIndex::new(Params::new(Element::F16, Metric::Cosine, DIMENSION));
    let (appended, stopped) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let _stop = StopIfPanicking(&stopped);
        scope.spawn(|| {
            let _stop = StopIfPanicking(&stopped);
            for part in rows.chunks(37) {
                index.append(&bytes(part, Element::F16)).unwrap();
                let len = appended.fetch_add(part.len(), Ordering::Release) + part.len();
                // Some rows go again.
                (len - part.len()..len)
                    .filter(|row| row % 10 == 3)
                    .for_each(|row| index.remove(row as u32));
            }
        });
        let linkers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let _stop = StopIfPanicking(&stopped);
                    while (index.linked() as usize) < ROWS && !stopped.load(Ordering::Relaxed) {
                        if index.link(16) == 0 {
                            std::thread::yield_now();
                        }
                    }
                })
            })
            .collect();
        for part in 0..3 {
            let (index, rows, appended, stopped) = (&index, &rows, &appended, &stopped);
            scope.spawn(move || {
                let mut asked = part;
                while !stopped.load(Ordering::Relaxed) {
                    let visible = appended.load(Ordering::Acquire);
                    let allow: Bitset = (0..visible).filter(|row| row % 10 != 3).collect();
                    for (k, share) in [(10, 1), (10, 5), (50, 2)] {
                        let allow: Bitset = allow.iter().filter(|row| row % share == 0).collect();
                        let params = SearchParams {
                            k,
                            ef: 0,
                            mode: Mode::Auto,
                        };
                        let query = &rows[asked * 7919 % ROWS];
                        let (found, _) = index.search(query, &params, &allow, &|| false).unwrap();
                        assert_eq!(found.len(), k.min(allow.count()));
                        check(&found, &allow);
                        asked += 1;
                    }
                }
            });
        }
        linkers.into_iter().for_each(|linker| linker.join().unwrap());
        stopped.store(true, Ordering::Relaxed);
    });
    assert_eq!(index.linked() as usize, ROWS);
    let live: Bitset = (0..ROWS).filter(|row| row % 10 != 3).collect();
    let linked = Linked {
        index,
        rows: rows.clone().into(),
    };
    let recall = linked.recall(&clustered(50, DIMENSION, 32), 10, 0, &live);
    assert!(recall >= 0.97, "{recall}");
    let lost = live.iter().filter(|&row| {
        let params = SearchParams {
            k: 1,
            ef: 64,
            mode: Mode::Auto,
        };
        linked
            .index
            .search(&rows[row], &params, &live, &|| false)
            .unwrap()
            .0[0]
            .slot as usize
            != row
    });
    let lost = lost.count();
    assert!(lost * 1000 <= ROWS, "{lost} rows do not find themselves");
}
