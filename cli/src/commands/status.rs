//! `longbow status`: how is the cluster?

use std::collections::BTreeMap;

use clap::Args;
use longbow_client::{ClusterStatus, LatchStatus, NodeMemory};
use serde_json::{Value as Json, json};

use crate::{
    args::Global,
    connect,
    output::{
        Output,
        table::{table, thousands},
    },
};

const EXAMPLES: &str = "\
Examples:
  longbow status
  longbow status --partitions --endpoint http://10.0.0.7:3000
  longbow status --json | jq .latch.tripped";

/// Arguments of `longbow status`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct StatusArgs {
    /// Show every replica of every partition, not just sums by dataset.
    #[arg(long)]
    pub partitions: bool,
}

/// Runs the command.
pub async fn run(args: &StatusArgs, global: &Global) -> anyhow::Result<()> {
    let status = connect::client(global)?.status().await?;
    let output = Output { json: global.json };
    output.result(&as_json(&status), || as_text(&status, args.partitions))?;
    Ok(())
}

fn as_text(status: &ClusterStatus, every_replica: bool) -> String {
    let mut out = format!(
        "cluster {}: {} nodes, leader {}, commit index {}\n",
        status.cluster_id,
        status.nodes.len(),
        status.leader.as_deref().unwrap_or("unknown"),
        thousands(status.commit_index),
    );
    let head = ["node", "role", "state", "rpc", "gossip", "version", "memory"];
    let mut nodes = table(head, &["memory"]);
    for node in &status.nodes {
        let role = node.role.map_or("unknown", |role| role.as_str());
        nodes.add_row([
            node.node_id.as_str(),
            role,
            node.state.as_str(),
            &node.rpc_addr,
            &node.gossip_addr,
            &node.version,
            &node.memory.as_ref().map_or_else(|| "-".to_owned(), memory),
        ]);
    }
    out.push_str(&format!("{nodes}\n"));
    if !status.partitions.is_empty() {
        out.push_str(&if every_replica {
            replicas(status)
        } else {
            by_dataset(status)
        });
    }
    out.push_str(&latch_line(&status.latch));
    for warning in &status.warnings {
        out.push_str(&format!("warning: {warning}\n"));
    }
    out
}

fn replicas(status: &ClusterStatus) -> String {
    let mut all = table(
        [
            "dataset",
            "partition",
            "shard",
            "applied",
            "changed",
            "digest",
            "rows",
            "not linked",
            "state",
        ],
        &["partition", "applied", "changed", "rows", "not linked"],
    );
    for partition in &status.partitions {
        for replica in &partition.replicas {
            let state = match (&replica.lost, &replica.stopped) {
                (Some(why), _) => format!("lost: {why}"),
                (None, Some(why)) => format!("stopped: {why}"),
                (None, None) if replica.reachable => "ok".to_owned(),
                (None, None) => "unreachable".to_owned(),
            };
            all.add_row([
                partition.dataset.clone(),
                partition.partition.to_string(),
                replica.node_id.clone(),
                replica.applied_index.to_string(),
                replica.touched_index.to_string(),
                shortened(replica.digest.as_deref()),
                thousands(replica.rows),
                thousands(replica.rows_unindexed),
                state,
            ]);
        }
    }
    format!("{all}\n")
}

/// What a shard takes, and may take.
fn memory(memory: &NodeMemory) -> String {
    let (taken, budget) = (memory.taken_bytes(), memory.budget_bytes);
    format!("{} of {}", mebibytes(taken), mebibytes(budget))
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", thousands(bytes.div_ceil(1 << 20)))
}

/// Enough of a digest for people to compare; machines get the whole.
fn shortened(digest: Option<&str>) -> String {
    digest
        .map_or("-", |digest| digest.get(..12).unwrap_or(digest))
        .to_owned()
}

/// Counts over the replicas of one dataset.
#[derive(Default)]
struct Sum {
    partitions: u64,
    replicas: u64,
    working: u64,
    rows: u64,
    unindexed: u64,
}

fn by_dataset(status: &ClusterStatus) -> String {
    let mut sums: BTreeMap<&str, Sum> = BTreeMap::new();
    for partition in &status.partitions {
        let sum = sums.entry(&partition.dataset).or_default();
        sum.partitions += 1;
        sum.replicas += partition.replicas.len() as u64;
        sum.working += partition
            .replicas
            .iter()
            .filter(|replica| replica.reachable && replica.stopped.is_none() && replica.lost.is_none())
            .count() as u64;
        // The most advanced replica counts.
        let best = partition
            .replicas
            .iter()
            .max_by_key(|replica| replica.applied_index);
        if let Some(best) = best {
            sum.rows += best.rows;
            sum.unindexed += best.rows_unindexed;
        }
    }
    let head = ["dataset", "partitions", "replicas working", "rows", "not linked"];
    let mut all = table(head, &head[1..]);
    for (dataset, sum) in sums {
        all.add_row([
            dataset.to_owned(),
            sum.partitions.to_string(),
            format!("{} of {}", sum.working, sum.replicas),
            thousands(sum.rows),
            thousands(sum.unindexed),
        ]);
    }
    format!("{all}\n")
}

/// One line about the latch.
pub fn latch_line(latch: &LatchStatus) -> String {
    if latch.tripped {
        format!(
            "latch: TRIPPED, writes are refused (epoch {}): {}\n",
            latch.epoch, latch.cause
        )
    } else {
        let reset = match latch.cause.as_str() {
            "" => String::new(),
            reason => format!("; it was reset: {reason}"),
        };
        format!(
            "latch: not tripped, writes are accepted (epoch {}){reset}\n",
            latch.epoch
        )
    }
}

/// The latch as JSON.
pub fn latch_json(latch: &LatchStatus) -> Json {
    json!({ "tripped": latch.tripped, "epoch": latch.epoch, "cause": latch.cause })
}

fn as_json(status: &ClusterStatus) -> Json {
    let nodes = status.nodes.iter().map(|node| {
        json!({
            "node_id": node.node_id,
            "role": node.role.map(|role| role.as_str()),
            "state": node.state.as_str(),
            "rpc_addr": node.rpc_addr,
            "gossip_addr": node.gossip_addr,
            "generation": node.generation,
            "version": node.version,
            "memory": node.memory.as_ref().map(|memory| {
                let parts = memory.parts.iter().map(|(name, bytes)| (name.clone(), json!(bytes)));
                json!({
                    "budget_bytes": memory.budget_bytes,
                    "taken_bytes": memory.taken_bytes(),
                    "parts": parts.collect::<serde_json::Map<_, _>>(),
                })
            }),
        })
    });
    let partitions = status.partitions.iter().map(|partition| {
        let replicas = partition.replicas.iter().map(|replica| {
            json!({
                "node_id": replica.node_id,
                "reachable": replica.reachable,
                "applied_index": replica.applied_index,
                "rows": replica.rows,
                "rows_unindexed": replica.rows_unindexed,
                "stopped": replica.stopped,
                "lost": replica.lost,
                "touched_index": replica.touched_index,
                "digest": replica.digest,
                "memory_bytes": replica.memory_bytes,
            })
        });
        json!({
            "dataset": partition.dataset,
            "partition": partition.partition,
            "replicas": replicas.collect::<Vec<_>>(),
        })
    });
    json!({
        "cluster_id": status.cluster_id,
        "leader": status.leader,
        "commit_index": status.commit_index,
        "nodes": nodes.collect::<Vec<_>>(),
        "partitions": partitions.collect::<Vec<_>>(),
        "latch": latch_json(&status.latch),
        "warnings": status.warnings,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use longbow_client::{NodeInfo, NodeState, PartitionStatus, ReplicaStatus, Role};

    fn status() -> ClusterStatus {
        let replica = |node: &str, rows, reachable| ReplicaStatus {
            node_id: node.into(),
            reachable,
            applied_index: rows,
            rows,
            rows_unindexed: 1,
            stopped: None,
            lost: None,
            touched_index: rows,
            digest: reachable.then(|| "0123456789abcdef0123456789abcdef".to_owned()),
            memory_bytes: 7 << 20,
        };
        ClusterStatus {
            cluster_id: "c".into(),
            nodes: vec![NodeInfo {
                node_id: "shard-0".into(),
                role: Some(Role::Shard),
                state: NodeState::Suspect,
                rpc_addr: "127.0.0.1:3100".into(),
                gossip_addr: "127.0.0.1:7946".into(),
                generation: 3,
                version: "0.1.0".into(),
                memory: Some(NodeMemory {
                    budget_bytes: 4 << 30,
                    parts: vec![("vectors".into(), 5 << 20), ("graph".into(), 1)],
                }),
            }],
            leader: None,
            commit_index: 12_345,
            partitions: vec![PartitionStatus {
                dataset: "words".into(),
                partition: 0,
                replicas: vec![replica("shard-0", 70, true), replica("shard-1", 0, false)],
            }],
            latch: LatchStatus {
                tripped: true,
                epoch: 2,
                cause: "keeper-0: fdatasync".into(),
            },
            warnings: vec!["one copy only".into()],
        }
    }

    #[test]
    fn people_see_what_is_wrong() {
        let text = as_text(&status(), false);
        for part in [
            "leader unknown",
            "12 345",
            "suspect",
            "1 of 2",
            "TRIPPED",
            "fdatasync",
            "one copy",
            "6 MiB of 4 096 MiB",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        let replicas = as_text(&status(), true);
        assert!(
            replicas.contains("unreachable") && replicas.contains("0123456789ab "),
            "{replicas}"
        );
    }

    #[test]
    fn machines_see_everything() {
        let out = as_json(&status());
        assert_eq!(out["nodes"][0]["role"], "shard");
        assert_eq!(out["partitions"][0]["replicas"][1]["reachable"], false);
        assert_eq!(
            out["partitions"][0]["replicas"][0]["digest"],
            "0123456789abcdef0123456789abcdef"
        );
        assert_eq!(out["nodes"][0]["memory"]["parts"]["vectors"], 5 << 20);
        assert_eq!(out["partitions"][0]["replicas"][0]["memory_bytes"], 7 << 20);
        assert_eq!(out["nodes"][0]["memory"]["taken_bytes"], (5 << 20) + 1);
        assert_eq!(out["latch"]["tripped"], true);
        assert_eq!(out["leader"], Json::Null);
    }
}
