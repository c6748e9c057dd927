//! Seeds to addresses: looked up again each time, because pods come and go behind one name.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::lookup_host,
    sync::{mpsc, watch},
    time::{Instant, timeout_at},
};

use super::Member;
use crate::{config::Seed, shutdown::Shutdown};

/// How long one name may take.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
/// Most addresses called at once: a headless Service may stand for thousands, a few of them do.
const ADDRESSES_MAX: usize = 64;
/// How long seeds may stay silent before the operator is told.
const UNANSWERED_PATIENCE: Duration = Duration::from_secs(5);
/// How often seeds are called once others are known: two clusters that started apart still find together.
const CALL_AGAIN_EVERY: Duration = Duration::from_secs(30);

/// The addresses that the seeds stand for right now. Names that cannot be looked up are left out: the others may do.
async fn resolve(seeds: &[Seed]) -> BTreeSet<SocketAddr> {
    let mut found = BTreeSet::new();
    for seed in seeds {
        let lookup = tokio::time::timeout(LOOKUP_TIMEOUT, lookup_host((seed.host.as_str(), seed.port))).await;
        match lookup {
            Ok(Ok(addresses)) => found.extend(addresses.take(ADDRESSES_MAX)),
            Ok(Err(error)) => tracing::debug!(host = %seed.host, %error, "a seed cannot be looked up"),
            Err(_) => tracing::debug!(host = %seed.host, "a seed cannot be looked up in time"),
        }
    }
    found
}

/// Hands the loop addresses to call: often while we are alone, from time to time after.
pub(super) async fn call(
    seeds: Vec<Seed>,
    own: [SocketAddr; 2],
    interval: Duration,
    mut members: watch::Receiver<Arc<[Member]>>,
    calls: mpsc::Sender<SocketAddr>,
    shutdown: Shutdown,
) {
    let work = async {
        let (mut alone_since, mut warned) = (Instant::now(), None::<Instant>);
        while !seeds.is_empty() {
            let found = resolve(&seeds).await;
            let mut others = found.is_empty(); // names that nobody knows are no answer either
            for addr in found.into_iter().filter(|addr| !own.contains(addr)) {
                others = true;
                if calls.send(addr).await.is_err() {
                    return;
                }
            }
            let alone =
                |members: &Arc<[Member]>| members.iter().filter(|member| member.is_live()).count() <= 1;
            if alone(&members.borrow_and_update()) {
                let unanswered = others && alone_since.elapsed() >= UNANSWERED_PATIENCE;
                if unanswered && warned.is_none_or(|at| at.elapsed() >= UNANSWERED_PATIENCE * 6) {
                    warned = Some(Instant::now());
                    tracing::warn!(
                        seeds = %seeds.iter().map(|seed| format!("{}:{}", seed.host, seed.port)).collect::<Vec<_>>().join(","),
                        "no seed has answered: either none is up, or this node was refused; compare cluster.id, \
                         cluster.secret and gossip.seeds with theirs"
                    );
                }
                tokio::time::sleep(interval).await;
            } else {
                // Losing everybody ends the pause.
                let again = Instant::now() + CALL_AGAIN_EVERY.max(interval);
                if let Ok(Err(_)) = timeout_at(again, members.wait_for(alone)).await {
                    return; // the loop has ended
                }
                (alone_since, warned) = (Instant::now(), None);
            }
        }
    };
    tokio::select! {
        () = work => {}
        () = shutdown.wait() => {}
    }
}
