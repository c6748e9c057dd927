//! Range searches: all allowed slots within a radius.

use std::{cmp::Reverse, collections::BinaryHeap};

use longbow_kernels::Bitset;

use crate::{
    context::Context,
    error::Cancelled,
    hnsw::Hnsw,
    key::{Key, pack_ceiling, slot_of},
    kind::Query,
    params::{Mode, Neighbor, RangeParams, SearchParams, Stats},
    plan::{Plan, range_hops},
    query::QueryVector,
    queue::Beam,
    scan::{compare, scan},
    scope::Scope,
    slack::Stop,
    space::{Points, Space},
    sync::epoch,
    topk::TopK,
    traverse::Walk,
};

/// With fewer candidates a walk may end before it comes to a radius that is small.
const EF_MIN: usize = 32;

impl<S: Points> Hnsw<S> {
    /// Fills `out` with the nearest `limit` of those within the radius; whether there are more.
    ///
    /// Runs on the vectors themselves: an estimate does not say which side of the radius a slot lies on.
    pub(crate) fn search_range(
        &self,
        query: QueryVector<'_>,
        params: &RangeParams,
        allow: &Bitset,
        cancel: &dyn Fn() -> bool,
        out: &mut Vec<Neighbor>,
    ) -> Result<(Stats, bool), Cancelled> {
        out.clear();
        if cancel() {
            return Err(Cancelled);
        }
        // One more than the limit, to know whether there are more.
        let kept = params.limit.saturating_add(1);
        let asked = SearchParams {
            k: 1,
            ef: if params.ef == 0 { 0 } else { params.ef.max(EF_MIN) },
            mode: Mode::FullPrecision,
        };
        let scope = self.scope(&asked, allow, cancel);
        let mut stats = Stats::default();
        if scope.k == 0 || params.limit == 0 || params.radius.is_nan() {
            stats.exact = true;
            return Ok((stats, false));
        }
        let _pin = epoch::pin();
        let hops = match params.mode {
            Mode::Exact => None,
            Mode::Auto | Mode::FullPrecision => range_hops(&scope.task),
        };
        let rows = self.points.rows();
        self.contexts.with(|context| {
            let mut exact = std::mem::take(&mut context.exact);
            rows.prepare(query, &mut exact);
            self.waiting
                .allowed(scope.linked, scope.allowed(), &mut context.waiting);
            context.top.reset_within(kept, pack_ceiling(params.radius));
            let walked = match hops {
                Some(hops) => self.walk_ball(&exact, hops, &scope, context, &mut stats),
                None => Ok(false),
            };
            let found = walked.and_then(|walked| {
                let top = &mut context.top;
                if walked {
                    let waiting = context.waiting.iter().copied();
                    compare(rows, &exact, waiting, cancel, top, &mut stats)?;
                    scan(
                        rows,
                        &exact,
                        scope.linked..scope.len,
                        scope.allowed(),
                        cancel,
                        top,
                        &mut stats,
                    )
                } else {
                    top.reset_within(kept, pack_ceiling(params.radius));
                    stats.exact = true;
                    stats.way = Plan::Scan.into();
                    scan(
                        rows,
                        &exact,
                        0..scope.len,
                        scope.allowed(),
                        cancel,
                        top,
                        &mut stats,
                    )
                }
            });
            context.exact = exact;
            found?;
            context.emit(out);
            let cut = out.len() > params.limit;
            out.truncate(params.limit);
            Ok((stats, cut))
        })
    }

    /// Walks through everything within the radius that links lead to; false if a scan is cheaper after all.
    fn walk_ball(
        &self,
        query: &Query,
        hops: u64,
        scope: &Scope<'_>,
        context: &mut Context<S>,
        stats: &mut Stats,
    ) -> Result<bool, Cancelled> {
        let Some(entry) = self.graph.entry() else {
            return Ok(false);
        };
        let Context {
            visited,
            batch,
            heaps,
            top,
            waiting,
            ..
        } = context;
        let mut walk = Walk {
            space: self.points.rows(),
            graph: &self.graph,
            query,
            visited,
            batch,
            stats,
            cancel: scope.cancel,
        };
        walk.visited.reset(scope.len);
        let start = walk.descend(entry, 0)?;
        walk.visited.insert(slot_of(start));
        walk.stats.ef = scope.task.ef;
        walk.stats.way = Plan::Beam { width: 0 }.into();
        heaps.reset(scope.task.ef);
        let (best, open) = heaps.parts();
        let takes = |slot: u32| {
            slot < scope.linked
                && scope.allow.get(slot as usize)
                && (waiting.is_empty() || waiting.binary_search(&slot).is_err())
        };
        let mut ball = Ball {
            best,
            open,
            inside: top,
            takes,
            hops,
        };
        ball.push(&mut [start]);
        walk.beam(0, &mut ball, &Stop::at(usize::MAX))?;
        Ok(ball.hops > 0)
    }
}

/// A beam that never closes to what lies within the radius: the nearest nodes, and all those inside.
struct Ball<'a, F: Fn(u32) -> bool> {
    best: &'a mut TopK,
    open: &'a mut BinaryHeap<Reverse<Key>>,
    /// Those to be returned; its bound is the radius, or nearer where more than enough lie within.
    inside: &'a mut TopK,
    takes: F,
    /// Nodes that may still be expanded.
    hops: u64,
}

impl<F: Fn(u32) -> bool> Beam for Ball<'_, F> {
    fn reset(&mut self, capacity: usize) {
        self.best.reset(capacity);
        self.open.clear();
    }

    fn push(&mut self, keys: &mut [Key]) {
        for &mut key in keys {
            if key < self.bound() {
                self.best.push(key);
                self.open.push(Reverse(key));
                if (self.takes)(slot_of(key)) {
                    self.inside.push(key);
                }
            }
        }
    }

    fn pop(&mut self) -> Option<Key> {
        let Reverse(key) = self.open.pop()?;
        if self.hops == 0 || key > self.bound() {
            return None;
        }
        self.hops -= 1;
        Some(key)
    }

    fn upcoming(&self, count: usize, visit: impl FnMut(Key)) {
        let open = self.open.iter().map(|&Reverse(key)| key);
        open.take(count).for_each(visit);
    }

    fn bound(&self) -> Key {
        self.best.bound().max(self.inside.bound())
    }

    fn drain(&mut self, out: &mut Vec<Key>) {
        out.clear();
        out.extend_from_slice(self.inside.sorted());
    }
}
