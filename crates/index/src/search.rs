//! A search: what a plan makes of rows, graph, and what is not linked yet.

use std::ops::Range;

use longbow_kernels::Bitset;

use crate::{
    context::Context,
    error::Cancelled,
    graph::Entry,
    hnsw::Hnsw,
    key::{Key, distance_of, pack, slot_of},
    params::{Mode, Neighbor, SearchParams, Stats},
    plan::{Plan, Task, default_ef, filtered, plan},
    queue::Beam,
    space::{GROUP, Points, Space},
    store::Query,
    sync::epoch,
    topk::TopK,
    traverse::Walk,
};

/// Beams up to this long are sorted arrays, longer ones heaps.
const SORTED_MAX: usize = 1024;
/// Groups scanned between two questions whether to go on.
const CANCEL_GROUPS: u32 = 32;
/// Random allowed slots that a traversal of allowed nodes starts from.
const SEEDS: usize = 32;

impl<S: Points> Hnsw<S> {
    pub(crate) fn search(
        &self,
        query: &[f32],
        params: &SearchParams,
        allow: &Bitset,
        cancel: &dyn Fn() -> bool,
        out: &mut Vec<Neighbor>,
    ) -> Result<Stats, Cancelled> {
        out.clear();
        if cancel() {
            return Err(Cancelled);
        }
        // In this order: whatever is not linked by now is below `len` and scanned.
        let linked = self.linked();
        let len = self.len();
        let beyond = allow.count_from(len as usize);
        let tail = allow.count_from(linked as usize) - beyond;
        let allowed = allow.count() - beyond - tail;
        let k = params.k.min(allowed + tail);
        let mut stats = Stats::default();
        if k == 0 {
            return Ok(stats);
        }
        // Slots met from here on are not written again before this is unpinned.
        let _pin = epoch::pin();
        let ef = if params.ef == 0 {
            default_ef(k)
        } else {
            params.ef.max(k)
        };
        let task = Task {
            k: k.min(allowed),
            ef,
            // What is out of the graph does not make the rest rarer in it.
            linked: (linked as usize).saturating_sub(self.vacuum.gone()).max(allowed),
            allowed,
        };
        self.contexts.with(|context| {
            self.waiting.allowed(linked, allow, &mut context.waiting);
            // Taken out, so that the rest of the context can be written to meanwhile.
            let mut exact = std::mem::take(&mut context.exact);
            let mut coarse = std::mem::take(&mut context.query);
            self.points.rows().prepare(query, &mut exact);
            let found = match params.mode {
                Mode::Exact => {
                    context.top.reset(k);
                    stats.exact = true;
                    let (rows, top) = (self.points.rows(), &mut context.top);
                    scan(rows, &exact, 0..len, allow, cancel, top, &mut stats)
                }
                Mode::FullPrecision => {
                    let ask = Ask {
                        space: self.points.rows(),
                        query: &exact,
                        estimates: false,
                        allow,
                        cancel,
                        task,
                        linked,
                        len,
                    };
                    self.nearest(&ask, k, context, &mut stats)
                }
                Mode::Auto => {
                    self.points.prepare(query, &mut coarse);
                    let ask = Ask {
                        space: &self.points,
                        query: &coarse,
                        estimates: S::QUANTIZED,
                        allow,
                        cancel,
                        task,
                        linked,
                        len,
                    };
                    self.nearest(&ask, k, context, &mut stats).inspect(|()| {
                        if S::QUANTIZED {
                            self.refine(k, &exact, context, &mut stats);
                        }
                    })
                }
            };
            (context.exact, context.query) = (exact, coarse);
            found?;
            out.extend(context.top.sorted().iter().map(|&key| Neighbor {
                slot: slot_of(key),
                distance: distance_of(key),
            }));
            Ok(stats)
        })
    }

    /// Leaves the nearest allowed slots in `context.top`: `k`, and some more where distances are estimates.
    fn nearest<P: Space>(
        &self,
        ask: &Ask<'_, P>,
        k: usize,
        context: &mut Context<S>,
        stats: &mut Stats,
    ) -> Result<(), Cancelled> {
        let way = plan(&ask.task);
        self.traverse(way, ask, context, stats)?;
        let Context {
            top, found, waiting, ..
        } = context;
        top.reset(ask.kept(k, way));
        found.iter().for_each(|&key| top.push(key));
        let waiting = waiting.iter().copied();
        compare(ask.space, ask.query, waiting, ask.cancel, top, stats)?;
        ask.scan(ask.linked..ask.len, top, stats)
    }

    /// Replaces estimated distances in `context.top` by those to the vectors and keeps the nearest `k`.
    fn refine(&self, k: usize, exact: &Query<S::Element>, context: &mut Context<S>, stats: &mut Stats) {
        let Context {
            top, found, batch, ..
        } = context;
        found.clear();
        found.extend_from_slice(top.sorted());
        top.reset(k);
        for part in found.chunks(GROUP) {
            for (place, &key) in batch.slots.iter_mut().zip(part) {
                *place = slot_of(key);
            }
            batch.len = part.len();
            self.points.rows().distances(
                exact,
                &batch.slots[..batch.len],
                &mut batch.distances[..batch.len],
            );
            batch.keys().iter().for_each(|&key| top.push(key));
        }
        stats.refined += found.len() as u64;
        stats.distances += found.len() as u64;
        stats.exact = false;
    }

    /// Finds the nearest allowed slots below `ask.linked` that do not wait, at least `ask.task.k` unless nearer ones
    /// wait or lie above, into `context.found`.
    fn traverse<P: Space>(
        &self,
        way: Plan,
        ask: &Ask<'_, P>,
        context: &mut Context<S>,
        stats: &mut Stats,
    ) -> Result<(), Cancelled> {
        context.found.clear();
        let task = &ask.task;
        if task.k == 0 {
            stats.exact = true;
            return Ok(());
        }
        if way != Plan::Scan
            && let Some(entry) = self.graph.entry()
        {
            self.walk(way, ask, entry, context, stats)?;
            ask.keep_allowed(context);
            if matches!(way, Plan::Beam { .. }) && context.found.len() < task.k.max(task.ef / 2) {
                // The few that are not allowed lie just here.
                self.walk(filtered(task), ask, entry, context, stats)?;
                ask.keep_allowed(context);
            }
            let enough = context.found.len() + context.waiting.len() >= task.k;
            // Slots that are not certainly linked are the scan's business.
            context.found.retain(|&key| slot_of(key) < ask.linked);
            if enough {
                return Ok(());
            }
        }
        context.top.reset(ask.kept(task.k, Plan::Scan));
        ask.scan(0..ask.linked, &mut context.top, stats)?;
        context.found.clear();
        context.found.extend_from_slice(context.top.sorted());
        ask.keep_allowed(context);
        stats.exact = true;
        Ok(())
    }

    /// Walks the graph in one of the ways and leaves what it found, nearest first, in `context.found`.
    fn walk<P: Space>(
        &self,
        way: Plan,
        ask: &Ask<'_, P>,
        entry: Entry,
        context: &mut Context<S>,
        stats: &mut Stats,
    ) -> Result<(), Cancelled> {
        let Context {
            visited,
            batch,
            sorted,
            heaps,
            top,
            found,
            ..
        } = context;
        let mut walk = Walk {
            space: ask.space,
            graph: &self.graph,
            query: ask.query,
            visited,
            batch,
            stats,
            cancel: ask.cancel,
        };
        found.clear();
        walk.visited.reset(self.len());
        let start = walk.descend(entry, 0);
        walk.visited.insert(slot_of(start));
        let width = match way {
            Plan::Filtered { width } | Plan::Beam { width } => width,
            Plan::TwoHop | Plan::Scan => ask.task.ef,
        };
        if width <= SORTED_MAX {
            run(way, &mut walk, start, width, ask, sorted, top, found)
        } else {
            run(way, &mut walk, start, width, ask, heaps, top, found)
        }
    }
}

/// A search on distances of one kind.
struct Ask<'a, P: Space> {
    space: &'a P,
    query: &'a P::Query,
    /// Whether distances are estimates, which somebody refines.
    estimates: bool,
    allow: &'a Bitset,
    cancel: &'a dyn Fn() -> bool,
    task: Task,
    /// Slots below are linked, or wait.
    linked: u32,
    /// Slots below were appended when the search began.
    len: u32,
}

impl<P: Space> Ask<'_, P> {
    /// How many of the nearest are kept for an answer of `k`.
    fn kept(&self, k: usize, way: Plan) -> usize {
        if self.estimates { refined(k, way) } else { k }
    }

    fn scan(&self, range: Range<u32>, top: &mut TopK, stats: &mut Stats) -> Result<(), Cancelled> {
        scan(self.space, self.query, range, self.allow, self.cancel, top, stats)
    }

    /// Drops what is not allowed, what was appended since, and what is compared because it waits.
    fn keep_allowed<S: Points>(&self, context: &mut Context<S>) {
        let Context { found, waiting, .. } = context;
        found.retain(|&key| {
            let slot = slot_of(key);
            slot < self.len
                && self.allow.get(slot as usize)
                && (waiting.is_empty() || waiting.binary_search(&slot).is_err())
        });
    }
}

/// Runs a traversal with a beam of a kind and leaves what it found, nearest first, in `found`.
#[allow(clippy::too_many_arguments)]
fn run<P: Space, B: Beam>(
    way: Plan,
    walk: &mut Walk<'_, P>,
    start: Key,
    width: usize,
    ask: &Ask<'_, P>,
    beam: &mut B,
    top: &mut TopK,
    found: &mut Vec<Key>,
) -> Result<(), Cancelled> {
    let (allow, ef) = (ask.allow, ask.task.ef);
    beam.reset(width);
    let start_allowed = allow.get(slot_of(start) as usize);
    match way {
        Plan::Filtered { .. } => {
            top.reset(ef);
            beam.push(&mut [start]);
            if start_allowed {
                top.push(start);
            }
            walk.filtered(beam, top, allow)?;
            found.clear();
            found.extend_from_slice(top.sorted());
        }
        Plan::TwoHop => {
            if start_allowed {
                beam.push(&mut [start]);
            }
            let count = allow.len().min(ask.linked as usize);
            walk.seed(seeds(allow, count), beam);
            walk.two_hop(slot_of(start), beam, allow)?;
            beam.drain(found);
        }
        Plan::Beam { .. } | Plan::Scan => {
            beam.push(&mut [start]);
            walk.beam(0, beam)?;
            beam.drain(found);
        }
    }
    Ok(())
}

/// Allowed slots spread over `0..count`: where matching rows lie far from the query, its own neighbourhood has none.
fn seeds(allow: &Bitset, count: usize) -> impl Iterator<Item = u32> {
    let step = (count / SEEDS).max(1);
    // Not at the beginning of each part, where rows that came together begin too.
    let starts = (0..SEEDS).map(move |part| part * step + part * 7919 % step);
    starts
        .filter_map(move |start| allow.iter_from(start).next())
        .filter(move |&slot| slot < count)
        .map(|s| s as u32)
}

/// Compares every allowed slot of a range.
fn scan<S: Space>(
    space: &S,
    query: &S::Query,
    range: Range<u32>,
    allow: &Bitset,
    cancel: &dyn Fn() -> bool,
    top: &mut TopK,
    stats: &mut Stats,
) -> Result<(), Cancelled> {
    let allowed = allow
        .iter_from(range.start as usize)
        .map(|slot| slot as u32)
        .take_while(|&slot| slot < range.end);
    compare(space, query, allowed, cancel, top, stats)
}

/// Compares slots.
fn compare<S: Space>(
    space: &S,
    query: &S::Query,
    mut all: impl Iterator<Item = u32>,
    cancel: &dyn Fn() -> bool,
    top: &mut TopK,
    stats: &mut Stats,
) -> Result<(), Cancelled> {
    let mut slots = [0; GROUP];
    let mut distances = [0.0; GROUP];
    for group in 1u32.. {
        let mut count = 0;
        for (place, slot) in slots.iter_mut().zip(&mut all) {
            *place = slot;
            count += 1;
        }
        if count == 0 {
            break;
        }
        space.distances(query, &slots[..count], &mut distances[..count]);
        for (&slot, &distance) in slots[..count].iter().zip(&distances) {
            top.push(pack(distance, slot));
        }
        stats.distances += count as u64;
        if group.is_multiple_of(CANCEL_GROUPS) && cancel() {
            return Err(Cancelled);
        }
    }
    Ok(())
}

/// Estimated nearest that are compared exactly to find the `k` nearest.
fn refined(k: usize, way: Plan) -> usize {
    match way {
        // Scanning all of them costs so much that comparing some more does not show.
        Plan::Scan => k.saturating_mul(3).saturating_add(20),
        _ => k.saturating_mul(2).saturating_add(10),
    }
}

#[cfg(test)]
mod tests {
    use longbow_kernels::{Element, Metric};

    use super::*;
    use crate::{params::Params, store::Store};

    /// Rows on a circle, so that neighbours are known; slot `slow` stays claimed and unlinked.
    fn circle(rows: u32, slow: Option<u32>) -> Hnsw<Store<f32>> {
        let hnsw = Hnsw::new(Params::new(Element::F32, Metric::L2, 2));
        let angle = |row: u32| row as f32 / rows as f32 * std::f32::consts::TAU;
        let vectors: Vec<u8> = (0..rows)
            .flat_map(|row| [angle(row).cos(), angle(row).sin()])
            .flat_map(f32::to_ne_bytes)
            .collect();
        hnsw.append(&vectors).unwrap();
        if let Some(slow) = slow {
            hnsw.link(slow as usize);
            assert_eq!(hnsw.claim(), Some(slow));
        }
        while hnsw.link(100) > 0 {}
        hnsw
    }

    fn search(hnsw: &Hnsw<Store<f32>>, query: [f32; 2], allow: &Bitset) -> (Vec<Neighbor>, Stats) {
        let params = SearchParams {
            k: 10,
            ef: 32,
            mode: Mode::Auto,
        };
        let mut out = Vec::new();
        let stats = hnsw.search(&query, &params, allow, &|| false, &mut out).unwrap();
        (out, stats)
    }

    #[test]
    fn a_slow_linker_does_not_make_searches_scan_what_is_linked() {
        let (rows, slow) = (30_000, 10_000);
        let hnsw = circle(rows, Some(slow));
        assert_eq!(hnsw.linked(), slow);
        let all: Bitset = (0..rows as usize).collect();
        // Near slot 20,000: everything the graph has to say lies in the part that is scanned anyway.
        let angle = 2.0 / 3.0 * std::f32::consts::TAU;
        let (found, stats) = search(&hnsw, [angle.cos(), angle.sin()], &all);
        assert!(
            found.iter().all(|found| found.slot.abs_diff(20_000) <= 6),
            "{found:?}"
        );
        assert!(!stats.exact);
        assert!(stats.distances < u64::from(rows - slow) + 2_000, "{stats:?}");
    }

    #[test]
    fn deleted_rows_round_the_query_cost_a_second_walk_and_no_recall() {
        let rows = 30_000;
        let hnsw = circle(rows, None);
        let gap = 14_980..15_020;
        let allow: Bitset = (0..rows as usize).filter(|row| !gap.contains(row)).collect();
        let (found, stats) = search(&hnsw, [-1.0, 0.0], &allow);
        assert_eq!(found.len(), 10);
        assert!(
            found.iter().all(|found| found.slot.abs_diff(15_000) <= 25),
            "{found:?}"
        );
        assert!(!stats.exact, "{stats:?}");
    }
}
