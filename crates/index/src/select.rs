//! Which candidates become links: the diversity rule of HNSW (Malkov & Yashunin, algorithm 4).

use crate::{
    key::{Key, distance_of, slot_of},
    space::Space,
};

/// Candidates compared with the selection at a time, so that a rejected one costs few distances.
const STRIDE: usize = 4;
/// Links of a new point to points equal to it: they put it on a path, and the other links lead away.
const OWN_TWINS: usize = 2;
/// Links are few below one in so many of a list's places.
const FEW_SHARE: usize = 2;
/// A link is central if it hides all but one in so many of the candidates that are passed over.
const SPARED_SHARE: usize = 8;
/// And so many of them.
const HIDDEN_MIN: usize = 8;
/// What lies so many times nearer to a central link than to the centre is left to it; in distances that are squares.
const NEARER_TIMES: f32 = 4.0;

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
    /// How many candidates each of those that others are chosen beside hides; one is counted once.
    hidden: Vec<usize>,
    /// Candidates beside a central link.
    rest: Vec<Key>,
}

impl<S: Space> Default for Selector<S> {
    fn default() -> Self {
        Self {
            candidate: S::Query::default(),
            links: Vec::new(),
            hidden: Vec::new(),
            rest: Vec::new(),
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
    ///
    /// A point in the middle of all others, as a vector of zeros is, is nearer to each than they are to one another: once
    /// it is a link it hides all others, and a graph all of whose points link to it alone leads nowhere. So where it
    /// leaves few links, the others are chosen as if it were none.
    fn diverse(&mut self, space: &S, candidates: &[Key], max: usize, twins: usize) -> usize {
        let present = self.links.len();
        let mut computed = self.choose(space, candidates, max, twins);
        let passed_over = candidates.len() - (self.links.len() - present);
        if self.links.len() - twins < max / FEW_SHARE
            && let Some(at) = self.central(passed_over)
        {
            let central = self.links.remove(twins + at);
            self.links.truncate(present - usize::from(twins + at < present));
            self.links.insert(twins, central);
            let mut rest = std::mem::take(&mut self.rest);
            rest.clear();
            computed += self.beside(space, central, candidates, &mut rest);
            computed += self.choose(space, &rest, max, twins + 1);
            self.rest = rest;
        }
        computed
    }

    /// Which of the links that candidates were compared with hides nearly all that were passed over.
    fn central(&self, passed_over: usize) -> Option<usize> {
        let (at, &most) = self
            .hidden
            .iter()
            .enumerate()
            .max_by_key(|(_, hidden)| **hidden)?;
        let nearly_all = passed_over - passed_over / SPARED_SHARE;
        (most >= nearly_all.max(HIDDEN_MIN)).then_some(at)
    }

    /// Finds the candidates that are not to be left to a central link.
    fn beside(&mut self, space: &S, central: u32, candidates: &[Key], rest: &mut Vec<Key>) -> usize {
        space.prepare_slot(central, &mut self.candidate);
        for &key in candidates.iter().filter(|&&key| slot_of(key) != central) {
            let mut distance = [0.0];
            space.distances(&self.candidate, &[slot_of(key)], &mut distance);
            let near = distance_of(key);
            // Inner products have no zero to be near to.
            if near <= 0.0 || distance[0] * NEARER_TIMES >= near {
                rest.push(key);
            }
        }
        candidates.len() - 1
    }

    /// Adds candidates that are nearer to the centre than to any link from `start` on.
    fn choose(&mut self, space: &S, candidates: &[Key], max: usize, start: usize) -> usize {
        let mut computed = 0;
        self.hidden.clear();
        self.hidden.resize(self.links.len() - start, 0);
        'candidates: for &key in candidates {
            if self.links.len() >= max {
                break;
            }
            let slot = slot_of(key);
            if self.links.len() > start {
                space.prepare_slot(slot, &mut self.candidate);
            }
            let near = distance_of(key);
            for (group, kept) in self.links[start..].chunks(STRIDE).enumerate() {
                let mut distances = [0.0; STRIDE];
                space.distances(&self.candidate, kept, &mut distances[..kept.len()]);
                computed += kept.len();
                if let Some(at) = distances[..kept.len()].iter().position(|&d| d < near) {
                    self.hidden[group * STRIDE + at] += 1;
                    continue 'candidates;
                }
            }
            self.links.push(slot);
            self.hidden.push(0);
        }
        computed
    }
}
