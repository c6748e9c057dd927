//! Is a keeper found wherever it comes back?

use std::{
    collections::BTreeSet,
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use longbow_node::{rpc, shutdown::Shutdown};
use longbow_types::Role;
use longbow_wal_keeper::start;
use longbow_wire::internal::keeper_service_server::SERVICE_NAME;
use tokio::{net::TcpListener, sync::watch};
use tonic::{
    body::Body,
    codegen::{Service, http},
    server::NamedService,
    service::Routes,
};

use crate::cluster::{Keepers, Node, PATIENCE};

/// A service that takes every call and answers none, as whoever was given an address that was a keeper's may do. Tells
/// which nodes have called.
#[derive(Clone)]
struct Deaf(Arc<watch::Sender<BTreeSet<String>>>);

impl NamedService for Deaf {
    const NAME: &'static str = SERVICE_NAME;
}

impl Service<http::Request<Body>> for Deaf {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let caller = request.headers().get("longbow-node");
        if let Some(caller) = caller.and_then(|name| name.to_str().ok())
            && request.uri().path().ends_with("/Raft")
        {
            self.0.send_modify(|callers| {
                callers.insert(caller.to_owned());
            });
        }
        Box::pin(async move {
            let _kept = request;
            std::future::pending().await
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_keeper_that_moves_is_found_though_its_old_address_listens() {
    let mut keepers = Keepers::started(3).await;
    let router = Node::join(&keepers, Role::Router, "r1").await;
    let leader = keepers.leader(&router).await;
    let moved = (leader + 1) % 3;
    keepers.kill(moved).await;
    let callers = Arc::new(watch::Sender::new(BTreeSet::new()));
    let mut called = callers.subscribe();
    let end = Shutdown::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let routes = Routes::new(Deaf(callers));
    let served = tokio::spawn(rpc::serve(listener, routes, None, end.clone(), Duration::ZERO));

    // A life at an address where somebody else listens, too.
    let mut config = keepers.config(moved);
    config.node.rpc_advertise = Some(("127.0.0.1".to_owned(), port));
    let keeper = start(config, Shutdown::new()).await.unwrap();
    let leader = format!("k{leader}");
    let waited = tokio::time::timeout(PATIENCE, called.wait_for(|callers| callers.contains(&leader))).await;
    waited.expect("the leader calls that address").unwrap();
    keeper.kill().await;

    // Nothing tells the leader that it still talks to somebody else but news of where the keeper is.
    keepers.start(moved).await;
    keepers.ready().await;
    end.trigger();
    served.await.unwrap().unwrap();
}
