//! Which replica is asked?

use longbow_node::gossip::{Member, MemberState};
use longbow_types::NodeId;

/// Shards that hold a partition, in the order in which to ask them: those that answer first, beginning with the
/// `turn`th so that reads spread; then those that are suspected; then those that gossip gave up, which may be back
/// before gossip knows.
pub fn in_order<'a>(replicas: &[NodeId], members: &'a [Member], turn: usize) -> Vec<&'a Member> {
    let mut known: Vec<&Member> = replicas
        .iter()
        .filter_map(|replica| members.iter().find(|member| member.node_id == *replica))
        .collect();
    if !known.is_empty() {
        let start = turn % known.len();
        known.rotate_left(start);
    }
    known.sort_by_key(|member| match member.state {
        MemberState::Alive => 0,
        MemberState::Suspect => 1,
        MemberState::Down => 2,
    });
    known
}

#[cfg(test)]
mod tests {
    use super::*;
    use longbow_types::Role;

    fn member(id: &str, state: MemberState) -> Member {
        Member {
            node_id: id.parse().unwrap(),
            role: Role::Shard,
            generation: 1,
            rpc_addr: ([127, 0, 0, 1], 1).into(),
            gossip_addr: ([127, 0, 0, 1], 2).into(),
            http_addr: None,
            state,
            version: String::new(),
        }
    }

    #[test]
    fn the_living_come_first_and_take_turns() {
        use MemberState::{Alive, Down, Suspect};
        let members = [
            member("a", Down),
            member("b", Alive),
            member("c", Suspect),
            member("d", Alive),
        ];
        let replicas: Vec<NodeId> = ["a", "b", "c", "d", "gone"]
            .iter()
            .map(|id| id.parse().unwrap())
            .collect();
        let order = |turn| {
            let order = in_order(&replicas, &members, turn);
            order
                .iter()
                .map(|member| member.node_id.as_str())
                .collect::<Vec<_>>()
        };
        assert_eq!(order(0), ["b", "d", "c", "a"]);
        assert_eq!(order(2), ["d", "b", "c", "a"]);
        assert!(in_order(&[], &members, 3).is_empty());
    }
}
