//! Mending the graph where nodes were removed.
//!
//! A node that linked to a removed one chooses among that one's links instead (after FreshDiskANN, Singh et al. 2021,
//! algorithm 4): paths that led through the removed node stay short. Those it chooses are linked back to it, as for a new
//! node: what the removed one led to lost a way in, too.

use crate::{
    context::Context,
    graph::Entry,
    key::{pack, slot_of},
    link::Linker,
    select::Twins,
    space::{GROUP, Points, Space},
};

impl<S: Points> Linker<'_, S> {
    /// Replaces the links of a node to removed ones. Whether it still has a link, or had none to lose.
    pub(crate) fn repair(&self, level: u32, node: u32, context: &mut Context<S>) -> bool {
        let guard = self.graph.lock(node);
        let stays = |slot| !self.removed.get(slot);
        if !self.replace(level, node, stays, stays, context) {
            return true;
        }
        let Context { selector, chosen, .. } = context;
        chosen.clear();
        chosen.extend(selector.links.iter().map(|&link| (level, link)));
        self.graph
            .neighbors(level, node, |before| chosen.retain(|&(_, link)| link != before));
        self.graph.write(level, node, &selector.links);
        let is_linked = !selector.links.is_empty();
        drop(guard);
        self.link_back_chosen(node, context);
        is_linked
    }

    /// Leaves in `context.selector.links` what the links of a node, which is locked while an epoch is pinned, should become: those that stay, and
    /// for the others some of what they lead to that may be linked to. Whether any does not stay.
    ///
    /// What is left of the list stays: choosing all of it anew would thin it out at every pass.
    pub(crate) fn replace(
        &self,
        level: u32,
        node: u32,
        stays: impl Fn(u32) -> bool,
        may_come: impl Fn(u32) -> bool,
        context: &mut Context<S>,
    ) -> bool {
        let (keys, selector) = (&mut context.found, &mut context.selector);
        keys.clear();
        selector.links.clear();
        let mut present = 0;
        self.graph.neighbors(level, node, |slot| {
            present += 1;
            if stays(slot) {
                selector.links.push(slot);
                return;
            }
            self.graph.neighbors(level, slot, |beyond| {
                if beyond != node && may_come(beyond) {
                    keys.push(pack(0.0, beyond));
                }
            });
        });
        if selector.links.len() == present {
            return false;
        }
        keys.sort_unstable();
        keys.dedup();
        keys.retain(|&key| !selector.links.contains(&slot_of(key)));
        let equal = self.rank(node, keys, &mut context.query, &mut context.batch);
        let twins = Twins::kept(equal, self.graph.capacity(level));
        let kept = equal_first(self.space, &context.query, equal, &mut selector.links);
        selector.extend(self.space, keys, present, twins, kept);
        true
    }

    /// Links a node anew that nothing leads to on the base level, and sees to it that a link to it stays. False if
    /// there was nothing to link it to.
    ///
    /// Looks for its neighbours on the base level alone: links above may lead to the node itself, or to others that
    /// are cut off as it is.
    pub(crate) fn relink(&self, node: u32, slots: u32, context: &mut Context<S>) -> bool {
        let entry = match self.graph.entry() {
            Some(entry) if entry.slot == node => return true,
            Some(entry) => Entry { level: 0, ..entry },
            None => return false,
        };
        self.space.prepare_slot(node, &mut context.query);
        context.chosen.clear();
        self.choose(node, 0, entry, slots, context);
        if context.chosen.is_empty() {
            return false;
        }
        context.selector.links.clear();
        context
            .selector
            .links
            .extend(context.chosen.iter().map(|&(_, link)| link));
        {
            let _guard = self.graph.lock(node);
            self.graph.write(0, node, &context.selector.links);
        }
        let mut linked = false;
        for at in 0..context.chosen.len() {
            let neighbor = context.chosen[at].1;
            self.link_back(0, neighbor, node, context);
            self.graph.neighbors(0, neighbor, |slot| linked |= slot == node);
        }
        if !linked {
            self.force(context.chosen[0].1, node);
        }
        true
    }

    /// Puts a link in the last place of a list, whatever stands there.
    fn force(&self, node: u32, link: u32) {
        let _guard = self.graph.lock(node);
        let mut links = Vec::with_capacity(self.graph.capacity(0));
        self.graph.neighbors(0, node, |slot| links.push(slot));
        if links.len() == self.graph.capacity(0) {
            links.pop();
        }
        links.push(link);
        self.graph.write(0, node, &links);
    }
}

/// Moves links no farther from the query than `twin` to the front; says how many they are.
fn equal_first<S: Space>(space: &S, query: &S::Query, twin: f32, links: &mut [u32]) -> usize {
    let mut distances = [0.0; GROUP];
    let mut equal = 0;
    for start in (0..links.len()).step_by(GROUP) {
        let end = links.len().min(start + GROUP);
        let distances = &mut distances[..end - start];
        space.distances(query, &links[start..end], distances);
        for at in start..end {
            if distances[at - start] <= twin {
                links.swap(equal, at);
                equal += 1;
            }
        }
    }
    equal
}
