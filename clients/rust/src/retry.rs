//! Whether and when a failed call is sent again: a pure decision.

use std::time::Duration;

use longbow_types::{Error, ErrorCode, error::ErrorKind};

use crate::options::RetryPolicy;

/// Whether a call may reach the cluster twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// It changes nothing.
    Read,
    /// Twice leaves what once does, unless another writer came between.
    Harmless,
    /// Only when it surely did not happen the first time.
    OnlyIfNotSent,
}

/// One failed attempt.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    /// What the attempt ended with.
    pub error: Error,
    /// Whether the request surely never left this process.
    pub not_sent: bool,
}

/// The pause before the next attempt, or `None` to give up.
///
/// `retries` counts those made so far, `left` is the time until the deadline, `random` is uniform in 0..1.
pub(crate) fn pause_after(
    failure: &Failure,
    repeat: Repeat,
    retries: u32,
    left: Duration,
    policy: &RetryPolicy,
    random: f64,
) -> Option<Duration> {
    let error = &failure.error;
    let allowed = match repeat {
        Repeat::Read | Repeat::Harmless => true,
        // A refusal because the world had changed wrote nothing, nor does one for want of memory.
        Repeat::OnlyIfNotSent => {
            let wrote_nothing =
                error.code.kind() == ErrorKind::Aborted || error.code == ErrorCode::MemoryFull;
            failure.not_sent || wrote_nothing
        }
    };
    if !allowed || retries >= policy.retries_max || !can_help(error) {
        return None;
    }
    let longest = policy
        .pause_min
        .saturating_mul(1 << retries.min(20))
        .min(policy.pause_max);
    // A pause that is not shorter than what is left is none; so the product cannot overflow.
    let own = longest
        .min(left.saturating_mul(2))
        .mul_f64(0.5 + 0.5 * random.clamp(0.0, 1.0));
    let pause = error.retry_after.map_or(own, |asked| asked.max(own));
    // An attempt that comes too late would hide a refusal that can be acted on, so one is left as much time as the pause.
    let needed = if is_unknown(error) {
        pause
    } else {
        pause.saturating_mul(2)
    };
    (needed < left).then_some(pause)
}

/// What to tell of a change that failed: a refusal says that nothing was written, which an earlier attempt whose answer
/// was lost may belie.
pub(crate) fn told(refusal: Error, unknown: Option<Error>) -> Error {
    let Some(unknown) = unknown.filter(|_| !is_unknown(&refusal)) else {
        return refusal;
    };
    let message = format!(
        "an earlier attempt may or may not have happened ({}); last heard: {}: {}",
        unknown.message, refusal.code, refusal.message
    );
    Error::new(unknown.code, message)
}

/// What to tell of a change whose last attempt was not answered in time: nobody knows what became of that one, but what
/// an earlier one was refused for says why there were so many.
pub(crate) fn late(error: Error, refused: Option<Error>) -> Error {
    let Some(refused) = refused.filter(|_| error.code == ErrorCode::DeadlineExceeded) else {
        return error;
    };
    let message = format!(
        "{}; the attempt before was refused: {}: {}",
        error.message, refused.code, refused.message
    );
    Error {
        message: message.into(),
        ..error
    }
}

/// Whether a change may have happened although this came back.
pub(crate) fn is_unknown(error: &Error) -> bool {
    matches!(
        error.code.kind(),
        ErrorKind::Unavailable | ErrorKind::DeadlineExceeded
    )
}

/// Whether the same call may succeed later.
fn can_help(error: &Error) -> bool {
    // Nobody but an operator ends these.
    if matches!(
        error.code,
        ErrorCode::ReplicaStopped | ErrorCode::ReplicaLost | ErrorCode::StorageFailed
    ) {
        return error.retry_after.is_some();
    }
    matches!(error.code.kind(), ErrorKind::Unavailable | ErrorKind::Aborted) || error.retry_after.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn failed(code: ErrorCode) -> Failure {
        Failure {
            error: Error::new(code, "x"),
            not_sent: false,
        }
    }

    fn pause(failure: &Failure, repeat: Repeat, retries: u32, left: Duration) -> Option<Duration> {
        pause_after(failure, repeat, retries, left, &RetryPolicy::default(), 1.0)
    }

    #[test]
    fn only_what_may_pass_is_sent_again() {
        for (code, again) in [
            (ErrorCode::NoLeader, true),
            (ErrorCode::Unreachable, true),
            (ErrorCode::MapEpochStale, true),
            (ErrorCode::DimensionMismatch, false),
            (ErrorCode::DatasetNotFound, false),
            (ErrorCode::LatchTripped, false),
            (ErrorCode::Overloaded, false),
            (ErrorCode::DeadlineExceeded, false),
        ] {
            assert_eq!(
                pause(&failed(code), Repeat::Harmless, 0, LONG).is_some(),
                again,
                "{code}"
            );
        }
    }

    #[test]
    fn calls_that_may_not_happen_twice_need_proof() {
        let mut failure = failed(ErrorCode::NoLeader);
        assert_eq!(pause(&failure, Repeat::OnlyIfNotSent, 0, LONG), None);
        failure.not_sent = true;
        assert!(pause(&failure, Repeat::OnlyIfNotSent, 0, LONG).is_some());
        assert!(
            pause(
                &failed(ErrorCode::SchemaVersionStale),
                Repeat::OnlyIfNotSent,
                0,
                LONG
            )
            .is_some()
        );
    }

    #[test]
    fn a_refusal_does_not_hide_an_attempt_that_may_have_happened() {
        let error = |code| Error::new(code, "x");
        let (lost, refused) = (error(ErrorCode::NoLeader), error(ErrorCode::LatchTripped));
        assert_eq!(told(refused.clone(), None).code, ErrorCode::LatchTripped);
        let told_of_both = told(refused, Some(lost.clone()));
        assert_eq!(told_of_both.code, ErrorCode::NoLeader);
        let text = told_of_both.to_string();
        assert!(
            text.contains("may or may not") && text.contains("LATCH_TRIPPED"),
            "{text}"
        );
        assert_eq!(
            told(error(ErrorCode::Unreachable), Some(lost)).code,
            ErrorCode::Unreachable
        );
    }

    #[test]
    fn pauses_grow_to_a_bound_and_end() {
        let failure = failed(ErrorCode::NoLeader);
        let policy = RetryPolicy::default();
        let all: Vec<_> = (0..12)
            .map(|n| pause(&failure, Repeat::Harmless, n, LONG))
            .collect();
        assert_eq!(all[0], Some(policy.pause_min));
        assert_eq!(all[1], Some(policy.pause_min * 2));
        assert_eq!(all[9], Some(policy.pause_max));
        assert_eq!(all[10], None);
    }

    #[test]
    fn the_longest_pauses_there_are_mean_no_retry() {
        let policy = RetryPolicy {
            pause_min: Duration::MAX,
            pause_max: Duration::MAX,
            ..RetryPolicy::default()
        };
        let failure = failed(ErrorCode::NoLeader);
        for random in [0.0, 1.0] {
            assert_eq!(
                pause_after(&failure, Repeat::Harmless, 0, LONG, &policy, random),
                None
            );
        }
    }

    #[test]
    fn a_server_that_says_when_is_obeyed() {
        let mut failure = failed(ErrorCode::Overloaded);
        failure.error = failure.error.retry_after(Duration::from_secs(7));
        assert_eq!(
            pause(&failure, Repeat::Harmless, 0, LONG),
            Some(Duration::from_secs(7))
        );
    }

    #[test]
    fn what_finds_no_memory_is_sent_again_when_there_may_be_some() {
        let mut failure = failed(ErrorCode::MemoryFull);
        failure.error = failure.error.retry_after(Duration::from_secs(1));
        for repeat in [Repeat::Harmless, Repeat::OnlyIfNotSent] {
            assert_eq!(pause(&failure, repeat, 0, LONG), Some(Duration::from_secs(1)));
        }
    }

    #[test]
    fn a_refusal_is_told_rather_than_hidden_by_an_attempt_that_comes_too_late() {
        let mut failure = failed(ErrorCode::MemoryFull);
        failure.error = failure.error.retry_after(Duration::from_secs(1));
        for (left, again) in [(1_500, false), (2_000, false), (2_001, true)] {
            let pause = pause(&failure, Repeat::Harmless, 0, Duration::from_millis(left));
            assert_eq!(pause.is_some(), again, "{left} ms left");
        }
    }

    #[test]
    fn an_attempt_that_came_too_late_names_the_refusal_before_it() {
        let error = |code| Error::new(code, "x");
        let (too_late, full) = (error(ErrorCode::DeadlineExceeded), error(ErrorCode::MemoryFull));
        let told = late(too_late.clone().field("timeout"), Some(full.clone()));
        assert_eq!(told.code, ErrorCode::DeadlineExceeded);
        assert_eq!(told.field.as_deref(), Some("timeout"));
        assert!(told.message.contains("MEMORY_FULL"), "{told}");
        assert_eq!(late(too_late.clone(), None), too_late);
        let other = error(ErrorCode::DatasetNotFound);
        assert_eq!(late(other.clone(), Some(full)), other);
    }

    #[test]
    fn no_retry_starts_after_the_deadline() {
        let failure = failed(ErrorCode::NoLeader);
        assert_eq!(
            pause(&failure, Repeat::Harmless, 3, Duration::from_millis(10)),
            None
        );
    }
}
