//! Many searches at once: scans fetch rows once for many queries. Walks gain nothing from being advanced in turn
//! (measured: 0.85 to 1.01 times the speed of one after the other), so they are not.
//!
//! Every query is answered as if it had been asked alone.

use longbow_kernels::Bitset;

use crate::{
    context::Context,
    error::Cancelled,
    hnsw::Hnsw,
    params::{Answer, Mode, SearchParams, Stats},
    plan::{Plan, plan},
    query::{Queries, QueryVector},
    scan::{take, tiles, unasked_max},
    scope::{Scope, codes_are_idle, kept},
    space::{GROUP, Points, Space},
    sync::epoch,
};

/// Queries that a tile of rows is compared with before the next one is read.
const SCANS: usize = 32;

/// One search of a batch.
struct Lane<S: Points> {
    context: Box<Context<S>>,
    stats: Stats,
}

impl<S: Points> Hnsw<S> {
    /// Answers as many queries as there is room for in `out`.
    pub(crate) fn search_batch(
        &self,
        queries: &dyn Queries,
        params: &SearchParams,
        allow: &Bitset,
        cancel: &dyn Fn() -> bool,
        out: &mut [Answer],
    ) -> Result<(), Cancelled> {
        let answered = self.answer_batch(queries, params, allow, cancel, out);
        if answered.is_err() {
            out.iter_mut().for_each(Answer::clear);
        }
        answered
    }

    /// As [`Hnsw::search_batch`], which clears what was answered when the rest is cancelled.
    fn answer_batch(
        &self,
        queries: &dyn Queries,
        params: &SearchParams,
        allow: &Bitset,
        cancel: &dyn Fn() -> bool,
        out: &mut [Answer],
    ) -> Result<(), Cancelled> {
        out.iter_mut().for_each(Answer::clear);
        if cancel() {
            return Err(Cancelled);
        }
        let scope = self.scope(params, allow, cancel);
        if scope.k == 0 {
            out.iter_mut().for_each(|answer| answer.stats = Stats::of_all());
            return Ok(());
        }
        if params.mode != Mode::Exact && plan(&scope.task) != Plan::Scan {
            for (at, answer) in out.iter_mut().enumerate() {
                answer.stats = self.search(
                    queries.query(at),
                    params,
                    allow,
                    cancel,
                    None,
                    &mut answer.neighbors,
                )?;
            }
            return Ok(());
        }
        let _pin = epoch::pin();
        let estimates = S::QUANTIZED && params.mode == Mode::Auto && !codes_are_idle::<S>(&scope);
        for (part, out) in out.chunks_mut(SCANS).enumerate() {
            let first = part * SCANS;
            if estimates {
                self.scan_together(
                    &self.points,
                    |context| &context.query,
                    true,
                    &scope,
                    (queries, first, out),
                )?;
            } else {
                let rows = self.points.rows();
                self.scan_together(
                    rows,
                    |context| &context.exact,
                    false,
                    &scope,
                    (queries, first, out),
                )?;
            }
        }
        Ok(())
    }

    /// Compares all allowed slots with at most [`SCANS`] queries, from `first` on, tile by tile. `query_of` says which query of a context
    /// is the space's.
    fn scan_together<P: Space>(
        &self,
        space: &P,
        query_of: fn(&Context<S>) -> &P::Query,
        estimates: bool,
        scope: &Scope<'_>,
        (queries, first, out): (&dyn Queries, usize, &mut [Answer]),
    ) -> Result<(), Cancelled> {
        let (count, kept) = (out.len(), kept::<P>(scope.k, Plan::Scan, scope, estimates));
        let mut lanes: [Option<Lane<S>>; SCANS] = std::array::from_fn(|at| {
            (at < count).then(|| self.begin(queries.query(first + at), estimates, kept))
        });
        let mut distances = [0.0; GROUP];
        let (unasked_max, mut unasked) = (unasked_max(space.bytes()), 0);
        let slots = scope.allowed().within(0..scope.len);
        let mut found = tiles(space.tile(), slots, |slots, mut ahead| {
            for lane in lanes.iter_mut().flatten() {
                let distances = &mut distances[..slots.len()];
                space.stream(query_of(&lane.context), slots, ahead, distances);
                take(slots, distances, &mut lane.context.top);
                lane.stats.distances += slots.len() as u64;
                ahead = &[];
                unasked += slots.len();
                if unasked >= unasked_max {
                    unasked = 0;
                    if (scope.cancel)() {
                        return Err(Cancelled);
                    }
                }
            }
            Ok(())
        });
        for (mut lane, answer) in lanes.into_iter().flatten().zip(out) {
            if found.is_ok() {
                found = self.end(&mut lane, estimates, scope, answer);
            }
            self.contexts.give(lane.context);
        }
        found
    }

    fn begin(&self, query: QueryVector<'_>, estimates: bool, kept: usize) -> Lane<S> {
        let mut context = self.contexts.take();
        self.points.rows().prepare(query, &mut context.exact);
        if estimates {
            self.points.prepare(query, &mut context.query);
        }
        context.top.reset(kept);
        let stats = Stats {
            exact: true,
            ..Stats::default()
        };
        Lane { context, stats }
    }

    /// Refines and hands out what a lane has in its `top`.
    fn end(
        &self,
        lane: &mut Lane<S>,
        estimates: bool,
        scope: &Scope<'_>,
        answer: &mut Answer,
    ) -> Result<(), Cancelled> {
        let Lane { context, stats } = lane;
        if estimates {
            let coarse = std::mem::take(&mut context.query);
            let exact = std::mem::take(&mut context.exact);
            let refined = self.refine(Plan::Scan, scope, (&coarse, &exact), context, stats);
            (context.query, context.exact) = (coarse, exact);
            refined?;
        }
        context.emit(&mut answer.neighbors);
        answer.stats = self.finished(scope, *stats);
        Ok(())
    }
}
