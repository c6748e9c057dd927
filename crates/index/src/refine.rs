//! From estimates to answers: the nearest by estimate are compared on their vectors, and where estimates turn out to say
//! next to nothing, the search is done again on vectors alone.
//!
//! That is so where rows lie far from the centre that codes were made with and near each other: rows of another kind than
//! those before, until codes are made anew, or one of two crowds, which no centre suits.

use crate::{
    context::Context,
    error::Cancelled,
    extremes::is_told,
    fit::Fit,
    hnsw::Hnsw,
    key::{Key, distance_of, slot_of},
    kind::Query,
    params::Stats,
    plan::Plan,
    scan::unasked_max,
    scope::Scope,
    search::Nearest,
    space::{GROUP, Points, Space},
};

/// Standard deviations of an estimate beyond which nothing is expected.
const REFINE_DEVIATIONS: f32 = 3.5;
/// Vectors compared at a time when estimates are refined.
const REFINE_STEP: usize = 4;
/// Vectors compared between two questions whether to go on with refining, at most: they are not read in their order.
const CANCEL_REFINED: usize = 1024;

impl<S: Points> Hnsw<S> {
    /// Replaces estimated distances in `context.top`, which `way` led to, by those to the vectors and keeps the nearest
    /// `k`. The query is given as it is compared with codes, and with vectors.
    pub(crate) fn refine(
        &self,
        way: Plan,
        scope: &Scope<'_>,
        (coarse, exact): (&S::Query, &Query),
        context: &mut Context<S>,
        stats: &mut Stats,
    ) -> Result<(), Cancelled> {
        let is_cut = way != Plan::Scan || context.top.is_full();
        let began = scope.watch.now();
        self.compare_kept(scope, (coarse, exact), context, stats)?;
        stats.times.refine += scope.watch.since(began);
        let Context {
            top, found, refined, ..
        } = context;
        // Estimates are not squeezed as distances are, and tell nothing of those.
        let bound = distance_of(top.bound());
        let is_squeezed = bound != 0.0 && bound.is_finite() && !is_told(bound);
        if is_squeezed && self.points.rows().is_wide() {
            return self.search_again(way, scope, exact, context, stats);
        }
        // Of what a walk did not come to or was left out because it is too much none is nearer by estimate than these. Where
        // some of them were not worth a look, there is nothing beyond those either.
        let Some(&last) = found.last().filter(|_| is_cut && refined.len() == found.len()) else {
            return Ok(());
        };
        let estimates = found.iter().map(|&key| distance_of(key));
        let fit: Fit = estimates.zip(refined.iter().copied()).collect();
        if fit.is_blind(S::TELLING, distance_of(last), bound) {
            return self.search_again(way, scope, exact, context, stats);
        }
        Ok(())
    }

    /// As [`Hnsw::refine`], of what is in `context.top` alone, in order into `context.found`. Vectors that can hardly be
    /// among the nearest, by the estimate's deviation, are not read; `context.refined` has the distances of the others.
    fn compare_kept(
        &self,
        scope: &Scope<'_>,
        (coarse, exact): (&S::Query, &Query),
        context: &mut Context<S>,
        stats: &mut Stats,
    ) -> Result<(), Cancelled> {
        let k = scope.k;
        let Context {
            top,
            found,
            batch,
            refined: told,
            ..
        } = context;
        told.clear();
        found.clear();
        found.extend_from_slice(top.sorted());
        top.reset(k);
        let mut rest = found.iter().copied().peekable();
        let unasked_max = unasked_max(Space::bytes(self.points.rows())).min(CANCEL_REFINED);
        let (mut refined, mut unasked) = (0, 0);
        while rest.peek().is_some() {
            let bound = distance_of(top.bound());
            let near = |&key: &Key| {
                // Not a number while `top` is not full, and where estimates are none: everything is near.
                let deviation = self.points.deviation(coarse, slot_of(key));
                let least = distance_of(key) - REFINE_DEVIATIONS * deviation;
                least <= bound || bound.is_nan() || least.is_nan()
            };
            // Those that are needed whatever they are, then a few at a time: each may bring the bound nearer.
            let first = k.clamp(REFINE_STEP, GROUP);
            let count = if refined == 0 { first } else { REFINE_STEP };
            batch.len = 0;
            for key in rest.by_ref().filter(near).take(count) {
                batch.slots[batch.len] = slot_of(key);
                batch.len += 1;
            }
            let (slots, distances) = (&batch.slots[..batch.len], &mut batch.distances[..batch.len]);
            self.points.rows().distances(exact, slots, distances);
            told.extend_from_slice(distances);
            batch.keys().iter().for_each(|&key| top.push(key));
            refined += batch.len as u64;
            unasked += batch.len;
            if unasked >= unasked_max {
                unasked = 0;
                if (scope.cancel)() {
                    return Err(Cancelled);
                }
            }
        }
        stats.refined += refined;
        stats.distances += refined;
        stats.exact = false;
        Ok(())
    }

    /// As [`Hnsw::nearest`] on vectors, the same way as before on codes.
    fn search_again(
        &self,
        way: Plan,
        scope: &Scope<'_>,
        exact: &Query,
        context: &mut Context<S>,
        stats: &mut Stats,
    ) -> Result<(), Cancelled> {
        stats.repeated = true;
        if way == Plan::Scan {
            return self.compare_all(scope, exact, context, stats);
        }
        let ask = scope.ask(self.points.rows(), exact, false);
        match self.nearest(way, &ask, context, stats)? {
            Nearest::Found => Ok(()),
            Nearest::OutOfReach => self.far(scope, exact, context, stats),
        }
    }
}
