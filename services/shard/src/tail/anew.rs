//! What if the log begins behind the entry that is next? This node begins anew where the log still reaches: at one of its
//! snapshots or, with none, at the catalogue of a keeper. What cannot be made from there is lost, and says so.
//!
//! The same where the end of the log was cut off knowingly, and this node had applied some of it.

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
use super::identity::check_group;
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
            other => return Err(other),
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
        let (next, first) = (self.next(), base.first);
        let why = format!("it lacks entries from {next} on, and the log begins at {first}");
        self.begin_anew(base, why).await
    }

    /// The log of a keeper is of a later life than what is here. Goes back to before its cut, if any of it was cut off.
    pub(super) async fn go_back(&mut self, keeper: &Member) -> Result<(), Stop> {
        let base = self.base(keeper).await?;
        let (mine, life) = (self.route.catalogue().incarnation(), base.catalogue.incarnation());
        if life <= mine {
            return Err(
                anyhow!("its catalogue is of life {life} of the log, which has begun another").into(),
            );
        }
        // Replicas may be further than what was routed: a start takes each as far as its own snapshot goes.
        let partitions = self.tail.state.partitions();
        let applied = partitions
            .values()
            .map(|partition| partition.reader.view().applied_index());
        let held = applied.fold(self.tail.state.routed(), u64::max);
        if base.catalogue.admits(mine, held) {
            self.admitted = life;
            return Ok(());
        }
        let why = format!("entries that it has applied were cut off the log, which is in life {life} now");
        self.begin_anew(base, why).await?;
        // What was taken over is all of the log, though some replicas may be of its new life and the catalogue of an earlier one.
        self.admitted = life;
        Ok(())
    }

    /// Asks a keeper for its catalogue.
    async fn base(&self, keeper: &Member) -> Result<Base, Stop> {
        let mut client = KeeperServiceClient::new(self.tail.peers.channel(keeper.rpc_addr))
            .max_decoding_message_size(MESSAGE_BYTES_MAX);
        let asked = timeout(PATIENCE, client.get_catalogue(GetCatalogueRequest {})).await;
        let answer = asked.map_err(|_| anyhow!("it did not tell the catalogue"))?;
        let GetCatalogueResponse {
            catalogue,
            first_index: first,
            group,
            ..
        } = answer.map_err(|status| from_status(&status))?.into_inner();
        check_group(group)?;
        let catalogue = Catalogue::from_proto(&catalogue.context("it told no catalogue")?)?;
        let (mine, theirs) = (self.route.log_id(), catalogue.log_id());
        if mine != 0 && theirs != 0 && mine != theirs {
            return Err(self.formed_anew(mine, theirs));
        }
        Ok(Base { first, catalogue })
    }

    /// Lets go of all replicas, and takes over those from which the log goes on.
    async fn begin_anew(&mut self, base: Base, why: String) -> Result<(), Stop> {
        let (next, first, theirs) = (self.next(), base.first, base.catalogue.log_id());
        let newest = base.catalogue.applied_index();
        if theirs == 0 || newest.saturating_add(1) < first {
            if theirs == 0 {
                // No shard has registered with it, or that was cut off. This gives it its id.
                self.register();
            }
            return Err(anyhow!(
                "its catalogue is of entry {newest} of log {theirs:016x}, which begins at {first}"
            )
            .into());
        }
        let tail = &self.tail;
        tail.readiness.set(false, format!("{why}: opening snapshots"));
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
            why,
            "the log was cut, and this node begins anew"
        );
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
