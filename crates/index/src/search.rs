//! A search: what a plan makes of rows, graph, and what is not linked yet.

use std::ops::Range;

use longbow_kernels::Bitset;

use crate::{
    clock::{Clock, Watch},
    context::Context,
    distinct::{Distinct, is_crowded, past_crowd},
    error::Cancelled,
    graph::Entry,
    hnsw::Hnsw,
    hole::{Walked, is_hole, is_in_hole},
    key::{Key, slot_of},
    kind::Query,
    params::{Mode, Neighbor, SearchParams, Stats, Way},
    plan::{Plan, Task, default_ef_among, far, filtered, plan},
    query::QueryVector,
    queue::Beam,
    scan::{Allowed, compare, scan},
    scope::{Ask, Scope, codes_are_idle, walked_to_keep},
    slack::Stop,
    space::{Points, Space},
    sync::epoch,
    topk::TopK,
    traverse::Walk,
};

/// Beams up to this long are sorted arrays, longer ones heaps.
const SORTED_MAX: usize = 1024;

/// How a search differs from those that users ask for.
#[derive(Clone, Copy)]
pub(crate) struct Manner<'a> {
    pub(crate) plan: fn(&Task) -> Plan,
    /// A slot that walks pass by as if there were none.
    pub(crate) hidden: Option<u32>,
    /// What the parts of the search are timed by, if they are.
    pub(crate) clock: Option<Clock<'a>>,
}

/// What came of looking for the nearest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nearest {
    /// They were found.
    Found,
    /// Walks found too few that are allowed.
    OutOfReach,
}

/// Random allowed slots that a traversal of allowed nodes starts from.
const SEEDS: usize = 32;

impl<S: Points> Hnsw<S> {
    pub(crate) fn search(
        &self,
        query: QueryVector<'_>,
        params: &SearchParams,
        allow: &Bitset,
        cancel: &dyn Fn() -> bool,
        clock: Option<Clock<'_>>,
        out: &mut Vec<Neighbor>,
    ) -> Result<Stats, Cancelled> {
        let manner = Manner {
            plan,
            hidden: None,
            clock,
        };
        self.search_by(manner, query, params, allow, cancel, out)
    }

    /// As [`Hnsw::search`], in another manner.
    pub(crate) fn search_by(
        &self,
        manner: Manner<'_>,
        query: QueryVector<'_>,
        params: &SearchParams,
        allow: &Bitset,
        cancel: &dyn Fn() -> bool,
        out: &mut Vec<Neighbor>,
    ) -> Result<Stats, Cancelled> {
        out.clear();
        if cancel() {
            return Err(Cancelled);
        }
        let scope = Scope {
            watch: Watch(manner.clock),
            ..self.scope(params, allow, cancel)
        };
        if scope.k == 0 {
            return Ok(Stats::of_all());
        }
        let mut stats = Stats::default();
        let way = match params.mode {
            Mode::Exact => Plan::Scan,
            Mode::Auto | Mode::FullPrecision => (manner.plan)(&scope.task),
        };
        stats.planned = way.into();
        let mode = match params.mode {
            Mode::Auto if S::QUANTIZED && way == Plan::Scan && codes_are_idle::<S>(&scope) => Mode::Exact,
            mode => mode,
        };
        // Slots met from here on are not written again before this is unpinned.
        let _pin = epoch::pin();
        self.contexts.with(|context| {
            self.waiting
                .allowed(scope.linked, scope.allowed(), &mut context.waiting);
            (stats.allowed, stats.tail) = scope.counts(context.waiting.len());
            context.visited.hide(manner.hidden);
            // Taken out, so that the rest of the context can be written to meanwhile.
            let mut exact = std::mem::take(&mut context.exact);
            let mut coarse = std::mem::take(&mut context.query);
            if S::QUANTIZED || mode != Mode::Auto {
                self.points.rows().prepare(query, &mut exact);
            }
            let mut found = match mode {
                Mode::Exact => self
                    .compare_all(&scope, &exact, context, &mut stats)
                    .map(|()| Nearest::Found),
                Mode::FullPrecision => {
                    let ask = scope.ask(self.points.rows(), &exact, false);
                    self.nearest(way, &ask, context, &mut stats)
                }
                Mode::Auto => {
                    self.points.prepare(query, &mut coarse);
                    let ask = scope.ask(&self.points, &coarse, S::QUANTIZED);
                    self.nearest(way, &ask, context, &mut stats)
                }
            };
            if found == Ok(Nearest::OutOfReach) {
                self.points.rows().prepare(query, &mut exact);
                stats.repeated = true;
                found = self
                    .far(&scope, &exact, context, &mut stats)
                    .map(|()| Nearest::Found);
            } else if found.is_ok() && S::QUANTIZED && mode == Mode::Auto {
                found = self
                    .refine(way, &scope, (&coarse, &exact), context, &mut stats)
                    .map(|()| Nearest::Found);
            }
            (context.exact, context.query) = (exact, coarse);
            context.visited.hide(None);
            found?;
            context.emit(out);
            Ok(self.finished(&scope, stats))
        })
    }

    /// Leaves the exact nearest of all allowed slots in `context.top`.
    pub(crate) fn compare_all(
        &self,
        scope: &Scope<'_>,
        exact: &Query,
        context: &mut Context<S>,
        stats: &mut Stats,
    ) -> Result<(), Cancelled> {
        context.top.reset(scope.k);
        stats.exact = true;
        (stats.way, stats.ef) = (Way::Scan, 0);
        let (rows, range, allowed) = (self.points.rows(), 0..scope.len, scope.allowed());
        let began = scope.watch.now();
        let scanned = scan(rows, exact, range, allowed, scope.cancel, &mut context.top, stats);
        stats.times.graph += scope.watch.since(began);
        scanned
    }

    /// As [`Hnsw::nearest`], where nothing around the query is allowed: what is lies far away and about equally far, so
    /// many places are looked at, or all, and on the vectors, because estimates hardly tell such rows apart.
    pub(crate) fn far(
        &self,
        scope: &Scope<'_>,
        exact: &Query,
        context: &mut Context<S>,
        stats: &mut Stats,
    ) -> Result<(), Cancelled> {
        let rows = self.points.rows();
        if let Some(task) = far(&scope.task, Space::bytes(rows)) {
            let scope = Scope { task, ..*scope };
            let ask = scope.ask(rows, exact, false);
            if self.nearest(Plan::TwoHop { far: true }, &ask, context, stats)? == Nearest::Found {
                return Ok(());
            }
        }
        self.compare_all(scope, exact, context, stats)
    }

    /// The exact nearest among the allowed slots of a range.
    pub(crate) fn scan(
        &self,
        query: QueryVector<'_>,
        k: usize,
        range: Range<u32>,
        allow: &Bitset,
        cancel: &dyn Fn() -> bool,
        out: &mut Vec<Neighbor>,
    ) -> Result<Stats, Cancelled> {
        out.clear();
        if cancel() {
            return Err(Cancelled);
        }
        let range = range.start..range.end.min(self.len());
        let mut stats = Stats::of_all();
        let _pin = epoch::pin();
        self.contexts.with(|context| {
            let Context { exact, top, .. } = context;
            self.points.rows().prepare(query, exact);
            top.reset(k);
            let allowed = self.allowed(allow);
            scan(self.points.rows(), exact, range, allowed, cancel, top, &mut stats)?;
            context.emit(out);
            Ok(stats)
        })
    }

    /// Of these slots, those that were not removed.
    pub(crate) fn allowed<'a>(&'a self, allow: &'a Bitset) -> Allowed<'a> {
        Allowed {
            allow,
            removed: &self.removed,
        }
    }

    /// What is searched, as it is now.
    pub(crate) fn scope<'a>(
        &'a self,
        params: &SearchParams,
        allow: &'a Bitset,
        cancel: &'a dyn Fn() -> bool,
    ) -> Scope<'a> {
        // In this order: whatever is not linked by now is below `len` and scanned.
        let linked = self.linked();
        let len = self.len();
        let beyond = allow.count_from(len as usize);
        let tail = allow.count_from(linked as usize) - beyond;
        let allowed = allow.count() - beyond - tail;
        let k = params.k.min(allowed + tail);
        let mut task = Task {
            k: k.min(allowed),
            ef: params.ef.max(k),
            // What is out of the graph does not make the rest rarer in it.
            linked: (linked as usize).saturating_sub(self.vacuum.gone()).max(allowed),
            allowed,
            bytes: match params.mode {
                Mode::Auto => self.points.bytes(),
                Mode::FullPrecision | Mode::Exact => Space::bytes(self.points.rows()),
            },
        };
        if params.ef == 0 {
            let refined = if S::QUANTIZED { walked_to_keep::<S>(k) } else { k };
            task.ef = default_ef_among(k, task.share(), refined);
        }
        Scope {
            allow,
            removed: &self.removed,
            cancel,
            watch: Watch(None),
            k,
            task,
            tail,
            linked,
            len,
        }
    }

    /// Adds what is known about such searches.
    pub(crate) fn finished(&self, scope: &Scope<'_>, stats: Stats) -> Stats {
        let recall = if stats.exact {
            Some(1.0)
        } else {
            // Comparing everything is the widest beam.
            let ef = if stats.way == Way::Scan {
                usize::MAX
            } else {
                scope.task.ef
            };
            self.calibration.recall(scope.k, scope.task.share(), ef)
        };
        Stats { recall, ..stats }
    }

    /// Leaves the nearest allowed slots in `context.top`: `k`, and some more where distances are estimates.
    pub(crate) fn nearest<P: Space>(
        &self,
        way: Plan,
        ask: &Ask<'_, P>,
        context: &mut Context<S>,
        stats: &mut Stats,
    ) -> Result<Nearest, Cancelled> {
        let scope = ask.scope;
        let began = scope.watch.now();
        let traversed = self.traverse(way, ask, context, stats)?;
        stats.times.graph += scope.watch.since(began);
        if traversed == Nearest::OutOfReach {
            return Ok(Nearest::OutOfReach);
        }
        let began = scope.watch.now();
        let Context {
            top, found, waiting, ..
        } = context;
        top.reset(ask.kept(scope.k, way));
        found.iter().for_each(|&key| top.push(key));
        let waiting = waiting.iter().copied();
        compare(ask.space, ask.query, waiting, scope.cancel, top, stats)?;
        ask.scan(scope.linked..scope.len, top, stats)?;
        stats.times.tail += scope.watch.since(began);
        Ok(Nearest::Found)
    }

    /// Finds the nearest allowed slots below `linked` that do not wait, at least `task.k` unless nearer ones wait or lie
    /// above, into `context.found`.
    fn traverse<P: Space>(
        &self,
        way: Plan,
        ask: &Ask<'_, P>,
        context: &mut Context<S>,
        stats: &mut Stats,
    ) -> Result<Nearest, Cancelled> {
        context.found.clear();
        let (task, linked) = (&ask.scope.task, ask.scope.linked);
        if task.k == 0 {
            stats.exact = true;
            return Ok(Nearest::Found);
        }
        if way != Plan::Scan
            && let Some(entry) = self.graph.entry()
        {
            let mut walked = self.walk(way, ask, entry, context, stats)?;
            let found = context.found.len();
            ask.keep_allowed(context);
            let is_over = match way {
                // The few that are not allowed lie just here.
                Plan::Beam { .. } => context.found.len() < task.k.max(found / 2),
                Plan::TwoHop { far } => !far && walked == Walked::CutOff,
                _ => false,
            };
            if is_over {
                walked = self.walk(filtered(task), ask, entry, context, stats)?;
                ask.keep_allowed(context);
            }
            let enough = walked == Walked::Around && context.found.len() + context.waiting.len() >= task.k;
            // Slots that are not certainly linked are the scan's business.
            context.found.retain(|&key| slot_of(key) < linked);
            return Ok(if enough {
                Nearest::Found
            } else {
                Nearest::OutOfReach
            });
        }
        context.top.reset(ask.kept(task.k, Plan::Scan));
        ask.scan(0..linked, &mut context.top, stats)?;
        context.found.clear();
        context.found.extend_from_slice(context.top.sorted());
        // They were compared with all others.
        context.waiting.clear();
        ask.keep_allowed(context);
        stats.exact = true;
        (stats.way, stats.ef) = (Way::Scan, 0);
        Ok(Nearest::Found)
    }

    /// Walks the graph in one of the ways and leaves what it found, nearest first, in `context.found`.
    fn walk<P: Space>(
        &self,
        way: Plan,
        ask: &Ask<'_, P>,
        entry: Entry,
        context: &mut Context<S>,
        stats: &mut Stats,
    ) -> Result<Walked, Cancelled> {
        let Context {
            visited,
            batch,
            sorted,
            heaps,
            top,
            found,
            met,
            ..
        } = context;
        let mut walk = Walk {
            space: ask.space,
            graph: &self.graph,
            query: ask.query,
            visited,
            batch,
            stats,
            cancel: ask.scope.cancel,
        };
        found.clear();
        walk.visited.reset(self.len());
        let start = walk.descend(entry, 0)?;
        walk.visited.insert(slot_of(start));
        let width = match way {
            Plan::Filtered { width } | Plan::Beam { width } => width,
            Plan::TwoHop { .. } | Plan::Scan => ask.scope.task.ef,
        };
        walk.stats.ef = width;
        walk.stats.way = way.into();
        let stop = match way {
            // As many times `k` as the beam is wider than asked for, because of those that are not allowed.
            Plan::Beam { width } => {
                let Task { k, ef, .. } = ask.scope.task;
                let k = k.saturating_mul(width) / ef;
                self.slack.searching(self.params.metric, k, width, SORTED_MAX)
            }
            Plan::TwoHop { far: false } => {
                let task = &ask.scope.task;
                let ranks = (task.k, task.ef);
                self.slack
                    .searching_among(self.params.metric, ranks, task.share(), SORTED_MAX)
            }
            _ => Stop::at(width),
        };
        if stop.width <= SORTED_MAX {
            let walked = run(way, &mut walk, start, stop, ask, sorted, top, found)?;
            if matches!(way, Plan::Beam { .. }) && is_crowded(found) {
                let distinct = Distinct {
                    beam: sorted,
                    rows: self.points.rows(),
                };
                past_crowd(&mut walk, start, &stop, ask.scope.len, distinct, met, found)?;
            }
            Ok(walked)
        } else {
            run(way, &mut walk, start, stop, ask, heaps, top, found)
        }
    }
}

/// Runs a traversal with a beam of a kind and leaves what it found, nearest first, in `found`. As [`Hnsw::walk`].
#[allow(clippy::too_many_arguments)]
fn run<P: Space, B: Beam>(
    way: Plan,
    walk: &mut Walk<'_, P>,
    start: Key,
    stop: Stop,
    ask: &Ask<'_, P>,
    beam: &mut B,
    top: &mut TopK,
    found: &mut Vec<Key>,
) -> Result<Walked, Cancelled> {
    let (allow, ef) = (ask.scope.allow, ask.scope.task.ef);
    beam.reset(stop.width);
    let start_allowed = allow.get(slot_of(start) as usize);
    match way {
        Plan::Filtered { .. } => {
            top.reset(ef);
            beam.push(&mut [start]);
            if start_allowed {
                top.push(start);
            }
            let matching = walk.filtered(beam, top, allow)?;
            found.clear();
            found.extend_from_slice(top.sorted());
            if is_hole(matching, &ask.scope.task) {
                return Ok(Walked::InHole);
            }
        }
        Plan::TwoHop { far } => {
            if !far && is_in_hole(walk, start, beam, found, (allow, &ask.scope.task))? {
                return Ok(Walked::InHole);
            }
            walk.begin(ask.scope.len, beam, &stop, &mut []);
            walk.visited.insert(slot_of(start));
            if start_allowed {
                beam.push(&mut [start]);
            }
            let count = allow.len().min(ask.scope.linked as usize);
            walk.seed(seeds(ask.scope.allowed(), count), beam);
            let is_exhausted = walk.two_hop(slot_of(start), beam, &stop, allow)?;
            beam.drain(found);
            if is_exhausted && found.len() < ef {
                return Ok(Walked::CutOff);
            }
        }
        Plan::Beam { .. } | Plan::Scan => {
            beam.push(&mut [start]);
            walk.beam(0, beam, &stop)?;
            beam.drain(found);
        }
    }
    Ok(Walked::Around)
}

/// Allowed slots spread over `0..count`: where matching rows lie far from the query, its own neighbourhood has none.
fn seeds(allowed: Allowed<'_>, count: usize) -> impl Iterator<Item = u32> {
    let step = (count / SEEDS).max(1);
    // Not at the beginning of each part, where rows that came together begin too.
    let starts = (0..SEEDS).map(move |part| part * step + part * 7919 % step);
    starts.filter_map(move |start| allowed.within(start as u32..count as u32).next())
}

#[cfg(test)]
mod tests;
