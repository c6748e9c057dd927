//! Serving gRPC until told to stop, and not longer than agreed after that.

use std::{io, net::SocketAddr, time::Duration};

use futures::{Stream, stream};
use longbow_types::{Error, ErrorCode};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{service::Routes, transport::Server};
use tower::util::option_layer;

use super::{auth::ClusterAuth, metrics::MetricsLayer, punctual::PunctualLayer, severable::Severable};
use crate::shutdown::Shutdown;

/// How long calls under way may go on after the shutdown when nothing else is asked for.
pub const DRAIN: Duration = Duration::from_secs(5);
/// How often to ask whether a client is still there.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// After a failed accept, so that a lack of file descriptors does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Most calls under way on one connection: one peer cannot take all memory.
const STREAMS_MAX: u32 = 1024;
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;

/// Binds a listener and says where it really listens (port 0 asks for any free port).
pub async fn bind(addr: SocketAddr) -> Result<(TcpListener, SocketAddr), Error> {
    let failed = |error: std::io::Error| {
        Error::new(
            ErrorCode::InvalidValue,
            format!("cannot listen on {addr}: {error}"),
        )
        .field("listen_addr")
    };
    let listener = TcpListener::bind(addr).await.map_err(failed)?;
    let local = listener.local_addr().map_err(failed)?;
    Ok((listener, local))
}

/// Serves until the shutdown, then lets calls under way finish for at most `drain`, then cuts every connection.
///
/// With `auth`, callers that do not prove the cluster's secret are refused before any handler runs.
/// Long streams should end by themselves when they see the shutdown; those that do not are cut.
pub async fn serve(
    listener: TcpListener,
    routes: Routes,
    auth: Option<ClusterAuth>,
    shutdown: Shutdown,
    drain: Duration,
) -> Result<(), Error> {
    let cut = CancellationToken::new();
    let _cut_on_drop = cut.clone().drop_guard();
    let incoming = accept(listener, cut.clone());
    let server = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .layer(MetricsLayer)
        .layer(PunctualLayer)
        .layer(option_layer(auth.as_ref().map(ClusterAuth::server_layer)))
        .add_routes(routes)
        .serve_with_incoming_shutdown(incoming, shutdown.wait_owned());
    let drained = async {
        shutdown.wait().await;
        tokio::time::sleep(drain).await;
    };
    tokio::select! {
        served = server => served.map_err(|error| {
            Error::new(ErrorCode::Internal, format!("the RPC server stopped: {error}"))
        }),
        () = drained => {
            tracing::info!(?drain, "calls were still under way at the end of the drain: cutting them");
            Ok(())
        }
    }
}

/// Accepted connections, for ever. tonic would end the server when the process is out of file descriptors; they come
/// back when connections close.
fn accept(listener: TcpListener, cut: CancellationToken) -> impl Stream<Item = io::Result<Severable>> {
    stream::unfold((listener, cut), |(listener, cut)| async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => return Some((Ok(Severable::new(stream, &cut)), (listener, cut))),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    })
}
