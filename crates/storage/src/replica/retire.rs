//! When may the index forget a slot, and the map of ids a row? When no view can show them any more.
//!
//! A view that was taken before a row was replaced still shows the old version, and must find it. So a retired slot is
//! taken out of the index, and its row out of the map, only after the view that was replaced, and every view before it,
//! is gone.

use std::collections::VecDeque;
use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, Weak};

use longbow_index::VectorIndex;

use crate::View;
use crate::further::Further;
use crate::ids::{IdMap, Trace};

/// What waits for views to go.
#[derive(Default)]
pub(super) struct Retired {
    /// Retired since the last view was published.
    fresh: Rows,
    /// In order of age: the view that still shows the rows.
    waiting: VecDeque<(Weak<View>, Rows)>,
    /// Length after the last sweep: the views that were alive then.
    swept: usize,
}

/// Rows that are to be forgotten.
#[derive(Default)]
struct Rows {
    slots: Vec<u32>,
    /// Of further vector columns: which, and a slot there.
    further: Vec<(usize, u32)>,
    traces: Vec<Trace>,
}

impl Rows {
    fn extend(&mut self, others: Rows) {
        self.slots.extend(others.slots);
        self.further.extend(others.further);
        self.traces.extend(others.traces);
    }
}

/// A queue this long is swept, or one twice as long as it was after the last sweep.
const SWEEP_LEN_MIN: usize = 64;

impl Retired {
    /// Slots were retired by an entry that is not published yet.
    pub(super) fn add(&mut self, slots: &[u32]) {
        self.fresh.slots.extend_from_slice(slots);
    }

    /// A slot of a further vector column was retired with its row.
    pub(super) fn add_further(&mut self, column: usize, slot: u32) {
        self.fresh.further.push((column, slot));
    }

    /// Rows lost their ids by an entry that is not published yet.
    pub(super) fn lose(&mut self, traces: Vec<Trace>) {
        self.fresh.traces.extend(traces);
    }

    /// A view was replaced by one that does not show the retired rows.
    pub(super) fn replaced(&mut self, before: &Arc<View>) {
        // What a view that is gone holds up waits for the one before it. Most go soon, while they are the last.
        while self.waiting.len() > 1
            && self
                .waiting
                .back()
                .is_some_and(|(view, _)| view.strong_count() == 0)
        {
            let (_, rows) = self.waiting.pop_back().expect("there are two");
            self.waiting.back_mut().expect("there is one left").1.extend(rows);
        }
        // Also when nothing was retired: this view shows what is retired later.
        self.waiting
            .push_back((Arc::downgrade(before), std::mem::take(&mut self.fresh)));
        if self.waiting.len() > SWEEP_LEN_MIN.max(2 * self.swept) {
            self.sweep();
        }
    }

    /// Merges all views that are gone, wherever they stand, into those before them: the queue stays as long as views
    /// are many, whichever readers hold.
    fn sweep(&mut self) {
        let mut kept: VecDeque<(Weak<View>, Rows)> = VecDeque::new();
        for (view, rows) in self.waiting.drain(..) {
            match kept.back_mut() {
                Some((_, before)) if view.strong_count() == 0 => before.extend(rows),
                _ => kept.push_back((view, rows)),
            }
        }
        self.swept = kept.len();
        self.waiting = kept;
    }

    /// Takes out of the indexes and of the map what no view shows any more.
    pub(super) fn release(&mut self, index: &VectorIndex, further: &[Further], ids: &IdMap) {
        while let Some((view, rows)) = self.waiting.front() {
            if view.strong_count() > 0 {
                break;
            }
            // The count is read Relaxed. Pairs with the release of the last reader's drop: what readers of the view
            // read of a slot, they read before it is written again.
            fence(Ordering::Acquire);
            rows.slots.iter().for_each(|&slot| index.remove(slot));
            for &(column, slot) in &rows.further {
                further[column].index.remove(slot);
            }
            rows.traces.iter().for_each(|trace| ids.forget(trace));
            self.waiting.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Options, Projection, Replica, WriteKind, batch_to_ipc};
    use arrow::array::{ArrayRef, FixedSizeListArray, Float32Array, RecordBatch, UInt64Array};
    use arrow_schema::{DataType, Field};
    use longbow_types::schema::vector_type;
    use longbow_types::{Metric, Schema, VectorElement};

    fn schema() -> Schema {
        let fields = vec![
            Field::new("id", DataType::UInt64, false),
            Field::new("vector", vector_type(VectorElement::F32, 2), false),
        ];
        Schema::new(fields, "id", Metric::L2).unwrap()
    }

    fn upsert(replica: &mut Replica, index: u64, ids: &[u64]) {
        let DataType::FixedSizeList(item, size) = vector_type(VectorElement::F32, 2) else {
            unreachable!()
        };
        let elements = Float32Array::from_iter_values(ids.iter().flat_map(|&id| [id as f32, index as f32]));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(UInt64Array::from(ids.to_vec())),
            Arc::new(FixedSizeListArray::new(item, size, Arc::new(elements), None)),
        ];
        let batch = RecordBatch::try_new(schema().arrow().clone(), columns).unwrap();
        let body = batch_to_ipc(&batch).unwrap();
        replica
            .apply(index, WriteKind::Upsert, &body, ids.len() as u32)
            .unwrap();
        replica.publish();
    }

    fn delete(replica: &mut Replica, index: u64, ids: &[u64]) {
        let ids: ArrayRef = Arc::new(UInt64Array::from(ids.to_vec()));
        let batch = RecordBatch::try_from_iter_with_nullable([("id", Arc::clone(&ids), false)]).unwrap();
        let body = batch_to_ipc(&batch).unwrap();
        replica
            .apply(index, WriteKind::Delete, &body, ids.len() as u32)
            .unwrap();
        replica.publish();
    }

    #[test]
    fn the_map_of_ids_is_as_large_as_rows_are_many() {
        let mut replica = Replica::new(schema(), &Options::default(), 1);
        let all: Vec<u64> = (0..10).collect();
        upsert(&mut replica, 2, &all);
        let old = replica.reader().view();
        for round in 0..50 {
            // Replaced, deleted, deleted once more, and written again.
            upsert(&mut replica, 3 + 4 * round, &[1, 2, 2, 3]);
            delete(&mut replica, 4 + 4 * round, &[3, 4]);
            delete(&mut replica, 5 + 4 * round, &[4, 77]);
            upsert(&mut replica, 6 + 4 * round, &[4]);
        }
        assert!(replica.ids.known() > 200, "the first view still finds its rows");
        let column: ArrayRef = Arc::new(UInt64Array::from(all));
        let projection = Projection::new(old.layout(), &[], false).unwrap();
        assert_eq!(old.fetch(column.as_ref(), &projection).unwrap().num_rows(), 10);
        drop(old);
        // One publication to replace the newest view, and one that finds it gone.
        for index in [900, 901] {
            replica.advance(index);
            replica.publish();
        }
        assert_eq!(replica.reader().view().rows(), 9);
        assert_eq!(replica.ids.known(), 9);
    }

    #[test]
    fn the_queue_is_as_long_as_views_are_many() {
        let mut replica = Replica::new(schema(), &Options::default(), 1);
        // A reader that never ends, and short ones that each outlive the next publication.
        let first = replica.reader().view();
        let mut short = VecDeque::new();
        for index in 2..2_000 {
            short.push_back(replica.reader().view());
            if short.len() > 3 {
                short.pop_front();
            }
            replica.retired.add(&[index as u32]);
            replica.advance(index);
            replica.publish();
            let waiting = replica.retired.waiting.len();
            assert!(waiting <= SWEEP_LEN_MIN, "{waiting} wait for 4 views at {index}");
        }
        let held: usize = replica
            .retired
            .waiting
            .iter()
            .map(|(_, rows)| rows.slots.len())
            .sum();
        assert_eq!(held, 1_998, "the first view holds all of them up");
        drop((first, short));
        replica.advance(2_000);
        replica.publish();
        assert!(replica.retired.waiting.is_empty());
    }
}
