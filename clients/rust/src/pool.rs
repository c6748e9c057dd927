//! The routers a client knows and which one it talks to.

use std::{
    collections::hash_map::RandomState,
    future::Future,
    hash::{BuildHasher, Hasher},
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use longbow_types::{Error, ErrorCode, Result};
use longbow_wire::convert::status::from_status;
use tonic::{
    Code, Request, Response, Status,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
};

use crate::{
    options::Options,
    retry::{Failure, Repeat, is_unknown, late, pause_after, told},
};

/// Time beyond the deadline after which an answer that says "deadline exceeded" is no longer waited for.
const GRACE: Duration = Duration::from_millis(250);
/// Longest time for one call: what is longer is for ever, and clocks cannot add it.
const TIMEOUT_MAX: Duration = Duration::from_secs(365 * 24 * 3600);
/// Shortest and longest silence of a router that owes an answer before it is asked for a sign of life, and then how
/// long that may take.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));

/// The routers, and how calls to them are made.
#[derive(Debug)]
pub(crate) struct Pool {
    routers: Vec<(String, Channel)>,
    /// Index of the router to ask first: the one that answered last, or the next after one that did not.
    preferred: AtomicUsize,
    bearer: Option<MetadataValue<Ascii>>,
    options: Options,
}

impl Pool {
    /// Checks the endpoints; connects to none.
    pub fn new(endpoints: Vec<String>, mut options: Options) -> Result<Self> {
        options.timeout = options.timeout.min(TIMEOUT_MAX);
        let bearer = options.api_key.as_deref().map(bearer).transpose()?;
        let routers = endpoints
            .into_iter()
            .map(|text| channel(&text, &options).map(|channel| (text, channel)))
            .collect::<Result<Vec<_>>>()?;
        if routers.is_empty() {
            return Err(Error::new(ErrorCode::MissingField, "no endpoint given").field("endpoints"));
        }
        Ok(Self {
            routers,
            preferred: AtomicUsize::new(0),
            bearer,
            options,
        })
    }

    /// Makes a call: to the preferred router, then, as far as `repeat` allows, to the others and again.
    pub async fn call<Q, A, F, Fut>(&self, repeat: Repeat, message: &Q, send: F) -> Result<A>
    where
        Q: Clone + Send + Sync,
        F: Fn(Channel, Request<Q>) -> Fut + Send + Sync,
        Fut: Future<Output = Result<Response<A>, Status>> + Send,
    {
        let deadline = Instant::now() + self.options.timeout;
        let (mut attempts, mut retries) = (0, 0);
        // What an attempt ended with that may have changed something, and what the last one was refused for.
        let (mut unknown, mut refused) = (None, None);
        loop {
            let failure = match self.attempt(deadline, message, &send).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            attempts += 1;
            let left = deadline.saturating_duration_since(Instant::now());
            // Before anything is said to be wrong, every router was asked once. That is no retry: nothing was sent.
            if failure.not_sent && attempts < self.routers.len() && !left.is_zero() {
                continue;
            }
            match pause_after(&failure, repeat, retries, left, &self.options.retry, random()) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Err(told(late(failure.error, refused), unknown)),
            }
            // Woken too late for another attempt: what was heard last is all there is to tell.
            if Instant::now() >= deadline {
                return Err(told(late(failure.error, refused), unknown));
            }
            refused = None;
            if is_unknown(&failure.error) {
                if repeat != Repeat::Read && !failure.not_sent {
                    unknown = Some(failure.error);
                }
            } else {
                refused = Some(failure.error);
            }
            retries += 1;
        }
    }

    async fn attempt<Q, A, F, Fut>(&self, deadline: Instant, message: &Q, send: &F) -> Result<A, Failure>
    where
        Q: Clone,
        F: Fn(Channel, Request<Q>) -> Fut,
        Fut: Future<Output = Result<Response<A>, Status>>,
    {
        let index = self.preferred.load(Ordering::Relaxed) % self.routers.len();
        let (name, channel) = &self.routers[index];
        let left = deadline.saturating_duration_since(Instant::now());
        let mut request = Request::new(message.clone());
        request.set_timeout(left);
        if let Some(bearer) = &self.bearer {
            request.metadata_mut().insert("authorization", bearer.clone());
        }
        let outcome = tokio::time::timeout(left + GRACE, send(channel.clone(), request)).await;
        let failure = match outcome {
            Ok(Ok(answer)) => return Ok(answer.into_inner()),
            Ok(Err(status)) => failure_of(name, &status, Instant::now() >= deadline),
            Err(_) => Failure {
                error: too_late(name),
                not_sent: false,
            },
        };
        // One that is too late may be frozen: the next call, if not this one, is better made elsewhere.
        if is_unknown(&failure.error) {
            // Calls running beside this one may have moved on already.
            let next = (index + 1) % self.routers.len();
            let _ = self
                .preferred
                .compare_exchange(index, next, Ordering::Relaxed, Ordering::Relaxed);
        }
        Err(failure)
    }
}

fn channel(text: &str, options: &Options) -> Result<Channel> {
    let wrong = |why: String| {
        Error::new(ErrorCode::InvalidValue, why)
            .field("endpoint")
            .limit("http://HOST:PORT")
    };
    let uri: http::Uri = text
        .parse()
        .map_err(|e| wrong(format!("{text:?} is not an address: {e}")))?;
    if uri.scheme_str() != Some("http") || uri.host().is_none() {
        return Err(wrong(format!("{text:?} is not an http:// address")));
    }
    // A router that is frozen or cut off keeps its connections and answers nothing. Found out while half of a call's
    // time is left, it does not cost the call; a slow answer of a router that lives is waited for.
    let silence = (options.timeout / 4).clamp(KEEPALIVE.0, KEEPALIVE.1);
    let endpoint = Endpoint::from(uri)
        .connect_timeout(options.connect_timeout)
        .tcp_nodelay(true)
        .tcp_keepalive(Some(Duration::from_secs(30)))
        .http2_keep_alive_interval(silence)
        .keep_alive_timeout(silence)
        .http2_adaptive_window(true)
        .user_agent(concat!("longbow-rust/", env!("CARGO_PKG_VERSION")))
        .map_err(|e| wrong(e.to_string()))?;
    Ok(endpoint.connect_lazy())
}

fn bearer(key: &str) -> Result<MetadataValue<Ascii>> {
    let mut value: MetadataValue<Ascii> = format!("Bearer {key}").parse().map_err(|_| {
        Error::new(ErrorCode::InvalidValue, "the key holds characters no header can")
            .field("api_key")
            .limit("visible ASCII")
    })?;
    value.set_sensitive(true);
    Ok(value)
}

fn failure_of(router: &str, status: &Status, past_deadline: bool) -> Failure {
    let mut error = from_status(status);
    let stopped = status.code() == Code::Cancelled || status.code() == Code::DeadlineExceeded;
    if (stopped && past_deadline) || sources(status).any(|error| error.is::<tonic::TimeoutExpired>()) {
        return Failure {
            error: too_late(router),
            not_sent: false,
        };
    }
    let not_sent = is_connect_error(status);
    // No details: it was not Longbow that answered.
    let foreign = status.details().is_empty();
    if not_sent {
        error = Error::new(ErrorCode::Unreachable, format!("cannot connect to {router}")).field("endpoint");
    } else if foreign && status.code() == Code::Unavailable {
        let message = format!("{router} broke off: {}", status.message());
        error = Error::new(ErrorCode::Unreachable, message).field("endpoint");
    } else if foreign && is_transport_error(status) {
        let message = format!("{router} does not answer as a Longbow router: {}", chain(status));
        error = Error::new(ErrorCode::Unreachable, message).field("endpoint");
    } else if foreign && status.code() == Code::Unimplemented {
        let message = format!("{router} does not know this call: is it a Longbow router of this version?");
        error = Error::new(ErrorCode::Unsupported, message).field("endpoint");
    }
    Failure { error, not_sent }
}

fn too_late(router: &str) -> Error {
    Error::new(
        ErrorCode::DeadlineExceeded,
        format!("{router} did not answer in time"),
    )
    .field("timeout")
}

fn sources(status: &Status) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    let first = std::error::Error::source(status);
    std::iter::successors(first, |error| error.source())
}

fn is_connect_error(status: &Status) -> bool {
    sources(status).any(|error| error.is::<tonic::ConnectError>())
}

fn is_transport_error(status: &Status) -> bool {
    sources(status).any(|error| error.is::<tonic::transport::Error>())
}

/// The innermost cause, which says most.
fn chain(status: &Status) -> String {
    sources(status)
        .last()
        .map_or_else(|| status.message().to_owned(), ToString::to_string)
}

/// Uniform in 0..1; good enough to spread retries.
fn random() -> f64 {
    let bits = RandomState::new().build_hasher().finish() >> 11;
    bits as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_checked() {
        let refused = |list: &[&str]| {
            let list = list.iter().map(ToString::to_string).collect();
            Pool::new(list, Options::default()).unwrap_err().code
        };
        assert_eq!(refused(&[]), ErrorCode::MissingField);
        assert_eq!(refused(&["127.0.0.1:3000"]), ErrorCode::InvalidValue);
        assert_eq!(refused(&["ftp://x"]), ErrorCode::InvalidValue);
        assert_eq!(refused(&["http://a b"]), ErrorCode::InvalidValue);
    }

    #[test]
    fn keys_are_checked() {
        assert!(bearer("abc").is_ok());
        assert_eq!(bearer("a\nb").unwrap_err().field.as_deref(), Some("api_key"));
    }

    #[test]
    fn random_is_a_fraction_and_varies() {
        let all: Vec<f64> = (0..64).map(|_| random()).collect();
        assert!(all.iter().all(|x| (0.0..1.0).contains(x)));
        assert!(all.iter().any(|x| (x - all[0]).abs() > 1e-6));
    }
}
