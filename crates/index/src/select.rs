//! Which candidates become links: the diversity rule of HNSW (Malkov & Yashunin, algorithm 4).

use crate::{
    key::{Key, distance_of, slot_of},
    space::Space,
};

/// Candidates compared with the selection at a time, so that a rejected one costs few distances.
const STRIDE: usize = 4;
/// Links of a new point to points equal to it: they put it on a path, and the other links lead away.
const OWN_TWINS: usize = 2;

/// Which candidates are equal to the centre, and how many links they may have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Twins {
    /// Candidates no farther from the centre are equal to it.
    pub(crate) distance: f32,
    pub(crate) max: usize,
}

impl Twins {
    /// For the links of a new point.
    pub(crate) fn own(distance: f32) -> Self {
        let max = OWN_TWINS;
        Self { distance, max }
    }

    /// For links that a point has already, of which half may lead to equal points before any is given up.
    pub(crate) fn kept(distance: f32, capacity: usize) -> Self {
        let max = capacity / 2;
        Self { distance, max }
    }

    /// How many of the candidates, sorted by distance, are equal to the centre.
    pub(crate) fn among(&self, candidates: &[Key]) -> usize {
        candidates.partition_point(|&key| distance_of(key) <= self.distance)
    }
}

/// Scratch of [`Selector::select`].
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
    ///
    /// Diversity says nothing of candidates that are equal to the centre: the latest few are kept, the others dropped.
    pub(crate) fn select(&mut self, space: &S, candidates: &[Key], max: usize, twins: Twins) -> usize {
        self.links.clear();
        self.extend(space, candidates, max, twins, 0)
    }

    /// As [`Selector::select`], beside what is in `links` already, the first `present` of which are equal to the centre.
    pub(crate) fn extend(
        &mut self,
        space: &S,
        candidates: &[Key],
        max: usize,
        twins: Twins,
        present: usize,
    ) -> usize {
        let (equal, others) = candidates.split_at(twins.among(candidates));
        let room = max.saturating_sub(self.links.len());
        let added = twins.max.saturating_sub(present).min(room).min(equal.len());
        let latest = equal[equal.len() - added..].iter().map(|&key| slot_of(key));
        self.links.splice(present..present, latest);
        self.diverse(space, others, max, present + added)
    }

    /// Adds candidates that are nearer to the centre than to any link after the first `twins`.
    fn diverse(&mut self, space: &S, candidates: &[Key], max: usize, twins: usize) -> usize {
        let mut computed = 0;
        for &key in candidates {
            if self.links.len() >= max {
                break;
            }
            let slot = slot_of(key);
            if self.links.len() > twins {
                space.prepare_slot(slot, &mut self.candidate);
            }
            let near = distance_of(key);
            let mut diverse = true;
            for kept in self.links[twins..].chunks(STRIDE) {
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
