//! Where does this node stand in its cluster, and which of two lives of one node stays?
//!
//! The newer life stays. The older falls silent as soon as anybody tells it, asks from time to time whether the newer
//! is still alive, and returns above it when it is not. A node that was merely declared down returns as itself.

use std::time::Duration;

use super::{
    Due, Effect, FORMER_LIFE_GRACE, KIND_NOTICE, MemberId, Membership, NOTICE_EVERY, lock, note_error,
    notice::Notice, schedule,
};

/// Between two questions of a superseded node whether the newer one still lives.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(3);
/// Most members called at once when coming back.
const CALLS_MAX: usize = 32;

/// Where we stand in the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    In,
    /// Declared down; a timer brings us back.
    Out,
    /// Another life of ours is newer and was alive when last heard of.
    Superseded(MemberId),
    Left,
}

impl Membership {
    /// Another process with our id talks to us.
    pub(super) fn meet_double(
        &mut self,
        now: Duration,
        own: &MemberId,
        other: MemberId,
        effects: &mut Vec<Effect>,
    ) {
        let just_started = now.saturating_sub(self.started) < FORMER_LIFE_GRACE;
        let in_place = !matches!(self.standing, Standing::Superseded(_));
        if other.supersedes(own) {
            let notice = Notice {
                older: own.clone(),
                newer: other,
                alive: true,
            };
            self.take_notice(notice, effects);
        } else if in_place && !just_started {
            let notice = Notice {
                older: other,
                newer: own.clone(),
                alive: true,
            };
            self.send_notice(now, notice, effects);
        }
    }

    /// Tells a sender of whom we know a newer life, and the newer one too.
    pub(super) fn notice_former_life(&mut self, now: Duration, sender: &MemberId, effects: &mut Vec<Effect>) {
        let known = self
            .foca
            .iter_membership_state()
            .find(|member| member.id().same_node(sender));
        let Some((newer, state)) = known.map(|member| (member.id().clone(), member.state())) else {
            return;
        };
        if newer.same_life(sender) || !newer.supersedes(sender) {
            return;
        }
        let alive = state != foca::State::Down;
        let replaced = newer.node_id().and_then(|id| self.replaced.get(&id));
        let just_replaced = replaced.is_some_and(|at| now.saturating_sub(*at) < FORMER_LIFE_GRACE);
        if !(alive && just_replaced) {
            self.send_notice(
                now,
                Notice {
                    older: sender.clone(),
                    newer,
                    alive,
                },
                effects,
            );
        }
    }

    fn send_notice(&mut self, now: Duration, notice: Notice, effects: &mut Vec<Effect>) {
        let Some(node_id) = notice.older.node_id() else {
            return;
        };
        let last = self.noticed.get(&node_id);
        if last.is_some_and(|at| now.saturating_sub(*at) < NOTICE_EVERY) {
            return;
        }
        // Only what was sent counts: one that calls more often than that must not go without an answer for ever.
        self.noticed.insert(node_id, now);
        let mut payload = vec![KIND_NOTICE];
        notice.encode(&mut payload);
        let own = self.foca.identity().clone();
        for reader in [&notice.older, &notice.newer] {
            if !reader.same_life(&own) {
                effects.push(Effect::Send {
                    to: reader.gossip_addr(),
                    payload: payload.clone(),
                });
            }
        }
        if notice.alive {
            effects.push(Effect::Doubled {
                older: notice.older,
                newer: notice.newer,
            });
        }
    }

    /// Somebody, perhaps ourselves, found two lives of one node.
    pub(super) fn take_notice(&mut self, notice: Notice, effects: &mut Vec<Effect>) {
        let own = self.foca.identity().clone();
        if notice.newer.same_life(&own) && notice.alive {
            effects.push(Effect::Doubled {
                older: notice.older,
                newer: notice.newer,
            });
        } else if notice.older.same_life(&own) && notice.newer.supersedes(&own) {
            if notice.alive {
                self.fall_silent(notice.newer, effects);
            } else {
                self.rise_above(&notice.newer, effects);
            }
        }
    }

    fn fall_silent(&mut self, newer: MemberId, effects: &mut Vec<Effect>) {
        let was = std::mem::replace(&mut self.standing, Standing::Superseded(newer.clone()));
        match was {
            Standing::Left => self.standing = Standing::Left,
            Standing::Superseded(_) => {}
            Standing::In | Standing::Out => {
                // Tells the others that our life is over, which they know, and stops our probing.
                note_error(self.foca.leave_cluster(&mut self.runtime), effects);
                self.schedule_return(ASK_AGAIN_AFTER, effects);
                effects.push(Effect::Superseded(newer));
            }
        }
    }

    /// A newer life of ours is dead: the clock went back, or its disk is lost. Ours goes on above it.
    fn rise_above(&mut self, newer: &MemberId, effects: &mut Vec<Effect>) {
        let generation = newer.generation().saturating_add(1);
        let id = self.foca.identity().raised(generation);
        self.enter_as(id, effects);
        effects.push(Effect::Restored(generation));
    }

    pub(super) fn come_back(&mut self, effects: &mut Vec<Effect>) {
        match self.standing.clone() {
            Standing::In | Standing::Left => {}
            Standing::Out => {
                let id = self.foca.identity().renewed();
                self.enter_as(id, effects);
                effects.push(Effect::Rejoined);
            }
            Standing::Superseded(newer) => {
                self.call_everybody(effects);
                self.schedule_return(ASK_AGAIN_AFTER, effects);
                effects.push(Effect::Superseded(newer));
            }
        }
    }

    fn enter_as(&mut self, id: MemberId, effects: &mut Vec<Effect>) {
        self.standing = Standing::In;
        self.returning += 1;
        lock(&self.shared).own = id.clone();
        note_error(self.foca.change_identity(id, &mut self.runtime), effects);
        self.call_everybody(effects);
    }

    /// Calls all known members, those that are down as well: they may think the same of us.
    pub(super) fn call_everybody(&mut self, effects: &mut Vec<Effect>) {
        let own = self.foca.identity().clone();
        let known = self
            .foca
            .iter_membership_state()
            .map(|member| member.id().clone());
        let known: Vec<_> = known.filter(|id| !id.same_node(&own)).take(CALLS_MAX).collect();
        for id in known {
            note_error(self.foca.announce(id, &mut self.runtime), effects);
        }
    }

    pub(super) fn schedule_return(&mut self, after: Duration, effects: &mut Vec<Effect>) {
        self.returning += 1;
        effects.push(schedule(after, Due::Return(self.returning)));
    }
}
