//! `longbow keeper …`: who is in the wal-keepers' group, and changing that.

use clap::{Args, Subcommand};
use longbow_client::{KeeperInfo, KeeperRole};
use serde_json::{Value as Json, json};

use crate::{
    args::Global,
    connect,
    output::{
        Output,
        table::{table, thousands},
    },
};

const LIST_EXAMPLES: &str = "\
Examples:
  longbow keeper list
  longbow keeper list --json | jq '.keepers[] | select(.role == \"waiting\").node_id'";

const ADD_EXAMPLES: &str = "\
Examples:
  longbow keeper add keeper-3          it runs, with an empty data path and the group's initial voters
  longbow keeper promote keeper-3      once it has caught up

A keeper that lost its disk: longbow keeper remove it, start it again, then add and promote it.";

const PROMOTE_EXAMPLES: &str = "\
Examples:
  longbow keeper promote keeper-3";

const REMOVE_EXAMPLES: &str = "\
Examples:
  longbow keeper remove keeper-3       its log is of no use afterwards";

/// What to do with the keepers' group.
#[derive(Debug, Subcommand)]
pub enum KeeperCommand {
    /// Show who votes, who learns, and who waits to be added.
    #[command(after_help = LIST_EXAMPLES)]
    List,
    /// Add a keeper that runs with an empty disk, as a learner without a vote.
    #[command(after_help = ADD_EXAMPLES)]
    Add(NodeArgs),
    /// Give a learner a vote, once it has caught up with the log.
    #[command(after_help = PROMOTE_EXAMPLES)]
    Promote(ForceArgs),
    /// Take a keeper out of the group, for good.
    #[command(after_help = REMOVE_EXAMPLES)]
    Remove(ForceArgs),
}

/// Which keeper.
#[derive(Debug, Args)]
pub struct NodeArgs {
    /// Node id of the keeper.
    pub node: String,
}

/// Which keeper, and how firmly.
#[derive(Debug, Args)]
pub struct ForceArgs {
    /// Node id of the keeper.
    pub node: String,
    /// Although it lags behind, or alone holds old entries. A quorum is never given away.
    #[arg(long)]
    pub force: bool,
}

/// Runs the command.
pub async fn run(command: &KeeperCommand, global: &Global) -> anyhow::Result<()> {
    let client = connect::client(global)?;
    let output = Output { json: global.json };
    match command {
        KeeperCommand::List => {
            let keepers = client.list_keepers().await?;
            let all: Vec<Json> = keepers.iter().map(as_json).collect();
            output.result(&json!({ "keepers": all }), || as_text(&keepers))?;
        }
        KeeperCommand::Add(args) => {
            let keeper = client.add_keeper(&args.node).await?;
            output.result(&json!({ "keeper": as_json(&keeper) }), || {
                let raft_id = keeper.raft_id.unwrap_or_default();
                let node = &args.node;
                format!("{node} learns, as {raft_id}; when it has caught up: longbow keeper promote {node}\n")
            })?;
        }
        KeeperCommand::Promote(args) => {
            let keeper = client.promote_keeper(&args.node, args.force).await?;
            output.result(&json!({ "keeper": as_json(&keeper) }), || {
                format!("{} votes\n", args.node)
            })?;
        }
        KeeperCommand::Remove(args) => {
            client.remove_keeper(&args.node, args.force).await?;
            output.result(&json!({ "removed": args.node }), || {
                format!("{} is in the group no more\n", args.node)
            })?;
        }
    }
    Ok(())
}

fn as_text(keepers: &[KeeperInfo]) -> String {
    let head = [
        "keeper",
        "raft id",
        "role",
        "log from",
        "to",
        "applied",
        "log bytes",
        "state",
    ];
    let mut all = table(head, &["raft id", "log from", "to", "applied", "log bytes"]);
    for keeper in keepers {
        let state = match (&keeper.fatal, keeper.reachable) {
            (Some(why), _) => format!("stopped: {why}"),
            (None, false) => "does not answer".to_owned(),
            (None, true) if keeper.is_leader => "leads".to_owned(),
            (None, true) if keeper.role == KeeperRole::Waiting => {
                format!("longbow keeper add {}", keeper.node_id)
            }
            (None, true) => "ok".to_owned(),
        };
        all.add_row([
            keeper.node_id.clone(),
            keeper.raft_id.map_or(String::new(), |id| id.to_string()),
            keeper.role.as_str().to_owned(),
            thousands(keeper.first_index),
            thousands(keeper.last_index),
            thousands(keeper.applied_index),
            thousands(keeper.log_bytes),
            state,
        ]);
    }
    format!("{all}\n")
}

fn as_json(keeper: &KeeperInfo) -> Json {
    json!({
        "node_id": keeper.node_id,
        "raft_id": keeper.raft_id,
        "role": keeper.role.as_str(),
        "leads": keeper.is_leader,
        "reachable": keeper.reachable,
        "first_index": keeper.first_index,
        "last_index": keeper.last_index,
        "applied_index": keeper.applied_index,
        "log_bytes": keeper.log_bytes,
        "fatal": keeper.fatal,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keeper(node: &str, role: KeeperRole, reachable: bool) -> KeeperInfo {
        KeeperInfo {
            node_id: node.to_owned(),
            raft_id: (role != KeeperRole::Waiting).then_some(4),
            role,
            is_leader: role == KeeperRole::Voter,
            reachable,
            first_index: 1,
            last_index: 12_345,
            applied_index: 12_340,
            log_bytes: 9,
            fatal: None,
        }
    }

    #[test]
    fn people_see_who_leads_who_is_missing_and_what_to_do() {
        let text = as_text(&[
            keeper("k1", KeeperRole::Voter, true),
            keeper("k2", KeeperRole::Learner, false),
            keeper("k3", KeeperRole::Waiting, true),
        ]);
        for part in ["leads", "12 345", "does not answer", "longbow keeper add k3"] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert_eq!(
            as_json(&keeper("k3", KeeperRole::Waiting, true))["raft_id"],
            Json::Null
        );
    }
}
