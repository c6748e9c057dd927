//! Which candidates become links: the diversity rule of HNSW (Malkov & Yashunin, algorithm 4).

use crate::{
    key::{Key, distance_of, slot_of},
    space::Space,
};

/// Candidates compared with the selection at a time, so that a rejected one costs few distances.
const STRIDE: usize = 4;

/// Scratch of [`select`].
pub(crate) struct Selector<S: Space> {
    candidate: S::Query,
    /// What was selected.
    pub(crate) links: Vec<u32>,
}

impl<S: Space> Default for Selector<S> {
    fn default() -> Self {
        Self {
            candidate: S::Query::default(),
            links: Vec::new(),
        }
    }
}

impl<S: Space> Selector<S> {
    /// Selects at most `max` of the candidates, sorted by distance to their common centre: a candidate is kept if
    /// it is nearer to the centre than to anything kept before. Returns the number of distances computed.
    pub(crate) fn select(&mut self, space: &S, candidates: &[Key], max: usize) -> usize {
        self.links.clear();
        self.extend(space, candidates, max)
    }

    /// As [`Selector::select`], beside what is in `links` already.
    pub(crate) fn extend(&mut self, space: &S, candidates: &[Key], max: usize) -> usize {
        let mut computed = 0;
        for &key in candidates {
            if self.links.len() >= max {
                break;
            }
            let slot = slot_of(key);
            if !self.links.is_empty() {
                space.prepare_slot(slot, &mut self.candidate);
            }
            let near = distance_of(key);
            let mut diverse = true;
            for kept in self.links.chunks(STRIDE) {
                let mut distances = [0.0; STRIDE];
                space.distances(&self.candidate, kept, &mut distances[..kept.len()]);
                computed += kept.len();
                if distances[..kept.len()].iter().any(|&d| d < near) {
                    diverse = false;
                    break;
                }
            }
            if diverse {
                self.links.push(slot);
            }
        }
        computed
    }
}
