//! What happens to a stream when the log has no room? It waits, and its client is told.

use std::time::{Duration, Instant};

use arrow_flight::PutResult;
use futures::channel::mpsc;
use longbow_types::{ErrorCode, Result};

/// Pause where a refusal names none.
const PAUSE: Duration = Duration::from_millis(200);
/// Longest pause that attempts in vain lead to.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Tells the client to slow down; once until it has listened.
pub fn tell(client: &mut mpsc::Sender<PutResult>) {
    let told = serde_json::json!({ "status": "slow_down", "reason": "wal_pressure" });
    // Refused if the client did not take the former one, or is gone.
    let _ = client.try_send(PutResult {
        app_metadata: told.to_string().into(),
    });
}

/// Attempts something, again and again while it is refused for want of room, until `at`.
///
/// # Errors
/// Those of an attempt; `OVERLOADED` once the next attempt would come too late.
pub async fn patiently<T, F: Future<Output = Result<T>>>(
    at: Instant,
    mut slow_down: impl FnMut(),
    mut attempt: impl FnMut() -> F,
) -> Result<T> {
    let mut least = Duration::ZERO;
    loop {
        let error = match attempt().await {
            Err(error) if error.code == ErrorCode::Overloaded => error,
            other => return other,
        };
        slow_down();
        let pause = error.retry_after.unwrap_or(PAUSE).max(least);
        if Instant::now() + pause >= at {
            return Err(error);
        }
        tokio::time::sleep(pause).await;
        // Many streams that wait would otherwise ask all the time.
        least = (pause * 2).min(PAUSE_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::StreamExt;
    use longbow_types::Error;
    use std::cell::Cell;

    fn full() -> Error {
        Error::new(ErrorCode::Overloaded, "full").retry_after(Duration::ZERO)
    }

    #[tokio::test]
    async fn waits_for_room_and_says_so() {
        let (told, tries) = (Cell::new(0), Cell::new(0));
        let attempt = || {
            tries.set(tries.get() + 1);
            std::future::ready(if tries.get() < 4 {
                Err(full())
            } else {
                Ok(tries.get())
            })
        };
        let later = Instant::now() + Duration::from_secs(60);
        let outcome = patiently(later, || told.set(told.get() + 1), attempt).await;
        assert_eq!((outcome.unwrap(), told.get()), (4, 3));
    }

    #[tokio::test]
    async fn gives_up_at_the_deadline_and_on_anything_else() {
        let always = || std::future::ready(Err::<(), _>(full()));
        let error = patiently(Instant::now(), || {}, always).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::Overloaded);
        let tries = Cell::new(0);
        let other = || {
            tries.set(tries.get() + 1);
            std::future::ready(Err::<(), _>(Error::new(ErrorCode::NoLeader, "none")))
        };
        let later = Instant::now() + Duration::from_secs(60);
        assert_eq!(
            patiently(later, || {}, other).await.unwrap_err().code,
            ErrorCode::NoLeader
        );
        assert_eq!(tries.get(), 1);
    }

    #[tokio::test]
    async fn a_client_that_does_not_listen_is_told_once() {
        let (mut client, told) = mpsc::channel(0);
        (0..9).for_each(|_| tell(&mut client));
        drop(client);
        let told: Vec<PutResult> = told.collect().await;
        assert_eq!(told.len(), 1);
        let text = std::str::from_utf8(&told[0].app_metadata).unwrap();
        assert_eq!(text, r#"{"reason":"wal_pressure","status":"slow_down"}"#);
    }
}
