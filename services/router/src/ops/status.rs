//! How is the cluster?

use std::time::{Duration, Instant};

use longbow_node::{
    gossip::{Member, MemberState},
    rpc::{MESSAGE_BYTES_MAX, deadline},
};
use longbow_types::{Result, Role};
use longbow_wire::{
    internal::{
        GetKeeperStatusRequest, GetKeeperStatusResponse, ShardMemory,
        keeper_service_client::KeeperServiceClient,
    },
    v1,
};

use super::{Core, Described, Open, fanout, get_dataset::Census};

/// Of its budget, in hundredths, what a shard takes when an operator should know.
const MEMORY_WARN: u64 = 90;

/// How long a keeper may take to tell how it is.
const PATIENCE: Duration = Duration::from_secs(1);

impl Core {
    /// Nodes, leader, partitions and latch, as far as they can be told at once.
    ///
    /// # Errors
    /// None: what cannot be reached is reported as such.
    pub async fn status(&self, at: Instant) -> Result<v1::GetClusterStatusResponse> {
        let members = self.0.gossip.members();
        let (keepers, census) = futures::join!(self.keepers(at), self.census(at));
        let datasets = match self.0.watch.current() {
            Some(_) => self.list_datasets(false, at).await?,
            None => Vec::new(),
        };
        let latch = self.latch();
        let leading = leading(&keepers);
        let mut warnings = warnings(
            &members,
            &keepers,
            &datasets,
            latch.tripped,
            self.0.watch.current().is_none(),
        );
        let partitions: Vec<_> = datasets
            .iter()
            .flat_map(|described| partitions(&described.open, &census))
            .collect();
        warnings.extend(partitions.iter().filter_map(differing));
        let nodes: Vec<_> = members.iter().map(|member| node(member, &census)).collect();
        warnings.extend(nodes.iter().filter_map(nearly_full));
        Ok(v1::GetClusterStatusResponse {
            cluster_id: self.0.identity.cluster_id.to_string(),
            nodes,
            leader: leading.map_or(String::new(), |status| status.leader.clone()),
            commit_index: keepers
                .iter()
                .map(|(_, status)| status.commit_index)
                .max()
                .unwrap_or(0),
            partitions,
            latch: Some(v1::LatchStatus {
                tripped: latch.tripped,
                epoch: latch.epoch,
                cause: latch.cause,
            }),
            warnings,
        })
    }

    /// Keepers that tell at once how they are.
    pub(super) async fn keepers(&self, at: Instant) -> Vec<(Member, GetKeeperStatusResponse)> {
        let until = at.min(Instant::now() + PATIENCE);
        let asked = self.0.gossip.live(Role::WalKeeper).into_iter().map(|member| {
            let mut keeper = KeeperServiceClient::new(self.0.peers.channel(member.rpc_addr))
                .max_decoding_message_size(MESSAGE_BYTES_MAX);
            async move {
                let request = fanout::request(GetKeeperStatusRequest {}, until);
                let answer = deadline::within(Some(until), keeper.get_keeper_status(request))
                    .await
                    .ok()?
                    .ok()?;
                Some((member, answer.into_inner()))
            }
        });
        futures::future::join_all(asked)
            .await
            .into_iter()
            .flatten()
            .collect()
    }
}

/// The keeper that knows most recently who leads.
fn leading(keepers: &[(Member, GetKeeperStatusResponse)]) -> Option<&GetKeeperStatusResponse> {
    let knowing = keepers
        .iter()
        .map(|(_, status)| status)
        .filter(|status| !status.leader.is_empty());
    knowing.max_by_key(|status| status.term)
}

fn node(member: &Member, census: &Census) -> v1::Node {
    let role = match member.role {
        Role::Router => v1::NodeRole::Router,
        Role::Shard => v1::NodeRole::Shard,
        Role::WalKeeper => v1::NodeRole::WalKeeper,
    };
    let state = match member.state {
        MemberState::Alive => v1::NodeState::Alive,
        MemberState::Suspect => v1::NodeState::Suspect,
        MemberState::Down => v1::NodeState::Down,
    };
    v1::Node {
        node_id: member.node_id.to_string(),
        role: role as i32,
        state: state as i32,
        rpc_addr: member.rpc_addr.to_string(),
        gossip_addr: member.gossip_addr.to_string(),
        generation: member.generation,
        version: member.version.clone(),
        memory: census.memory(member.node_id.as_str()).map(memory),
    }
}

fn memory(told: &ShardMemory) -> v1::NodeMemory {
    let parts = told.parts.iter().map(|part| v1::MemoryPart {
        name: part.name.clone(),
        bytes: part.bytes,
    });
    v1::NodeMemory {
        budget_bytes: told.budget_bytes,
        parts: parts.collect(),
    }
}

/// Says of a shard whether it will soon refuse rows.
fn nearly_full(node: &v1::Node) -> Option<String> {
    let memory = node.memory.as_ref()?;
    let taken: u64 = memory.parts.iter().map(|part| part.bytes).sum();
    if taken / MEMORY_WARN < memory.budget_bytes / 100 {
        return None;
    }
    Some(format!(
        "The shard {} takes {taken} bytes of memory, and may take {}: from there on rows are refused.",
        node.node_id, memory.budget_bytes
    ))
}

fn partitions(open: &Open, census: &Census) -> Vec<v1::PartitionStatus> {
    let status = |partition: u32| {
        let replicas = open
            .dataset
            .partitions
            .get(partition as usize)
            .into_iter()
            .flatten()
            .map(|node| {
                let answered = census
                    .replicas(open, partition)
                    .find(|(id, _)| *id == node.as_str());
                let replica = answered.and_then(|(_, replica)| replica);
                v1::ReplicaStatus {
                    node_id: node.to_string(),
                    reachable: answered.is_some(),
                    applied_index: replica
                        .and_then(|r| r.state)
                        .map_or(0, |state| state.applied_index),
                    rows: replica.map_or(0, |r| r.rows),
                    rows_unindexed: replica.map_or(0, |r| r.rows_unindexed),
                    stopped: replica.map_or(String::new(), |r| r.stopped.clone()),
                    lost: replica.map_or(String::new(), |r| r.lost.clone()),
                    touched_index: replica
                        .and_then(|r| r.state)
                        .map_or(0, |state| state.touched_index),
                    digest: replica.map_or(String::new(), |r| r.digest.clone()),
                    memory_bytes: replica.map_or(0, |r| r.memory_bytes),
                }
            });
        v1::PartitionStatus {
            dataset: open.dataset.name.clone(),
            partition,
            replicas: replicas.collect(),
        }
    };
    open.all_partitions().into_iter().map(status).collect()
}

/// Says of replicas that were changed last by the same entry whether they hold different rows.
fn differing(partition: &v1::PartitionStatus) -> Option<String> {
    let told = || {
        partition
            .replicas
            .iter()
            .filter(|replica| !replica.digest.is_empty())
    };
    let differ = |one: &v1::ReplicaStatus, other: &v1::ReplicaStatus| {
        one.touched_index == other.touched_index && one.digest != other.digest
    };
    let (one, other) = told().find_map(|one| {
        let other = told().find(|other| differ(one, other))?;
        Some((one, other))
    })?;
    Some(format!(
        "The replicas of partition {} of {:?} on {} and {} differ after entry {} of the log: one of them is wrong.",
        partition.partition, partition.dataset, one.node_id, other.node_id, one.touched_index
    ))
}

/// What an operator should know, one sentence each.
fn warnings(
    members: &[Member],
    keepers: &[(Member, GetKeeperStatusResponse)],
    datasets: &[Described],
    latch_tripped: bool,
    blind: bool,
) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut warn = |condition: bool, text: String| {
        if condition {
            warnings.push(text);
        }
    };
    warn(
        latch_tripped,
        "The latch is tripped: writes are refused until it is reset.".to_owned(),
    );
    warn(
        blind,
        "This router does not know the catalogue: neither a keeper nor a shard answered yet.".to_owned(),
    );
    let voters = leading(keepers).map(|status| status.voters.len());
    warn(
        voters.is_none(),
        "No keeper leads: nothing can be written, and reads may be stale.".to_owned(),
    );
    warn(
        voters == Some(1),
        "There is a single wal-keeper: with its disk every write since the last backup is lost.".to_owned(),
    );
    for (member, status) in keepers {
        warn(
            !status.fatal.is_empty(),
            format!(
                "The wal-keeper {} has stopped writing: {}.",
                member.node_id, status.fatal
            ),
        );
    }
    for described in datasets {
        let fewest = described
            .open
            .dataset
            .partitions
            .iter()
            .map(Vec::len)
            .min()
            .unwrap_or(0);
        warn(
            fewest < 2,
            format!(
                "The dataset {:?} is kept once: while its shard is down it cannot be read.",
                described.open.dataset.name
            ),
        );
    }
    for member in members {
        warn(
            member.state == MemberState::Down,
            format!("The {} {} is down.", member.role, member.node_id),
        );
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_is_named_before_it_refuses_rows() {
        let warned = |taken: u64| {
            let part = |bytes| v1::MemoryPart {
                name: "vectors".into(),
                bytes,
            };
            nearly_full(&v1::Node {
                node_id: "shard-3".into(),
                memory: Some(v1::NodeMemory {
                    budget_bytes: 1_000_000,
                    parts: vec![part(taken - 1_000), part(1_000)],
                }),
                ..v1::Node::default()
            })
        };
        assert_eq!(warned(899_000), None);
        let warning = warned(900_000).unwrap();
        for part in ["shard-3", "900000", "1000000"] {
            assert!(warning.contains(part), "{part} in {warning}");
        }
        assert_eq!(nearly_full(&v1::Node::default()), None);
    }

    #[test]
    fn replicas_that_differ_after_the_same_entry_are_named() {
        let replica = |(node, touched_index, digest): (&str, u64, &str)| v1::ReplicaStatus {
            node_id: node.into(),
            reachable: true,
            touched_index,
            digest: digest.into(),
            ..v1::ReplicaStatus::default()
        };
        let warned = |replicas: &[(&str, u64, &str)]| {
            differing(&v1::PartitionStatus {
                dataset: "words".into(),
                partition: 3,
                replicas: replicas.iter().copied().map(replica).collect(),
            })
        };
        // Equal ones, one that is behind, and one of which nothing is known.
        let whole = [
            ("shard-0", 7, "aa"),
            ("shard-1", 5, "bb"),
            ("shard-2", 7, ""),
            ("shard-3", 7, "aa"),
        ];
        assert_eq!(warned(&whole), None);
        let warning = warned(&[&whole[1..], &[("shard-4", 7, "ac")]].concat()).unwrap();
        for part in ["partition 3", "words", "shard-3", "shard-4", "entry 7"] {
            assert!(warning.contains(part), "{part} in {warning}");
        }
    }
}
