//! When is a keeper left that does not have what readers wait for? A keeper cut off from the others goes on with its
//! heartbeats, so only who waits can tell; but its commit index stands still, which that of a healthy one under writes
//! does not, however far ahead readers are.

use std::time::Duration;

use tokio::time::Instant;

/// How long a keeper may stand still while somebody waits. Doubled for each that was left in vain: an index that
/// nobody will ever have must not keep the tail moving from one to the other.
const LIMIT_MIN: Duration = Duration::from_secs(1);
const LIMIT_MAX: Duration = Duration::from_secs(30);

/// Patience with keepers.
pub(super) struct Patience {
    limit: Duration,
    /// Highest commit index of any keeper so far.
    best: u64,
    /// Highest of the keeper followed now.
    here: u64,
    /// Since when somebody has waited while this keeper stood still.
    since: Option<Instant>,
}

impl Patience {
    pub(super) fn new() -> Self {
        Self {
            limit: LIMIT_MIN,
            best: 0,
            here: 0,
            since: None,
        }
    }

    /// Another keeper is followed from here on.
    pub(super) fn turn(&mut self) {
        (self.here, self.since) = (0, None);
    }

    /// Whether to leave the keeper for another. `commit` is its commit index, `wanted` the highest index waited for.
    pub(super) fn is_over(&mut self, now: Instant, commit: u64, wanted: u64) -> bool {
        if commit > self.best {
            (self.best, self.limit) = (commit, LIMIT_MIN);
        }
        if commit > self.here || wanted <= commit {
            self.here = self.here.max(commit);
            self.since = None;
        }
        if wanted <= commit || now.duration_since(*self.since.get_or_insert(now)) < self.limit {
            return false;
        }
        self.limit = (self.limit * 2).min(LIMIT_MAX);
        self.since = None;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keeper_whose_log_moves_on_is_never_left() {
        let (mut patience, start) = (Patience::new(), Instant::now());
        for step in 1..1_000_u32 {
            let (now, commit) = (start + LIMIT_MIN / 4 * step, u64::from(step));
            // Readers of what is being written are always a little ahead; one waits for what never comes.
            let wanted = if step % 2 == 0 { commit + 3 } else { u64::MAX };
            assert!(!patience.is_over(now, commit, wanted), "step {step}");
        }
    }

    #[test]
    fn one_that_stands_still_is_left_while_somebody_waits() {
        let (mut patience, start) = (Patience::new(), Instant::now());
        let at = |quarters: u32| start + LIMIT_MIN / 4 * quarters;
        assert!(!patience.is_over(at(0), 10, 11));
        assert!(!patience.is_over(at(3), 10, 0), "nobody waits any more");
        assert!(!patience.is_over(at(4), 10, 12));
        assert!(!patience.is_over(at(7), 10, 13));
        assert!(patience.is_over(at(8), 10, 14));
    }

    #[test]
    fn what_nobody_has_costs_less_and_less() {
        let (mut patience, start) = (Patience::new(), Instant::now());
        let mut left = 0;
        for second in 0..3_600 {
            if patience.is_over(start + Duration::from_secs(second), 10, u64::MAX) {
                patience.turn();
                left += 1;
            }
        }
        assert!((60..200).contains(&left), "{left} times in an hour");
        // A keeper that has more restores it.
        let end = start + Duration::from_secs(3_600);
        assert!(!patience.is_over(end, 11, 12));
        assert!(patience.is_over(end + LIMIT_MIN, 11, 12));
    }
}
