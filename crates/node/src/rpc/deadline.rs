//! How much time is left for a request, and how that travels on.
//!
//! `grpc-timeout` says how long the *sender* was willing to wait when it sent. What is sent on is what is left.

use std::time::{Duration, Instant};

use longbow_types::{Error, ErrorCode};
use tonic::{Request, metadata::MetadataMap};

/// gRPC's metadata key.
const KEY: &str = "grpc-timeout";
/// gRPC allows at most eight digits.
const DIGITS_MAX: usize = 8;

/// The moment at which the caller stops waiting, if it said so. Malformed values are taken for none, as gRPC demands
/// no answer for them.
pub fn of(metadata: &MetadataMap) -> Option<Instant> {
    let text = metadata.get(KEY)?.to_str().ok()?;
    Instant::now().checked_add(parse(text)?)
}

/// How long the sender was willing to wait, if it said so.
pub(super) fn timeout(headers: &::http::HeaderMap) -> Option<Duration> {
    parse(headers.get(KEY)?.to_str().ok()?)
}

/// Tells the callee how much time is left. A deadline that has passed is sent as the smallest timeout.
pub fn apply<T>(request: &mut Request<T>, deadline: Option<Instant>) {
    if let Some(deadline) = deadline {
        request.set_timeout(remaining(deadline).max(Duration::from_nanos(1)));
    }
}

/// Time left; zero once it has passed.
pub fn remaining(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

/// Whether it has passed. No deadline never passes.
pub fn passed(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|at| Instant::now() >= at)
}

/// Runs a future until the deadline; then it is dropped and the answer is `DEADLINE_EXCEEDED`.
pub async fn within<T>(deadline: Option<Instant>, work: impl Future<Output = T>) -> Result<T, Error> {
    match deadline {
        None => Ok(work.await),
        Some(at) => tokio::time::timeout_at(at.into(), work)
            .await
            .map_err(|_| exceeded()),
    }
}

/// The error of a deadline that has passed.
pub fn exceeded() -> Error {
    Error::new(
        ErrorCode::DeadlineExceeded,
        "the caller's deadline passed before the answer was there",
    )
}

fn parse(text: &str) -> Option<Duration> {
    let unit = text.chars().last().filter(char::is_ascii)?;
    let digits = &text[..text.len() - 1];
    if digits.is_empty() || digits.len() > DIGITS_MAX || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        'H' => Duration::from_secs(count * 3600),
        'M' => Duration::from_secs(count * 60),
        'S' => Duration::from_secs(count),
        'm' => Duration::from_millis(count),
        'u' => Duration::from_micros(count),
        'n' => Duration::from_nanos(count),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_unit_is_read() {
        for (text, want) in [
            ("2H", Duration::from_secs(7200)),
            ("3M", Duration::from_secs(180)),
            ("4S", Duration::from_secs(4)),
            ("5m", Duration::from_millis(5)),
            ("6u", Duration::from_micros(6)),
            ("99999999n", Duration::from_nanos(99_999_999)),
        ] {
            assert_eq!(parse(text), Some(want));
        }
        for bad in ["", "S", "1", "-1S", "+1S", "1s", "123456789S", "1é", "é", "1 S"] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn what_is_sent_on_is_what_is_left() {
        let mut request = Request::new(());
        apply(&mut request, Some(Instant::now() + Duration::from_millis(400)));
        let read = of(request.metadata()).expect("a timeout was set");
        let left = remaining(read);
        assert!(
            left <= Duration::from_millis(400) && left > Duration::from_millis(1),
            "{left:?}"
        );

        let mut late = Request::new(());
        apply(&mut late, Some(Instant::now()));
        assert!(remaining(of(late.metadata()).expect("a timeout was set")) < Duration::from_millis(1));

        let mut none = Request::new(());
        apply(&mut none, None);
        assert_eq!(of(none.metadata()), None);
    }

    #[tokio::test]
    async fn work_is_dropped_at_the_deadline() {
        let soon = Some(Instant::now() + Duration::from_millis(5));
        let error = within(soon, std::future::pending::<()>()).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::DeadlineExceeded);
        assert_eq!(within(None, async { 7 }).await, Ok(7));
        assert!(passed(soon) && !passed(None));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(text in "\\PC{0,12}") {
            let _ = parse(&text);
        }
    }
}
