//! An operator of the simulation, who changes the group at random.

use std::collections::BTreeMap;

use rand::Rng;

use longbow_wire::internal::KeeperChange;

use super::{World, node};
use crate::keepers::{Ask, Plan, Progress, Situation, plan};

impl World {
    /// An operator asks whoever thinks that it leads for any change.
    pub(super) fn change(&mut self) {
        let any = self.random.random_range(0..8);
        let choice = self.random.random_range(0..3);
        for (&me, member) in &mut self.members {
            if !member.core.is_leader() {
                continue;
            }
            let keepers = &member.state.keepers;
            let all: Vec<_> = keepers.members().map(|member| member.node_id.clone()).collect();
            let (change, node_id) = match choice {
                // The node has no meaning here: each log is another one.
                0 if all.len() < 6 => (KeeperChange::Add, node(1_000 + self.proposed)),
                1 => (KeeperChange::Promote, all[any % all.len()].clone()),
                _ => (KeeperChange::Remove, all[any % all.len()].clone()),
            };
            self.proposed += 1;
            let progress: BTreeMap<u64, Progress> = member
                .core
                .progress()
                .into_iter()
                .map(|(id, progress)| {
                    let progress = Progress {
                        matched: progress.matched,
                        is_active: progress.is_active,
                        first_index: None,
                    };
                    (id, progress)
                })
                .collect();
            let now = Situation {
                keepers,
                me,
                last_index: member.core.last_index(),
                is_changing: member.core.is_changing(),
                needed_from: 1,
                progress: &progress,
            };
            let ask = Ask {
                change,
                node_id,
                log_id: 1,
                force: false,
            };
            match plan(&now, &ask) {
                Ok(Plan::Propose(change)) => {
                    let _ = member.core.propose_change(&change.to_entry(keepers));
                }
                Ok(Plan::HandOver) => drop(member.core.transfer_leadership()),
                Ok(Plan::Done) | Err(_) => {}
            }
        }
    }
}
