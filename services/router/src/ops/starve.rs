//! What happens to rows that a shard has no memory for? They are tried again for a while: a shard that is behind has room
//! once it has caught up. After that, and wherever nothing of them is in the log, the refusal is what the caller hears.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use longbow_types::{Error, ErrorCode, Result};
use tokio::sync::Semaphore;

/// How long rows wait for a shard to have memory. What is told then can be acted on.
const STARVE_MAX: Duration = Duration::from_secs(10);

/// An attempt that failed.
#[derive(Debug)]
pub(super) enum Failed {
    /// The command was not sent.
    Unsent(Error),
    /// It was: what was answered, or that no answer came.
    Sent(Error),
}

impl Failed {
    pub(super) fn into_error(self) -> Error {
        match self {
            Self::Unsent(error) | Self::Sent(error) => error,
        }
    }
}

/// Attempts something, again and again while a shard has no memory for it, for as long as `at` and the places in
/// `starving` allow. An attempt is told until when it may wait for its turn.
///
/// # Errors
/// Those of an attempt. `MEMORY_FULL` once the next attempt would come too late, and where it did not get its turn.
pub(super) async fn patiently<T, F>(
    at: Instant,
    starving: &Semaphore,
    mut attempt: impl FnMut(Instant) -> F,
) -> Result<T>
where
    F: Future<Output = Result<T, Failed>>,
{
    let give_up = at.min(Instant::now() + STARVE_MAX);
    let mut turn_by = at;
    let mut refused = None;
    loop {
        let error = match attempt(turn_by).await {
            Ok(done) => return Ok(done),
            Err(Failed::Sent(error)) if error.code == ErrorCode::MemoryFull => error,
            // The log has not heard more than what it refused.
            Err(Failed::Unsent(late)) if late.code == ErrorCode::DeadlineExceeded => {
                return Err(refused.unwrap_or(late));
            }
            Err(other) => return Err(other.into_error()),
        };
        let pause = error.retry_after.unwrap_or(STARVE_MAX);
        // A refusal that comes after the deadline is heard by nobody, and what is tried again needs time as well.
        let end = Instant::now().checked_add(pause.saturating_mul(2));
        let place = starving.try_acquire();
        if place.is_err() || end.is_none_or(|end| end >= give_up) {
            return Err(error);
        }
        tokio::time::sleep(pause).await;
        // Early enough for the refusal to be heard.
        turn_by = give_up.checked_sub(pause / 2).unwrap_or(give_up);
        refused = Some(error);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    fn full() -> Error {
        Error::new(ErrorCode::MemoryFull, "full").retry_after(Duration::from_millis(1))
    }

    fn late() -> Error {
        Error::new(ErrorCode::DeadlineExceeded, "late")
    }

    /// What is told where attempts end so, one after the other.
    async fn told(left: Duration, places: usize, ends: Vec<Result<(), Failed>>) -> (Result<()>, usize) {
        let tries = Cell::new(0);
        let mut ends = ends.into_iter();
        let at = Instant::now() + left;
        let attempt = |turn_by| {
            // Nobody waits for a turn so long that what it is told then comes too late.
            assert!(turn_by < at || tries.get() == 0);
            tries.set(tries.get() + 1);
            std::future::ready(ends.next().unwrap())
        };
        let told = patiently(at, &Semaphore::new(places), attempt).await;
        (told, tries.get())
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn rows_are_in_once_there_is_room() {
        let ends = vec![Err(Failed::Sent(full())), Err(Failed::Sent(full())), Ok(())];
        assert_eq!(told(LONG, 1, ends).await, (Ok(()), 3));
    }

    #[tokio::test]
    async fn the_refusal_is_told_as_long_as_nothing_else_was_sent() {
        let ends = vec![Err(Failed::Sent(full())), Err(Failed::Unsent(late()))];
        assert_eq!(told(LONG, 1, ends).await, (Err(full()), 2));
        // What was sent and not answered may be in the log.
        let ends = vec![Err(Failed::Sent(full())), Err(Failed::Sent(late()))];
        assert_eq!(told(LONG, 1, ends).await, (Err(late()), 2));
        // Nothing was refused.
        let ends = vec![Err(Failed::Unsent(late()))];
        assert_eq!(told(LONG, 1, ends).await, (Err(late()), 1));
    }

    #[tokio::test]
    async fn no_attempt_is_made_that_would_come_too_late_or_has_no_place() {
        for (left, places) in [(Duration::ZERO, 1), (LONG, 0)] {
            let ends = vec![Err(Failed::Sent(full()))];
            assert_eq!(told(left, places, ends).await, (Err(full()), 1));
        }
        let never = full().retry_after(Duration::MAX);
        let ends = vec![Err(Failed::Sent(never.clone()))];
        assert_eq!(told(LONG, 1, ends).await, (Err(never), 1));
    }

    #[tokio::test]
    async fn other_refusals_are_told_at_once() {
        let stale = Error::new(ErrorCode::SchemaVersionStale, "stale");
        let ends = vec![Err(Failed::Sent(full())), Err(Failed::Sent(stale.clone()))];
        assert_eq!(told(LONG, 1, ends).await, (Err(stale), 2));
    }
}
