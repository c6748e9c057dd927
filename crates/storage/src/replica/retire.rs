//! When may the index forget a slot? When no view can show it any more.
//!
//! A view that was taken before a row was replaced still shows the old version, and must find it. So a retired slot is
//! taken out of the index only after the view that was replaced, and every view before it, is gone.

use std::collections::VecDeque;
use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, Weak};

use longbow_index::VectorIndex;

use crate::View;

/// Slots that wait for views to go.
#[derive(Default)]
pub(super) struct Retired {
    /// Retired since the last view was published.
    fresh: Vec<u32>,
    /// In order of age: the view that still shows the slots.
    waiting: VecDeque<(Weak<View>, Vec<u32>)>,
    /// Length after the last sweep: the views that were alive then.
    swept: usize,
}

/// A queue this long is swept, or one twice as long as it was after the last sweep.
const SWEEP_LEN_MIN: usize = 64;

impl Retired {
    /// A slot was retired by an entry that is not published yet.
    pub(super) fn add(&mut self, slots: &[u32]) {
        self.fresh.extend_from_slice(slots);
    }

    /// A view was replaced by one that does not show the retired slots.
    pub(super) fn replaced(&mut self, before: &Arc<View>) {
        // What a view that is gone holds up waits for the one before it. Most go soon, while they are the last.
        while self.waiting.len() > 1
            && self
                .waiting
                .back()
                .is_some_and(|(view, _)| view.strong_count() == 0)
        {
            let (_, slots) = self.waiting.pop_back().expect("there are two");
            self.waiting
                .back_mut()
                .expect("there is one left")
                .1
                .extend(slots);
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
        let mut kept: VecDeque<(Weak<View>, Vec<u32>)> = VecDeque::new();
        for (view, slots) in self.waiting.drain(..) {
            match kept.back_mut() {
                Some((_, before)) if view.strong_count() == 0 => before.extend(slots),
                _ => kept.push_back((view, slots)),
            }
        }
        self.swept = kept.len();
        self.waiting = kept;
    }

    /// Takes out of the index what no view shows any more.
    pub(super) fn release(&mut self, index: &VectorIndex) {
        while let Some((view, slots)) = self.waiting.front() {
            if view.strong_count() > 0 {
                break;
            }
            // The count is read Relaxed. Pairs with the release of the last reader's drop: what readers of the view
            // read of a slot, they read before it is written again.
            fence(Ordering::Acquire);
            slots.iter().for_each(|&slot| index.remove(slot));
            self.waiting.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Options, Replica};
    use arrow_schema::{DataType, Field};
    use longbow_types::schema::vector_type;
    use longbow_types::{Metric, Schema, VectorElement};

    #[test]
    fn the_queue_is_as_long_as_views_are_many() {
        let fields = vec![
            Field::new("id", DataType::UInt64, false),
            Field::new("vector", vector_type(VectorElement::F32, 2), false),
        ];
        let schema = Schema::new(fields, "id", Metric::L2).unwrap();
        let mut replica = Replica::new(schema, &Options::default(), 1);
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
        let held: usize = replica.retired.waiting.iter().map(|(_, slots)| slots.len()).sum();
        assert_eq!(held, 1_998, "the first view holds all of them up");
        drop((first, short));
        replica.advance(2_000);
        replica.publish();
        assert!(replica.retired.waiting.is_empty());
    }
}
