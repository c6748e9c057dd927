//! The optional key of the public APIs: `authorization: Bearer KEY`.

use std::{
    hint::black_box,
    pin::Pin,
    task::{Context, Poll},
};

use http::{Request, Response, header::AUTHORIZATION};
use longbow_node::config::Secret;
use longbow_types::{Error, ErrorCode};
use longbow_wire::convert::status::to_status;
use tower::{Layer, Service};

/// Probes carry no key.
const HEALTH: &str = "/grpc.health.v1.Health/";

/// Refuses calls without the key, if there is one.
#[derive(Debug, Clone)]
pub struct BearerLayer(Option<Secret>);

impl BearerLayer {
    /// Guards with this key; lets everybody in if there is none.
    pub fn new(key: Option<Secret>) -> Self {
        Self(key)
    }
}

impl<S> Layer<S> for BearerLayer {
    type Service = BearerService<S>;

    fn layer(&self, inner: S) -> BearerService<S> {
        BearerService {
            key: self.0.clone(),
            inner,
        }
    }
}

/// What [`BearerLayer`] wraps a service in.
#[derive(Debug, Clone)]
pub struct BearerService<S> {
    key: Option<Secret>,
    inner: S,
}

impl<S, B, R> Service<Request<B>> for BearerService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    R: Default + Send + 'static,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match &self.key {
            Some(key) if !is_allowed(&request, key.expose()) => {
                let error = Error::new(ErrorCode::Unauthenticated, "the API key is missing or wrong")
                    .field("authorization")
                    .limit("Bearer KEY");
                Box::pin(async move { Ok(to_status(&error).into_http()) })
            }
            _ => Box::pin(self.inner.call(request)),
        }
    }
}

fn is_allowed<B>(request: &Request<B>, key: &[u8]) -> bool {
    if request.uri().path().starts_with(HEALTH) {
        return true;
    }
    let sent = request
        .headers()
        .get(AUTHORIZATION)
        .map(|value| value.as_bytes())
        .unwrap_or_default();
    let scheme = sent.get(..7).unwrap_or_default();
    scheme.eq_ignore_ascii_case(b"bearer ") && equal(&sent[7..], key)
}

/// Compares in a time that depends on the key's length alone.
fn equal(sent: &[u8], key: &[u8]) -> bool {
    let mut difference = sent.len() ^ key.len();
    for (position, byte) in key.iter().enumerate() {
        difference |= usize::from(byte ^ sent.get(position).copied().unwrap_or(!byte));
    }
    black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(path: &str, header: Option<&str>) -> bool {
        let mut request = Request::builder().uri(path);
        if let Some(header) = header {
            request = request.header(AUTHORIZATION, header);
        }
        is_allowed(&request.body(()).unwrap(), b"secret")
    }

    #[test]
    fn only_the_key_opens_and_health_needs_none() {
        let search = "/longbow.v1.SearchService/Search";
        assert!(allowed(search, Some("Bearer secret")));
        assert!(allowed(search, Some("bearer secret")));
        for wrong in [
            "secret",
            "Bearer",
            "Bearer ",
            "Bearer secre",
            "Bearer secrets",
            "Basic secret",
            "Bearer Secret",
        ] {
            assert!(!allowed(search, Some(wrong)), "{wrong}");
        }
        assert!(!allowed(search, None));
        assert!(allowed("/grpc.health.v1.Health/Check", None));
        assert!(!allowed("/grpc.health.v1.Healthy/Check", None));
    }
}
