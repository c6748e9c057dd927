//! What `up` tells about the cluster it started.

use std::time::Duration;

use longbow_client::Role;
use serde_json::{Value as Json, json};

use super::{child::Node, identity::DataDir};
use crate::output::table::table;

/// A table of addresses and what to do next.
pub fn text(dir: &DataDir, nodes: &[Node], took: Duration) -> String {
    let mut all = table(["node", "role", "address", "gossip", "metrics", "pid"], &["pid"]);
    for node in nodes {
        let plan = &node.plan;
        let address = match plan.meta {
            Some(meta) => format!("{} and {}", plan.rpc, meta),
            None => plan.rpc.to_string(),
        };
        all.add_row([
            plan.node_id.clone(),
            plan.role.to_string(),
            address,
            plan.gossip.to_string(),
            format!("http://{}/metrics", plan.http),
            node.pid.to_string(),
        ]);
    }
    format!(
        "cluster {} is ready after {:.2} s; data in {}\n{all}\n\
         export LONGBOW_ENDPOINT={}\nlongbow status\n\nCtrl-C stops it; the same --data-dir starts it again.\n",
        dir.cluster_id(),
        took.as_secs_f64(),
        dir.path().display(),
        endpoints(nodes).join(","),
    )
}

/// Everything, on one line, for machines.
pub fn json(dir: &DataDir, nodes: &[Node], took: Duration) -> Json {
    let all = nodes.iter().map(|node| {
        let mut entry = node.plan.json();
        entry["pid"] = json!(node.pid);
        entry["log"] = json!(node.log.display().to_string());
        entry["argv"] = json!(node.argv);
        entry
    });
    json!({
        "cluster_id": dir.cluster_id(),
        "data_dir": dir.path().display().to_string(),
        "ready_seconds": took.as_secs_f64(),
        "endpoints": endpoints(nodes),
        "nodes": all.collect::<Vec<_>>(),
    })
}

fn endpoints(nodes: &[Node]) -> Vec<String> {
    nodes
        .iter()
        .filter(|node| node.plan.role == Role::Router)
        .map(|node| format!("http://{}", node.plan.rpc))
        .collect()
}

/// A command line as one would type it.
pub fn shell(argv: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,=@".contains(c);
    let quote = |arg: &String| {
        if !arg.is_empty() && arg.chars().all(plain) {
            arg.clone()
        } else {
            format!("'{}'", arg.replace('\'', r"'\''"))
        }
    };
    argv.iter().map(quote).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines_can_be_typed_again() {
        let argv = ["/a b/longbow", "--x", "it's", ""].map(str::to_owned);
        assert_eq!(shell(&argv), r"'/a b/longbow' --x 'it'\''s' ''");
    }
}
