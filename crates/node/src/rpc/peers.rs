//! Channels to other nodes: one per address, opened when first used, kept, shared.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use ::http::{Request, Response};
use parking_lot::Mutex;
use tonic::{
    body::Body,
    transport::{Channel, Endpoint},
};
use tower::Service;

use super::auth::ClusterAuth;

/// How long to wait for a TCP connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How often to ask whether the other side is still there, streams or not.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// How long to wait for that answer.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(3);
/// Most channels kept. Nodes that move leave theirs behind; over the limit the idle ones go.
const CHANNELS_MAX: usize = 1024;
/// HTTP/2 windows: batches of some MiB must not stop for a window update.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;

/// The pool of channels. Clones share it.
#[derive(Debug, Clone)]
pub struct Peers {
    auth: ClusterAuth,
    channels: Arc<Mutex<HashMap<SocketAddr, Channel>>>,
}

impl Peers {
    /// A pool whose calls carry this proof.
    pub fn new(auth: ClusterAuth) -> Self {
        Self {
            auth,
            channels: Arc::default(),
        }
    }

    /// The proof that calls carry.
    pub fn auth(&self) -> &ClusterAuth {
        &self.auth
    }

    /// A channel to an address, for generated clients: `KeeperServiceClient::new(peers.channel(addr))`.
    ///
    /// Never fails and never waits: the connection is opened by the first call and opened again after it broke.
    /// Must be called inside a tokio runtime.
    pub fn channel(&self, addr: SocketAddr) -> AuthedChannel {
        let mut channels = self.channels.lock();
        if channels.len() >= CHANNELS_MAX && !channels.contains_key(&addr) {
            channels.clear(); // calls under way hold their own clone
        }
        let channel = channels.entry(addr).or_insert_with(|| connect(addr)).clone();
        AuthedChannel {
            auth: self.auth.clone(),
            channel,
        }
    }
}

fn connect(addr: SocketAddr) -> Channel {
    Endpoint::from_shared(format!("http://{addr}"))
        .expect("a socket address makes a valid URI")
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .connect_lazy()
}

/// A channel whose calls carry our proof.
#[derive(Debug, Clone)]
pub struct AuthedChannel {
    auth: ClusterAuth,
    channel: Channel,
}

impl Service<Request<Body>> for AuthedChannel {
    type Response = Response<Body>;
    type Error = tonic::transport::Error;
    type Future = tonic::transport::channel::ResponseFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Service::<Request<Body>>::poll_ready(&mut self.channel, cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let path = request.uri().path().to_owned();
        self.auth.sign(&path, request.headers_mut());
        self.channel.call(request)
    }
}
