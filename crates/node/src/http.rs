//! The operators' port: `/metrics`, `/healthz` (alive), `/readyz` (may get traffic, or why not).

use std::{net::SocketAddr, sync::Arc};

use ::http::{StatusCode, header::CONTENT_TYPE};
use axum::{Router, extract::State, response::IntoResponse, routing::get};
use longbow_types::Error;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::watch;

use crate::{rpc, shutdown::Shutdown, telemetry};

/// Whether a role may get traffic, and why not. Clones are the same state. Starts as not ready.
#[derive(Debug, Clone)]
pub struct Readiness(Arc<watch::Sender<Standing>>);

#[derive(Debug, PartialEq, Eq)]
struct Standing {
    ready: bool,
    reason: String,
    barred: Option<String>,
}

impl Standing {
    fn is_ready(&self) -> bool {
        self.ready && self.barred.is_none()
    }
}

impl Default for Readiness {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(Standing {
            ready: false,
            reason: "starting".to_owned(),
            barred: None,
        })))
    }
}

impl Readiness {
    /// Not ready yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the state. The reason is for people; say what is missing.
    pub fn set(&self, ready: bool, reason: impl Into<String>) {
        let reason = reason.into();
        self.0.send_if_modified(|state| {
            let changed = (state.ready, &state.reason) != (ready, &reason);
            (state.ready, state.reason) = (ready, reason);
            changed
        });
    }

    /// While it is barred it is not ready, for this reason, whatever [`Readiness::set`] says.
    pub fn bar(&self, reason: Option<String>) {
        self.0.send_modify(|state| state.barred = reason);
    }

    /// The state now.
    pub fn get(&self) -> (bool, String) {
        let state = self.0.borrow();
        match &state.barred {
            Some(reason) => (false, reason.clone()),
            None => (state.ready, state.reason.clone()),
        }
    }

    /// Whether it is ready now.
    pub fn is_ready(&self) -> bool {
        self.0.borrow().is_ready()
    }

    /// Returns when it is ready; at once if it already is.
    pub async fn ready(&self) {
        // The sender lives in `self`, so this cannot fail.
        let _ = self.0.subscribe().wait_for(Standing::is_ready).await;
    }
}

#[derive(Clone)]
struct Shared {
    readiness: Readiness,
    metrics: PrometheusHandle,
}

/// Serves the three paths until the shutdown. Returns the bound address at once; errors only if it cannot listen.
pub async fn serve(
    listen: SocketAddr,
    readiness: Readiness,
    shutdown: Shutdown,
) -> Result<SocketAddr, Error> {
    let (listener, local) = rpc::bind(listen)
        .await
        .map_err(|error| error.field("http.listen_addr"))?;
    let app = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .with_state(Shared {
            readiness,
            metrics: telemetry::metrics(),
        });
    tokio::spawn(async move {
        tokio::select! {
            served = axum::serve(listener, app) => {
                if let Err(error) = served {
                    tracing::error!(%error, "the HTTP server stopped");
                }
            }
            () = shutdown.wait() => {}
        }
    });
    Ok(local)
}

async fn metrics(State(shared): State<Shared>) -> impl IntoResponse {
    (
        [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        shared.metrics.render(),
    )
}

async fn readyz(State(shared): State<Shared>) -> impl IntoResponse {
    let (ready, reason) = shared.readiness.get();
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let word = if ready { "ready" } else { "not ready" };
    let line = if reason.is_empty() {
        format!("{word}\n")
    } else {
        format!("{word}: {reason}\n")
    };
    (status, line)
}
