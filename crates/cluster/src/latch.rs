//! The cluster-wide, sticky "stop accepting writes", and the rule that trips it.
//!
//! The register travels by gossip and watch streams and is persisted by keepers and shards; of two, the one that
//! [`LatchState::merge`] prefers wins everywhere, in whatever order they arrive.

use std::collections::BTreeMap;

use longbow_types::{Error, ErrorCode, NodeId, Result};
use longbow_wire::internal::LatchRegister;

/// Longest reason of a reset: with it a register still fits into a packet of gossip.
const REASON_BYTES_MAX: usize = 400;

/// The latch register as one node knows it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LatchState {
    register: LatchRegister,
}

impl LatchState {
    /// Starts from a stored register.
    pub fn new(register: LatchRegister) -> Self {
        Self { register }
    }

    /// The register.
    pub fn register(&self) -> &LatchRegister {
        &self.register
    }

    /// Whether writes are refused.
    pub fn is_tripped(&self) -> bool {
        self.register.tripped
    }

    /// The refusal that a write gets while tripped.
    pub fn refusal(&self) -> Option<Error> {
        refusal(&self.register)
    }

    /// Takes in another node's register: the higher epoch wins; in one epoch tripped wins over not, then the greater
    /// cause, so that all nodes end alike. Returns whether anything changed.
    pub fn merge(&mut self, other: &LatchRegister) -> bool {
        let rank = |register: &LatchRegister| (register.epoch, register.tripped, register.cause.clone());
        let wins = rank(other) > rank(&self.register);
        if wins {
            self.register = other.clone();
        }
        wins
    }

    /// Trips the latch. Returns whether it was open before.
    pub fn trip(&mut self, cause: impl Into<String>) -> bool {
        if self.register.tripped {
            return false;
        }
        self.register = LatchRegister {
            epoch: self.register.epoch + 1,
            tripped: true,
            cause: cause.into(),
        };
        true
    }

    /// Opens the latch again. An operator asks for this, after a disk test, and may say why. Returns whether it was tripped.
    pub fn reset(&mut self, reason: &str) -> bool {
        if !self.register.tripped {
            return false;
        }
        self.register = LatchRegister {
            epoch: self.register.epoch + 1,
            tripped: false,
            cause: reason.to_owned(),
        };
        true
    }
}

/// Checks what an operator gives as the reason of a reset.
///
/// # Errors
/// `TOO_LARGE` with the limit.
pub fn check_reason(reason: &str) -> Result<()> {
    if reason.len() <= REASON_BYTES_MAX {
        return Ok(());
    }
    let message = format!("a reason of {} bytes", reason.len());
    Err(Error::new(ErrorCode::TooLarge, message)
        .field("reason")
        .limit(REASON_BYTES_MAX))
}

/// The refusal that a write gets under a register; `None` while the latch is open.
pub fn refusal(register: &LatchRegister) -> Option<Error> {
    register.tripped.then(|| {
        let message = format!("writes are refused since a fatal flush error: {}", register.cause);
        Error::new(ErrorCode::LatchTripped, message).field("latch")
    })
}

/// Fatal flush signals of keepers, each for one life of one keeper's disk.
///
/// Being unreachable is no signal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Signals(BTreeMap<NodeId, Signal>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Signal {
    disk_generation: u64,
    cause: Option<String>,
}

impl Signals {
    /// Takes note of how a keeper's disk is: `cause` says why it can no longer flush. News about an earlier life of the
    /// disk is ignored, and so is recovery within one life. Returns whether anything changed.
    pub fn observe(&mut self, keeper: &NodeId, disk_generation: u64, cause: Option<&str>) -> bool {
        if let Some(have) = self.0.get(keeper)
            && (have.disk_generation > disk_generation
                || have.disk_generation == disk_generation && (have.cause.is_some() || cause.is_none()))
        {
            return false;
        }
        let signal = Signal {
            disk_generation,
            cause: cause.map(str::to_owned),
        };
        self.0.insert(keeper.clone(), signal);
        true
    }

    /// Why the latch must trip: so many voters have a fatal signal that the rest are no quorum.
    pub fn verdict(&self, voters: &[NodeId]) -> Option<String> {
        let failed: Vec<String> = voters
            .iter()
            .filter_map(|voter| {
                let cause = self.0.get(voter)?.cause.as_deref()?;
                Some(format!("{voter}: {cause}"))
            })
            .collect();
        let quorum = voters.len() / 2 + 1;
        let healthy = voters.len() - failed.len();
        (!failed.is_empty() && healthy < quorum).then(|| failed.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn register() -> impl Strategy<Value = LatchRegister> {
        (0u64..4, any::<bool>(), "[ab]{0,1}").prop_map(|(epoch, tripped, cause)| LatchRegister {
            epoch,
            tripped,
            cause,
        })
    }

    proptest! {
        #[test]
        fn merge_ends_alike_in_any_order(registers in proptest::collection::vec(register(), 1..6)) {
            let mut forth = LatchState::default();
            let mut back = LatchState::default();
            registers.iter().for_each(|r| { forth.merge(r); });
            registers.iter().rev().for_each(|r| { back.merge(r); });
            prop_assert_eq!(&forth, &back);
            prop_assert!(registers.iter().all(|r| r.epoch <= forth.register().epoch));
            prop_assert!(!forth.clone().merge(&forth.register().clone()));
        }
    }

    #[test]
    fn trips_and_resets_raise_the_epoch() {
        let mut latch = LatchState::default();
        assert!(latch.trip("EIO") && !latch.trip("again"));
        assert_eq!(
            (latch.register().epoch, latch.register().cause.as_str()),
            (1, "EIO")
        );
        assert_eq!(latch.refusal().unwrap().code, ErrorCode::LatchTripped);
        assert!(latch.reset("a new disk") && !latch.reset("again"));
        assert_eq!((latch.register().epoch, latch.refusal()), (2, None));
        assert_eq!(latch.register().cause, "a new disk");
        assert!(check_reason(&"x".repeat(400)).is_ok());
        let refused = check_reason(&"x".repeat(401)).unwrap_err();
        assert_eq!(
            (refused.code, refused.limit.as_deref()),
            (ErrorCode::TooLarge, Some("400"))
        );
    }

    #[test]
    fn trips_when_no_quorum_can_form() {
        let voters: Vec<NodeId> = ["a", "b", "c"].iter().map(|n| n.parse().unwrap()).collect();
        let mut signals = Signals::default();
        assert!(signals.observe(&voters[0], 1, Some("EIO")));
        assert_eq!(signals.verdict(&voters), None);
        assert_eq!(signals.verdict(&voters[..1]).as_deref(), Some("a: EIO"));
        assert!(signals.observe(&voters[2], 7, Some("EIO")));
        assert_eq!(signals.verdict(&voters).as_deref(), Some("a: EIO; c: EIO"));
        // One life of a disk never recovers; the next one does.
        assert!(!signals.observe(&voters[0], 1, None));
        assert!(signals.observe(&voters[0], 2, None));
        assert_eq!(signals.verdict(&voters), None);
    }
}
