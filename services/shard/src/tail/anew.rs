//! What if the log begins behind the entry that is next? This node begins anew where the log still reaches: at one of its
//! snapshots or, with none, at the catalogue of a keeper. What cannot be made from there is lost, and says so.

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use longbow_cluster::catalogue::Catalogue;
use longbow_node::gossip::Member;
use longbow_node::rpc::MESSAGE_BYTES_MAX;
use longbow_types::{Error, ErrorCode};
use longbow_wire::convert::status::from_status;
use longbow_wire::internal::keeper_service_client::KeeperServiceClient;
use longbow_wire::internal::{GetCatalogueRequest, GetCatalogueResponse};
use tokio::time::timeout;

use super::cut::is_cut;
use super::route::Route;
use super::{Follower, Stop};
use crate::snapshots::{Base, Reached, Restored, reach};

/// How long a keeper may take to tell the catalogue, which may be large.
const PATIENCE: Duration = Duration::from_secs(30);

impl Follower {
    /// If a keeper was left and it is clear now that no other has the entry that is next: begins anew. Else the reason is
    /// handed back.
    pub(super) async fn behind_the_cut(
        &mut self,
        stop: Stop,
        keeper: &Member,
        live: &[Member],
    ) -> Result<(), Stop> {
        let error = match stop {
            Stop::Keeper(error) => error,
            node => return Err(node),
        };
        let (next, id) = (self.next(), keeper.node_id.clone());
        match is_cut(&error) {
            Some(refusal) => self.cut.refused(next, id, refusal),
            None => self.cut.failed(next, id),
        }
        let deepest = self.cut.deepest(live.iter().map(|member| &member.node_id));
        let Some(member) = deepest.and_then(|id| live.iter().find(|member| member.node_id == *id)) else {
            return Err(error.into());
        };
        let base = self.base(member).await?;
        if base.first <= self.next() {
            return Ok(()); // it has the entry, after all
        }
        self.begin_anew(base).await
    }

    /// Asks a keeper for its catalogue, and checks that it is one to go on from.
    async fn base(&self, keeper: &Member) -> Result<Base, Stop> {
        let mut client = KeeperServiceClient::new(self.tail.peers.channel(keeper.rpc_addr))
            .max_decoding_message_size(MESSAGE_BYTES_MAX);
        let asked = timeout(PATIENCE, client.get_catalogue(GetCatalogueRequest {})).await;
        let answer = asked.map_err(|_| anyhow!("it did not tell the catalogue"))?;
        let GetCatalogueResponse {
            catalogue,
            first_index: first,
            group,
            incarnation,
        } = answer.map_err(|status| from_status(&status))?.into_inner();
        self.check_group(group, incarnation)?;
        let catalogue = Catalogue::from_proto(&catalogue.context("it told no catalogue")?)?;
        let (mine, theirs) = (self.route.log_id(), catalogue.log_id());
        if mine != 0 && theirs != 0 && mine != theirs {
            return Err(self.formed_anew(mine, theirs));
        }
        if theirs == 0 || catalogue.applied_index().saturating_add(1) < first {
            let index = catalogue.applied_index();
            return Err(anyhow!(
                "its catalogue is of entry {index} of log {theirs:016x}, which begins at {first}"
            )
            .into());
        }
        Ok(Base { first, catalogue })
    }

    /// Lets go of all replicas, and takes over those from which the log goes on.
    async fn begin_anew(&mut self, base: Base) -> Result<(), Stop> {
        let tail = &self.tail;
        let (next, first, theirs) = (self.next(), base.first, base.catalogue.log_id());
        tail.readiness.set(
            false,
            format!("the log begins at entry {first}: opening snapshots"),
        );
        let (store, me) = (tail.snapshots.clone(), tail.state.me.clone());
        let shutdown = tail.shutdown.clone();
        let open = move || reach(store.as_deref(), &me, base, &|| shutdown.is_triggered());
        let reached = tokio::task::spawn_blocking(open).await;
        let reached = reached.map_err(|error| Error::new(ErrorCode::Internal, error.to_string()))?;
        let (Restored { catalogue, replicas }, lost) = match reached {
            Reached::At(restored, lost) => (restored, lost),
            Reached::Foreign(mine) => return Err(self.formed_anew(mine, theirs)),
            Reached::Cancelled => return Err(anyhow!("this node is stopping").into()),
        };
        let index = catalogue.applied_index();
        tracing::warn!(
            next,
            first,
            index,
            replicas = replicas.len(),
            lost = lost.len(),
            "the log was cut behind this node, which begins anew"
        );
        let why = format!("it lacks entries from {next} on, and the log begins at {first}");
        tail.actors.release(why).await.map_err(Stop::Node)?;
        // Before the others can be asked: what is lost is never taken for what is not there yet.
        tail.state.set_lost(lost);
        tail.actors.adopt(replicas).await.map_err(Stop::Node)?;
        let route = Route::restored(tail.state.me.clone(), catalogue);
        tail.state.set_catalogue(route.published());
        tail.state.set_routed(index);
        self.route = route;
        self.settle();
        Ok(())
    }
}
