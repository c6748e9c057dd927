//! What a walk on the base level may come to.

use longbow_kernels::Bitset;

use crate::graph::Graph;

/// A look at everything that links lead to from the entry, a part at a time.
pub(crate) struct Reach {
    /// Reached and not yet expanded.
    open: Vec<u32>,
    reached: Bitset,
}

impl Reach {
    /// Begins at the entry; slots at or beyond `end` are nobody's way.
    pub(crate) fn of(graph: &Graph, end: u32) -> Self {
        let mut reach = Self {
            open: Vec::new(),
            reached: Bitset::new(end as usize),
        };
        if let Some(entry) = graph.entry() {
            reach.arrive(entry.slot);
        }
        reach
    }

    fn arrive(&mut self, slot: u32) {
        let at = slot as usize;
        if at < self.reached.len() && !self.reached.get(at) {
            self.reached.set(at);
            self.open.push(slot);
        }
    }

    /// Follows the links of up to `max` nodes and says of how many.
    pub(crate) fn expand(&mut self, graph: &Graph, max: usize) -> usize {
        for expanded in 0..max {
            let Some(slot) = self.open.pop() else {
                return expanded;
            };
            graph.neighbors(0, slot, |neighbor| self.arrive(neighbor));
        }
        max
    }

    /// Whether all links were followed.
    pub(crate) fn is_over(&self) -> bool {
        self.open.is_empty()
    }

    /// Slots that nothing has led to.
    pub(crate) fn missed(&self) -> impl Iterator<Item = u32> {
        (0..self.reached.len())
            .filter(|&slot| !self.reached.get(slot))
            .map(|slot| slot as u32)
    }
}
