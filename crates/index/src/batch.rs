//! Many searches at once: scans fetch rows once for many queries, and walks are advanced in turn.
//!
//! Every query is answered as if it had been asked alone.

use crossbeam_epoch as epoch;
use longbow_kernels::Bitset;

use crate::{
    context::Context,
    error::Cancelled,
    hnsw::Hnsw,
    key::slot_of,
    params::{Answer, Mode, SearchParams, Stats},
    plan::{Plan, plan},
    queue::Beam,
    scan::{CANCEL_DISTANCES, allowed, take, tiles},
    scope::Scope,
    search::SORTED_MAX,
    space::{GROUP, Points, Space},
    store::Store,
    traverse::{Descent, Walk},
};

/// Walks in progress together: their nodes' memory has to fit the first-level cache.
const WALKS: usize = 4;
/// Queries that a tile of rows is compared with before the next one is read.
const SCANS: usize = 32;

/// Exchanges the query of a kind of distances with the one in a context.
type Swap<S, P> = fn(&mut Context<S>, &mut <P as Space>::Query);

/// One search of a batch.
struct Lane<S: Points, P: Space> {
    /// Which query of the batch.
    at: usize,
    context: Box<Context<S>>,
    query: P::Query,
    stats: Stats,
    /// While on the upper levels.
    descent: Option<Descent>,
}

impl<S: Points> Hnsw<S> {
    pub(crate) fn search_batch(
        &self,
        queries: &[&[f32]],
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
            return Ok(());
        }
        let _pin = epoch::pin();
        let batch = (queries, out);
        match params.mode {
            Mode::Auto => {
                let swap: Swap<S, S> = |context, query| std::mem::swap(&mut context.query, query);
                self.all(&self.points, swap, S::QUANTIZED, plan(&scope.task), &scope, batch)
            }
            Mode::FullPrecision | Mode::Exact => {
                let swap: Swap<S, Store<S::Element>> =
                    |context, query| std::mem::swap(&mut context.exact, query);
                let way = match params.mode {
                    Mode::Exact => Plan::Scan,
                    _ => plan(&scope.task),
                };
                self.all(self.points.rows(), swap, false, way, &scope, batch)
            }
        }
    }

    fn all<P: Space>(
        &self,
        space: &P,
        swap: Swap<S, P>,
        estimates: bool,
        way: Plan,
        scope: &Scope<'_>,
        (queries, out): (&[&[f32]], &mut [Answer]),
    ) -> Result<(), Cancelled> {
        let searches = Searches {
            index: self,
            space,
            swap,
            estimates,
            way,
            scope,
            queries,
        };
        match way {
            Plan::Scan => searches.scan(out),
            Plan::Beam { width } if width <= SORTED_MAX => searches.walk(width, out),
            _ => searches.one_by_one(out),
        }
    }
}

/// The searches of a batch; all are planned alike.
struct Searches<'a, S: Points, P: Space> {
    index: &'a Hnsw<S>,
    space: &'a P,
    swap: Swap<S, P>,
    estimates: bool,
    way: Plan,
    scope: &'a Scope<'a>,
    queries: &'a [&'a [f32]],
}

impl<S: Points, P: Space> Searches<'_, S, P> {
    fn begin(&self, at: usize) -> Lane<S, P> {
        let mut context = self.index.contexts.take();
        let mut query = P::Query::default();
        (self.swap)(&mut context, &mut query);
        self.space.prepare(self.queries[at], &mut query);
        let scope = self.scope;
        self.index
            .waiting
            .allowed(scope.linked, scope.allow, &mut context.waiting);
        Lane {
            at,
            context,
            query,
            stats: Stats::default(),
            descent: None,
        }
    }

    /// Refines and hands out what a lane has in its `top`.
    fn end(&self, mut lane: Lane<S, P>, out: &mut [Answer]) {
        let answer = &mut out[lane.at];
        (self.swap)(&mut lane.context, &mut lane.query);
        if self.estimates {
            let coarse = std::mem::take(&mut lane.context.query);
            let mut exact = std::mem::take(&mut lane.context.exact);
            self.index
                .points
                .rows()
                .prepare(self.queries[lane.at], &mut exact);
            self.index
                .refine(self.scope.k, &coarse, &exact, &mut lane.context, &mut lane.stats);
            (lane.context.query, lane.context.exact) = (coarse, exact);
        }
        lane.context.emit(&mut answer.neighbors);
        answer.stats = self.index.finished(self.scope, lane.stats);
        self.index.contexts.give(lane.context);
    }

    fn one_by_one(&self, out: &mut [Answer]) -> Result<(), Cancelled> {
        for at in 0..self.queries.len() {
            if (self.scope.cancel)() {
                return Err(Cancelled);
            }
            let mut lane = self.begin(at);
            let ask = self.scope.ask(self.space, &lane.query, self.estimates);
            let found = self
                .index
                .nearest(self.way, &ask, &mut lane.context, &mut lane.stats);
            self.end_or_give_back(found, lane, out)?;
        }
        Ok(())
    }

    fn end_or_give_back(
        &self,
        found: Result<(), Cancelled>,
        mut lane: Lane<S, P>,
        out: &mut [Answer],
    ) -> Result<(), Cancelled> {
        match found {
            Ok(()) => self.end(lane, out),
            Err(Cancelled) => {
                (self.swap)(&mut lane.context, &mut lane.query);
                self.index.contexts.give(lane.context);
            }
        }
        found
    }

    /// Compares all allowed slots with all queries, tile by tile.
    fn scan(&self, out: &mut [Answer]) -> Result<(), Cancelled> {
        let scope = self.scope;
        for first in (0..self.queries.len()).step_by(SCANS) {
            let count = SCANS.min(self.queries.len() - first);
            let mut lanes: [Option<Lane<S, P>>; SCANS] =
                std::array::from_fn(|lane| (lane < count).then(|| self.begin(first + lane)));
            let kept = scope
                .ask(self.space, &P::Query::default(), self.estimates)
                .kept(scope.k, self.way);
            for lane in lanes.iter_mut().flatten() {
                lane.context.top.reset(kept);
                lane.stats.exact = true;
            }
            let mut distances = [0.0; GROUP];
            let mut unasked = 0;
            let slots = allowed(scope.allow, 0..scope.len);
            let found = tiles(self.space.tile(), slots, |slots, ahead| {
                let mut ahead = ahead;
                for lane in lanes.iter_mut().flatten() {
                    let distances = &mut distances[..slots.len()];
                    self.space.stream(&lane.query, slots, ahead, distances);
                    take(slots, distances, &mut lane.context.top);
                    lane.stats.distances += slots.len() as u64;
                    ahead = &[];
                }
                unasked += slots.len() * count;
                if unasked >= CANCEL_DISTANCES {
                    unasked = 0;
                    if (scope.cancel)() {
                        return Err(Cancelled);
                    }
                }
                Ok(())
            });
            for lane in lanes.into_iter().flatten() {
                let _ = self.end_or_give_back(found, lane, out);
            }
            found?;
        }
        Ok(())
    }

    /// Advances a few walks in turn: what one asked of memory arrives while the others compute.
    fn walk(&self, width: usize, out: &mut [Answer]) -> Result<(), Cancelled> {
        let mut waiting = 0..self.queries.len();
        let mut lanes: [Option<Lane<S, P>>; WALKS] = std::array::from_fn(|_| None);
        loop {
            let mut busy = false;
            for place in &mut lanes {
                // A walk may be too short to ask.
                if place.is_none() && (self.scope.cancel)() {
                    self.abandon(lanes);
                    return Err(Cancelled);
                }
                let mut lane = match place.take().or_else(|| Some(self.enter(waiting.next()?, width))) {
                    Some(lane) => lane,
                    None => continue,
                };
                busy = true;
                match self.advance(&mut lane) {
                    Ok(true) => *place = Some(lane),
                    Ok(false) => {
                        lane.context.drain();
                        let ask = self.scope.ask(self.space, &lane.query, self.estimates);
                        let found = self
                            .index
                            .after(self.way, &ask, &mut lane.context, &mut lane.stats);
                        if let Err(error) = self.end_or_give_back(found, lane, out) {
                            self.abandon(lanes);
                            return Err(error);
                        }
                    }
                    Err(error) => {
                        let _ = self.end_or_give_back(Err(error), lane, out);
                        self.abandon(lanes);
                        return Err(error);
                    }
                }
            }
            if !busy {
                return Ok(());
            }
        }
    }

    fn abandon(&self, lanes: [Option<Lane<S, P>>; WALKS]) {
        for lane in lanes.into_iter().flatten() {
            let _ = self.end_or_give_back(Err(Cancelled), lane, &mut []);
        }
    }

    fn enter(&self, at: usize, width: usize) -> Lane<S, P> {
        let mut lane = self.begin(at);
        lane.context.visited.reset(self.scope.len);
        lane.context.sorted.reset(width);
        lane.context.batch.len = 0;
        lane.stats.ef = width;
        lane.stats.way = self.way.into();
        lane.descent = self.index.graph.entry().map(|entry| {
            lane.context.batch.slots[0] = entry.slot;
            lane.context.batch.len = 1;
            Descent::new(entry, 0)
        });
        lane
    }

    /// Measures what a lane asked for, and asks for more; false when its walk is over.
    fn advance(&self, lane: &mut Lane<S, P>) -> Result<bool, Cancelled> {
        let Context {
            visited,
            batch,
            sorted,
            ..
        } = &mut *lane.context;
        let mut walk = Walk {
            space: self.space,
            graph: &self.index.graph,
            query: &lane.query,
            visited,
            batch,
            stats: &mut lane.stats,
            cancel: self.scope.cancel,
        };
        let more = match &mut lane.descent {
            Some(descent) => {
                walk.settle(descent);
                if !walk.look(descent) {
                    let best = descent.best;
                    lane.descent = None;
                    walk.visited.insert(slot_of(best));
                    sorted.push(&mut [best]);
                    walk.open(0, sorted)?;
                }
                true
            }
            None => {
                walk.close(0, sorted);
                walk.open(0, sorted)?
            }
        };
        if more {
            for &slot in &walk.batch.slots[..walk.batch.len] {
                self.space.prefetch(slot);
            }
        }
        Ok(more)
    }
}
