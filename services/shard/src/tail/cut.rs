//! Which keepers have cut the next entry off their logs? Each cuts its own, so another may still have it.

use std::collections::BTreeMap;

use longbow_types::{Error, ErrorCode, NodeId};

/// A keeper that failed so often without a word about the entry is not waited for: one without a log never says one.
const FAILURES_MAX: u32 = 3;

/// What keepers say of one entry.
#[derive(Debug, Default)]
pub(super) struct Cut {
    next: u64,
    /// The first entry of each keeper that refused it.
    first: BTreeMap<NodeId, u64>,
    /// How often others failed.
    failures: BTreeMap<NodeId, u32>,
}

impl Cut {
    /// A keeper has refused the entry that is next.
    pub(super) fn refused(&mut self, next: u64, keeper: NodeId, error: &Error) {
        self.turn(next);
        let first = error.limit.as_deref().and_then(|limit| limit.parse().ok());
        self.first.insert(keeper, first.unwrap_or(u64::MAX));
    }

    /// A keeper has failed for another reason while the entry was next.
    pub(super) fn failed(&mut self, next: u64, keeper: NodeId) {
        self.turn(next);
        let failures = self.failures.entry(keeper).or_default();
        *failures = failures.saturating_add(1);
    }

    /// The keeper whose log reaches back farthest, if no other that is live may still have the entry.
    pub(super) fn deepest<'a>(&self, live: impl IntoIterator<Item = &'a NodeId>) -> Option<&'a NodeId> {
        let mut deepest = None;
        for keeper in live {
            match (self.first.get(keeper), self.failures.get(keeper)) {
                (Some(&first), _) => deepest = deepest.into_iter().chain([(first, keeper)]).min(),
                (None, Some(&failures)) if failures >= FAILURES_MAX => {}
                _ => return None,
            }
        }
        deepest.map(|(_, keeper)| keeper)
    }

    fn turn(&mut self, next: u64) {
        if self.next != next {
            *self = Self {
                next,
                ..Self::default()
            };
        }
    }
}

/// Whether a keeper refused an entry because it was cut.
pub(super) fn is_cut(error: &anyhow::Error) -> Option<&Error> {
    let error = error.downcast_ref::<Error>()?;
    (error.code == ErrorCode::LogTruncated).then_some(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> NodeId {
        name.parse().unwrap()
    }

    fn begins_at(first: u64) -> Error {
        Error::new(ErrorCode::LogTruncated, "gone").limit(first)
    }

    #[test]
    fn every_keeper_is_asked_before_an_entry_is_given_up() {
        let live = ["k0", "k1", "k2"].map(node);
        let mut cut = Cut::default();
        assert_eq!(cut.deepest([]), None, "nobody is there");
        cut.refused(7, node("k0"), &begins_at(30));
        cut.refused(7, node("k2"), &begins_at(10));
        assert_eq!(cut.deepest(&live), None, "k1 may have it");
        assert_eq!(cut.deepest(&live[2..]), Some(&live[2]));
        // One that does not say where it begins is the last to go on with.
        cut.refused(7, node("k1"), &Error::new(ErrorCode::LogTruncated, "gone"));
        assert_eq!(cut.deepest(&live), Some(&live[2]));
        assert_eq!(cut.deepest(&live[1..2]), Some(&live[1]));
        // Another entry is another question.
        cut.refused(8, node("k0"), &begins_at(30));
        assert_eq!(cut.deepest(&live), None);
    }

    #[test]
    fn one_that_never_says_a_word_holds_nobody_up() {
        let live = ["k0", "k1"].map(node);
        let mut cut = Cut::default();
        for _ in 0..10 {
            cut.failed(7, node("k1"));
        }
        assert_eq!(cut.deepest(&live), None, "k0 may have it");
        assert_eq!(cut.deepest(&live[1..]), None, "nobody said that it is gone");
        cut.refused(7, node("k0"), &begins_at(30));
        assert_eq!(cut.deepest(&live), Some(&live[0]));
        // Once is not often.
        cut.refused(8, node("k0"), &begins_at(30));
        cut.failed(8, node("k1"));
        assert_eq!(cut.deepest(&live), None);
    }

    #[test]
    fn only_a_cut_is_one() {
        assert!(is_cut(&begins_at(3).into()).is_some());
        assert!(is_cut(&Error::new(ErrorCode::NotLeader, "").into()).is_none());
        assert!(is_cut(&anyhow::anyhow!("it fell silent")).is_none());
    }
}
