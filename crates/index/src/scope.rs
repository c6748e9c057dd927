//! What is searched, and how one query is compared with it.

use std::ops::Range;

use longbow_kernels::Bitset;

use crate::{
    bits::Bits,
    clock::Watch,
    context::Context,
    error::Cancelled,
    key::slot_of,
    params::Stats,
    plan::{Plan, Task},
    scan::{Allowed, scan},
    space::{Points, Space},
    topk::TopK,
};

/// What is searched.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'a> {
    pub(crate) allow: &'a Bitset,
    pub(crate) removed: &'a Bits,
    pub(crate) cancel: &'a dyn Fn() -> bool,
    pub(crate) watch: Watch<'a>,
    /// Neighbours that there are to find.
    pub(crate) k: usize,
    pub(crate) task: Task,
    /// Allowed slots beyond those that are linked, or wait.
    pub(crate) tail: usize,
    /// Slots below are linked, or wait.
    pub(crate) linked: u32,
    /// Slots below were appended when the search began.
    pub(crate) len: u32,
}

impl<'a> Scope<'a> {
    pub(crate) fn allowed(&self) -> Allowed<'a> {
        Allowed {
            allow: self.allow,
            removed: self.removed,
        }
    }

    /// Slots that are allowed, and those of them that are not linked; of the allowed ones below `linked` some wait.
    pub(crate) fn counts(&self, waiting: usize) -> (usize, usize) {
        (self.task.allowed + self.tail, self.tail + waiting)
    }

    /// A search here for one query.
    pub(crate) fn ask<P: Space>(&'a self, space: &'a P, query: &'a P::Query, estimates: bool) -> Ask<'a, P> {
        Ask {
            space,
            query,
            estimates,
            scope: self,
        }
    }
}

/// A search on distances of one kind.
pub(crate) struct Ask<'a, P: Space> {
    pub(crate) space: &'a P,
    pub(crate) query: &'a P::Query,
    /// Whether distances are estimates, which somebody refines.
    pub(crate) estimates: bool,
    pub(crate) scope: &'a Scope<'a>,
}

impl<P: Space> Ask<'_, P> {
    /// How many of the nearest are kept for an answer of `k`.
    pub(crate) fn kept(&self, k: usize, way: Plan) -> usize {
        kept::<P>(k, way, self.scope, self.estimates)
    }

    pub(crate) fn scan(&self, range: Range<u32>, top: &mut TopK, stats: &mut Stats) -> Result<(), Cancelled> {
        let (allowed, cancel) = (self.scope.allowed(), self.scope.cancel);
        scan(self.space, self.query, range, allowed, cancel, top, stats)
    }

    /// Drops what is not allowed, what was appended since, and what is compared because it waits.
    pub(crate) fn keep_allowed<S: Points>(&self, context: &mut Context<S>) {
        let Context { found, waiting, .. } = context;
        found.retain(|&key| {
            let slot = slot_of(key);
            slot < self.scope.len
                && self.scope.allowed().has(slot)
                && (waiting.is_empty() || waiting.binary_search(&slot).is_err())
        });
    }
}

/// Most rows that are kept of a scan in addition, because codes mix them up.
const MIXED_MAX: usize = 8192;
/// Rows of a scan for each that is refined, up to which codes are not looked at.
const IDLE_TIMES: usize = 3;

/// Whether codes are of no use: so many of the rows of a scan would be refined that comparing all on their vectors is as
/// good.
pub(crate) fn codes_are_idle<P: Space>(scope: &Scope<'_>) -> bool {
    let rows = scope.task.allowed + (scope.len - scope.linked) as usize;
    kept::<P>(scope.k, Plan::Scan, scope, true).saturating_mul(IDLE_TIMES) >= rows
}

/// How many of the nearest by estimates are kept of a walk for an answer of `k`.
pub(crate) fn walked_to_keep<P: Space>(k: usize) -> usize {
    k.saturating_mul(P::CANDIDATES).saturating_add(10)
}

/// How many of the nearest are kept for an answer of `k`: of estimates, those among which the `k` nearest are looked for.
pub(crate) fn kept<P: Space>(k: usize, way: Plan, scope: &Scope<'_>, estimates: bool) -> usize {
    if !estimates {
        return k;
    }
    // Scanning rows costs so much that keeping some more does not show. Where all lie far from the query, estimates mix many
    // of them up; which ones are refined in the end is for their deviations to say.
    let (walked, scanned) = match way {
        Plan::Scan => (
            k.saturating_mul(P::CANDIDATES + 1).saturating_add(20),
            scope.task.allowed + scope.tail,
        ),
        _ => (walked_to_keep::<P>(k), scope.tail),
    };
    let more = scanned.checked_div(P::MIXED_SHARE).unwrap_or(0).min(MIXED_MAX);
    walked.saturating_add(more)
}
