//! Who calls? Every internal call proves that its sender holds the cluster's secret.
//!
//! Metadata of a call: `longbow-cluster`, `longbow-role`, `longbow-node` and `longbow-mac`, the hex of HMAC-SHA256 under
//! the cluster secret over a domain tag, those three and the gRPC method path, each with its length in front. There is
//! no timestamp: a clock that jumps must not split a cluster. So a proof seen on the wire can be used again for the
//! same method by the same name; connections must be private where that matters (TLS is another room's).

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use ::http::{HeaderMap, HeaderValue, Request as HttpRequest, Response as HttpResponse};
use futures::future::{Either, Ready, ready};
use hmac::{Hmac, Mac};
use longbow_types::{ClusterId, Error, ErrorCode, NodeId, Role};
use longbow_wire::convert::status::to_status;
use sha2::Sha256;
use tonic::{Request, Status, body::Body};
use tower::{Layer, Service};

use crate::identity::Identity;

const CLUSTER: &str = "longbow-cluster";
const ROLE: &str = "longbow-role";
const NODE: &str = "longbow-node";
const MAC: &str = "longbow-mac";
const DOMAIN: &[u8] = b"longbow rpc 1";

/// Who calls, proved by the cluster secret. In the extensions of every request that came through [`AuthLayer`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// What it is for.
    pub role: Role,
    /// Its node id.
    pub node_id: NodeId,
}

/// The secret of a cluster together with who we are in it. Clones share it.
#[derive(Clone)]
pub struct ClusterAuth(Arc<Inner>);

struct Inner {
    cluster_id: ClusterId,
    role: Role,
    node_id: NodeId,
    key: Hmac<Sha256>,
}

impl fmt::Debug for ClusterAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner {
            cluster_id,
            role,
            node_id,
            ..
        } = &*self.0;
        write!(f, "ClusterAuth({role} {node_id} of {cluster_id})")
    }
}

impl ClusterAuth {
    /// Who we are, and the secret that proves it.
    pub fn new(identity: &Identity, secret: &[u8]) -> Self {
        Self(Arc::new(Inner {
            cluster_id: identity.cluster_id.clone(),
            role: identity.role,
            node_id: identity.node_id.clone(),
            key: Hmac::new_from_slice(secret).expect("HMAC takes keys of any length"),
        }))
    }

    /// A layer for a tonic server: refuses callers that prove nothing, names the others in the extensions as [`Caller`].
    pub fn server_layer(&self) -> AuthLayer {
        AuthLayer(self.clone())
    }

    /// Puts our proof for one method into the headers of a call.
    pub fn sign(&self, path: &str, headers: &mut HeaderMap) {
        let Inner {
            cluster_id,
            role,
            node_id,
            ..
        } = &*self.0;
        let mac = self
            .mac(cluster_id.as_str(), role.as_str(), node_id.as_str(), path)
            .finalize()
            .into_bytes();
        let values = [
            (CLUSTER, cluster_id.as_str()),
            (ROLE, role.as_str()),
            (NODE, node_id.as_str()),
            (MAC, &hex(&mac)),
        ];
        for (key, text) in values {
            let value = HeaderValue::from_str(text).expect("ids and hex are plain ASCII");
            headers.insert(key, value);
        }
    }

    /// Checks a caller's proof for one method.
    ///
    /// `WRONG_CLUSTER` comes before the secret is looked at, since two clusters rarely share one and "wrong secret"
    /// would send the operator the wrong way. The caller has proved nothing yet, so it is not told which cluster this is.
    pub fn verify(&self, path: &str, headers: &HeaderMap) -> Result<Caller, Error> {
        let cluster = text_of(headers, CLUSTER)?;
        if cluster != self.0.cluster_id.as_str() {
            let message = "the caller belongs to another cluster: check cluster.id on both sides";
            return Err(Error::new(ErrorCode::WrongCluster, message).field(CLUSTER));
        }
        let (role, node) = (text_of(headers, ROLE)?, text_of(headers, NODE)?);
        let mac =
            unhex(text_of(headers, MAC)?).ok_or_else(|| refused("the proof is malformed").field(MAC))?;
        // `verify_slice` compares in constant time.
        self.mac(cluster, role, node, path)
            .verify_slice(&mac)
            .map_err(|_| {
                refused("the caller does not hold this cluster's secret: check cluster.secret on both sides")
            })?;
        let role = role
            .parse()
            .map_err(|_| refused("the caller's role is unknown").field(ROLE))?;
        let node_id = node
            .parse()
            .map_err(|_| refused("the caller's node id is invalid").field(NODE))?;
        Ok(Caller { role, node_id })
    }

    fn mac(&self, cluster: &str, role: &str, node: &str, path: &str) -> Hmac<Sha256> {
        let mut mac = self.0.key.clone();
        mac.update(DOMAIN);
        for part in [cluster, role, node, path] {
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part.as_bytes());
        }
        mac
    }
}

/// Refuses callers whose role may not do this. Only meaningful behind [`AuthLayer`].
pub fn require<T>(request: &Request<T>, roles: &[Role]) -> Result<Caller, Status> {
    let Some(caller) = request.extensions().get::<Caller>() else {
        return Err(to_status(&refused("the call proves no caller")));
    };
    if !roles.contains(&caller.role) {
        let allowed: Vec<_> = roles.iter().map(|role| role.as_str()).collect();
        let message = format!("a {} may not call this", caller.role);
        let error = Error::new(ErrorCode::RoleNotAllowed, message)
            .field(ROLE)
            .limit(allowed.join(", "));
        return Err(to_status(&error));
    }
    Ok(caller.clone())
}

fn refused(message: &'static str) -> Error {
    Error::new(ErrorCode::Unauthenticated, message)
}

fn text_of<'a>(headers: &'a HeaderMap, key: &'static str) -> Result<&'a str, Error> {
    let value = headers
        .get(key)
        .ok_or_else(|| refused("the call carries no proof of its cluster").field(key))?;
    value
        .to_str()
        .map_err(|_| refused("the proof is malformed").field(key))
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]])
        .map(char::from)
        .collect()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut out = [0; 32];
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != out.len() || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in out.iter_mut().zip(pairs) {
        let digit = |c: u8| char::from(c).to_digit(16).and_then(|d| u8::try_from(d).ok());
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(out)
}

/// See [`ClusterAuth::server_layer`].
#[derive(Debug, Clone)]
pub struct AuthLayer(ClusterAuth);

impl<S> Layer<S> for AuthLayer {
    type Service = AuthService<S>;

    fn layer(&self, inner: S) -> AuthService<S> {
        AuthService {
            auth: self.0.clone(),
            inner,
        }
    }
}

/// What [`AuthLayer`] wraps a service in.
#[derive(Debug, Clone)]
pub struct AuthService<S> {
    auth: ClusterAuth,
    inner: S,
}

impl<S, B> Service<HttpRequest<B>> for AuthService<S>
where
    S: Service<HttpRequest<B>, Response = HttpResponse<Body>>,
{
    type Response = HttpResponse<Body>;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<HttpResponse<Body>, S::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: HttpRequest<B>) -> Self::Future {
        match self.auth.verify(request.uri().path(), request.headers()) {
            Ok(caller) => {
                request.extensions_mut().insert(caller);
                Either::Left(self.inner.call(request))
            }
            Err(error) => {
                metrics::counter!("longbow_grpc_refused_callers_total", "code" => error.code.as_str())
                    .increment(1);
                Either::Right(ready(Ok(to_status(&error).into_http())))
            }
        }
    }
}
