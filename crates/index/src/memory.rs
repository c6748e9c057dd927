//! How many bytes of memory does an index take, and for what?

use crate::{context::Context, hnsw::Hnsw, space::Points, store::Store, visited::Visited};

/// Bytes of memory that an index takes. Rows that are not linked yet count with the links that they will have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Memory {
    /// The vectors.
    pub vectors: usize,
    /// Codes of the vectors, of both kinds while they are made anew.
    pub codes: usize,
    /// The graph, and what is known of each slot.
    pub graph: usize,
    /// What searches and insertions left for those that come after them.
    pub scratch: usize,
    /// Of the above, what one more slot takes.
    pub slot: usize,
}

impl<S: Points> Hnsw<S> {
    /// Cheap, but for an image: then a bit for each of its pages is looked at.
    pub(crate) fn memory(&self) -> Memory {
        let (vectors, vector) = self.points.rows().memory();
        let (codes, code) = self.points.code_memory();
        let of_slots = [self.waiting.memory(), self.removed.memory(), self.gone.memory()];
        let resting = self.contexts.resting() * size_of::<Context<S>>()
            + self.exact_contexts.resting() * size_of::<Context<Store>>();
        let count = self.contexts.resting() + self.exact_contexts.resting();
        Memory {
            vectors,
            codes,
            graph: self.graph.memory() + of_slots.iter().sum::<usize>() + self.vacuum.memory(),
            scratch: resting + count * Visited::bytes(self.len()),
            slot: vector + code + self.graph.node_bytes(),
        }
    }
}
