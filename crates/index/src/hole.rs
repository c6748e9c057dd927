//! Filters that leave nothing around a query: how a walk tells that it stands in such a hole, where whatever it finds lies
//! on the edge, by chance.

use longbow_kernels::Bitset;

use crate::{
    error::Cancelled,
    graph::Graph,
    key::{Key, slot_of},
    plan::Task,
    queue::Beam,
    slack::Stop,
    space::Space,
    traverse::Walk,
};

/// Where less than so much of what is usual matches, next to nothing does.
const HOLE_SHARE: f64 = 0.125;
/// Nodes around a query whose neighbours are looked at before it is said to be in a hole.
const AROUND: usize = 32;

/// What a walk came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Walked {
    /// The nodes around the query.
    Around,
    /// The edge of a hole.
    InHole,
    /// An end before its beam was full: the nodes it may see do not hang together.
    CutOff,
}

/// Whether so small a share of what is around a query matches that it is in a hole.
pub(crate) fn is_hole(matching: f64, task: &Task) -> bool {
    matching < HOLE_SHARE * task.share()
}

/// Whether a query is in a hole, for a walk that has descended to `start` near it and is to see matching nodes only.
///
/// The neighbours of `start` and theirs are looked at first, which costs little; where next to none of them matches, that
/// may be by chance, so a short walk leads to the nodes that are nearest indeed and theirs are looked at. Leaves `beam` and
/// `found` as they come, and nodes marked as visited.
pub(crate) fn is_in_hole<P: Space, B: Beam>(
    walk: &mut Walk<'_, P>,
    start: Key,
    beam: &mut B,
    found: &mut Vec<Key>,
    (allow, task): (&Bitset, &Task),
) -> Result<bool, Cancelled> {
    let mut tally = Tally::new(walk.graph, allow);
    tally.look_beyond(slot_of(start));
    if !is_hole(tally.share(), task) {
        return Ok(false);
    }
    let stop = Stop::at(AROUND);
    beam.reset(stop.width);
    beam.push(&mut [start]);
    walk.beam(0, beam, &stop)?;
    beam.drain(found);
    found.iter().for_each(|&key| tally.look_beyond(slot_of(key)));
    Ok(is_hole(tally.share(), task))
}

/// Nodes that were looked at, some of them more than once, and the matching ones among them.
struct Tally<'a> {
    graph: &'a Graph,
    allow: &'a Bitset,
    looked: u32,
    matching: u32,
}

impl<'a> Tally<'a> {
    fn new(graph: &'a Graph, allow: &'a Bitset) -> Self {
        Self {
            graph,
            allow,
            looked: 0,
            matching: 0,
        }
    }

    fn look(&mut self, slot: u32) {
        self.looked += 1;
        self.matching += u32::from(self.allow.get(slot as usize));
    }

    /// Looks at the nodes one and two links away.
    fn look_beyond(&mut self, slot: u32) {
        let graph = self.graph;
        graph.neighbors(0, slot, |neighbor| graph.prefetch(neighbor));
        graph.neighbors(0, slot, |neighbor| {
            self.look(neighbor);
            graph.neighbors(0, neighbor, |second| self.look(second));
        });
    }

    fn share(&self) -> f64 {
        f64::from(self.matching) / f64::from(self.looked.max(1))
    }
}
