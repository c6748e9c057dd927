//! When may the index forget a slot? When no view can show it any more.
//!
//! A view that was taken before a row was replaced still shows the old version, and must find it. So a retired slot is
//! taken out of the index only after the view that was replaced, and every view before it, is gone.

use std::collections::VecDeque;
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
}

impl Retired {
    /// A slot was retired by an entry that is not published yet.
    pub(super) fn add(&mut self, slots: &[u32]) {
        self.fresh.extend_from_slice(slots);
    }

    /// A view was replaced by one that does not show the retired slots.
    pub(super) fn replaced(&mut self, before: &Arc<View>) {
        // What a view that is gone holds up waits for the one before it: the queue is as long as views are many.
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
    }

    /// Takes out of the index what no view shows any more.
    pub(super) fn release(&mut self, index: &VectorIndex) {
        while let Some((view, slots)) = self.waiting.front() {
            if view.strong_count() > 0 {
                break;
            }
            slots.iter().for_each(|&slot| index.remove(slot));
            self.waiting.pop_front();
        }
    }
}
