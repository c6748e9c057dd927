//! Who gets in, and through which door?
//!
//! Both ports serve both APIs, health and reflection. A bearer key, if one is set, guards everything but health.
//! Messages over the limit are refused by their length prefix, before any of their bytes is read.

mod bearer;
pub(crate) mod too_large;

use longbow_node::config::Secret;
use longbow_types::{Error, ErrorCode, Result};
use longbow_wire::FILE_DESCRIPTOR_SET;
use tonic::service::Routes;
use tonic_health::server::{HealthReporter, health_reporter};

use crate::{flight, grpc, ops::Core};

/// The service that writes rows.
const WRITES: &str = "longbow.v1.WriteService";
/// Services that reflection tells about: the public ones.
const PUBLIC: [&str; 5] = [
    "longbow.v1.DatasetService",
    WRITES,
    "longbow.v1.SearchService",
    "longbow.v1.ClusterService",
    "grpc.health.v1.Health",
];

/// Everything that a router serves, and the switch of its health.
///
/// # Errors
/// `INTERNAL` if the descriptors compiled in cannot be read.
pub fn routes(
    core: &Core,
    meta_addr: std::net::SocketAddr,
    key: Option<Secret>,
) -> Result<(Routes, HealthReporter)> {
    let (reporter, health) = health_reporter();
    let reflection = || {
        let mut builder = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
        for name in PUBLIC {
            builder = builder.with_service_name(name);
        }
        builder
    };
    let unreadable = |error| {
        Error::new(
            ErrorCode::Internal,
            format!("the descriptors cannot be read: {error}"),
        )
    };
    let routes = Routes::new(health)
        .add_service(reflection().build_v1().map_err(unreadable)?)
        .add_service(reflection().build_v1alpha().map_err(unreadable)?);
    let routes = grpc::Api::new(core.clone()).add_to(routes);
    let routes = flight::Api::new(core.clone(), meta_addr).add_to(routes);
    let guarded = routes
        .into_axum_router()
        .layer(too_large::TooLargeLayer)
        .layer(bearer::BearerLayer::new(key));
    Ok((Routes::from(guarded), reporter))
}

/// Tells health checkers whether the public services can be used, and writes apart from the others: while the latch is
/// tripped a router answers reads, and refuses every write.
pub async fn set_health(reporter: &HealthReporter, serving: bool, writable: bool) {
    let status = |serving: bool| {
        if serving {
            tonic_health::ServingStatus::Serving
        } else {
            tonic_health::ServingStatus::NotServing
        }
    };
    // The empty name stands for the server as a whole.
    reporter.set_service_status("", status(serving)).await;
    for name in PUBLIC {
        let serving = serving && (name != WRITES || writable);
        reporter.set_service_status(name, status(serving)).await;
    }
    reporter
        .set_service_status(flight::SERVICE, status(serving))
        .await;
}
