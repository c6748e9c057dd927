//! `cluster-status`: the nodes as existing clients know them: `{"self": M, "members": [M], "count": n}`.

use arrow_flight::Result as ActionResult;
use longbow_node::gossip::{Member, MemberState};
use longbow_types::Role;
use serde_json::{Value, json};

use crate::flight::Api;

/// The zero instant of the clients' language: when a node was last seen is not part of what gossip tells.
const UNKNOWN_INSTANT: &str = "0001-01-01T00:00:00Z";

pub(super) fn run(api: &Api) -> Vec<ActionResult> {
    let gossip = api.core.gossip();
    let members = gossip.members();
    let shown: Vec<Value> = members.iter().map(|member| describe(api, member)).collect();
    let own = members.iter().find(|member| member.node_id == *gossip.node_id());
    let own = own.map_or(Value::Null, |member| describe(api, member));
    let count = shown.len();
    super::text(json!({ "self": own, "members": shown, "count": count }).to_string())
}

fn describe(api: &Api, member: &Member) -> Value {
    let status = match member.state {
        MemberState::Alive => 0,
        MemberState::Suspect => 1,
        MemberState::Down => 2,
    };
    // Which port another router's meta address has is not gossiped; its data port serves the same calls.
    let meta = match member.role {
        Role::Router if member.node_id == api.core.identity().node_id => api.meta_addr.to_string(),
        Role::Router => member.rpc_addr.to_string(),
        _ => String::new(),
    };
    json!({
        "ID": member.node_id.as_str(),
        "Addr": member.gossip_addr.to_string(),
        "GRPCAddr": member.rpc_addr.to_string(),
        "MetaAddr": meta,
        "Tags": [member.role.as_str()],
        "Status": status,
        "Incarnation": member.generation,
        "LastSeen": UNKNOWN_INSTANT,
        "SuspectAt": UNKNOWN_INSTANT,
    })
}
