//! Who is there? SWIM membership, as events in and effects out.
//!
//! The shell owns socket and clock: it hands in opened packets, due timers and requests, and performs the effects. The
//! protocol is foca's; this room adds what foca leaves to its users:
//!
//! - **One live node per id.** A node that comes back with a higher generation replaces its former self. If the former
//!   one lives on, whoever hears both tells both ([`notice`]): the older one falls silent and keeps asking until the
//!   newer one is gone. Nothing is decided by who shouts louder.
//! - **Coming back.** A node that was declared down by mistake (a pause, a partition) returns by itself under a renewed
//!   identity, after a delay, so that two who declare each other down cannot shout in a tight loop.
//! - **The latch register** as a broadcast that is repeated, because foca has no anti-entropy ([`latch`]).
//!
//! Invariants: the list of members holds this node once; of two lives of one node the later one stands in it.

mod codec;
mod id;
mod latch;
mod notice;
mod random;
mod standing;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    num::{NonZeroU8, NonZeroUsize},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use foca::{AccumulatingRuntime, Foca, OwnedNotification, PeriodicParams};
use longbow_types::NodeId;
use longbow_wire::internal::LatchRegister;

pub use id::{Describe, MemberId};

use codec::Codec;
use latch::LatchHandler;
use notice::Notice;
use random::Random;
use standing::Standing;

/// Largest payload handed out and taken in, in bytes. With the shell's seal it stays below any network's MTU.
pub const PAYLOAD_BYTES_MAX: usize = 1300;

/// First byte of a payload: foca's own.
const KIND_SWIM: u8 = 0;
/// First byte of a payload: a [`Notice`].
const KIND_NOTICE: u8 = 1;

/// Before a node that was declared down comes back.
const REJOIN_AFTER: Duration = Duration::from_secs(1);
/// Packets of a former life may be on their way for so long after the newer one appeared.
const FORMER_LIFE_GRACE: Duration = Duration::from_secs(2);
/// At most one notice about one node in this time.
const NOTICE_EVERY: Duration = Duration::from_secs(1);
/// Between two repetitions of the latch register, and two looks whether we are alone.
const HOUSEKEEPING_EVERY: Duration = Duration::from_secs(5);
/// How long a node that is down is remembered.
const REMEMBER_DOWN: Duration = Duration::from_secs(24 * 3600);

/// How patient the protocol is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timing {
    /// How often one other member is probed.
    pub probe_interval: Duration,
    /// How long a member that does not answer may take to object before it is down.
    pub suspect_timeout: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            probe_interval: Duration::from_secs(1),
            suspect_timeout: Duration::from_secs(3),
        }
    }
}

/// Whether a member answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// It answers.
    Alive,
    /// It did not answer and may still object.
    Suspect,
    /// It left, or did not object in time.
    Down,
}

/// What happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// The shell is ready. First, and once.
    Start,
    /// A payload came that the shell knows to be from our cluster. Still not trusted to be well-formed.
    Packet(&'a [u8]),
    /// A timer is due. Of timers due at once, those set for an earlier moment first; packets before timers.
    Timer(Timer),
    /// Call whoever is at this address.
    Call(SocketAddr),
    /// This node learnt of a latch register.
    Latch(LatchRegister),
    /// This node stops.
    Leave,
}

/// What to do about it.
#[derive(Debug)]
pub enum Effect {
    /// Send a payload.
    Send {
        /// Where to.
        to: SocketAddr,
        /// What.
        payload: Vec<u8>,
    },
    /// Hand the timer back after so long.
    Schedule {
        /// How long.
        after: Duration,
        /// What to hand back.
        timer: Timer,
    },
    /// The list of members is now this, this node included, sorted by role and id.
    Members(Vec<(MemberId, State)>),
    /// The latch register is now this.
    Latch(LatchRegister),
    /// Another live node has our id and is newer: we are out until it is gone. Repeated while that is so.
    Superseded(MemberId),
    /// The node that had superseded us is gone and we are back, under this generation.
    Restored(u64),
    /// We were declared down, although alive, and came back.
    Rejoined,
    /// Two live nodes have one id.
    Doubled {
        /// The one that has to go.
        older: MemberId,
        /// The one that stays.
        newer: MemberId,
    },
    /// A packet was not taken.
    Rejected(String),
}

/// Something to hand back later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timer(Due);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Due {
    Swim(foca::Timer<MemberId>),
    /// Come back, or ask whether we may. The number tells stale timers from the current one.
    Return(u64),
    Housekeeping,
}

/// What foca's callbacks tell the core.
#[derive(Debug)]
struct Shared {
    own: MemberId,
    latch: crate::latch::LatchState,
    latch_changed: bool,
    /// Hearsay about a newer life of ours, and whether it was alive.
    newer: Option<(MemberId, bool)>,
}

type Handle = Arc<Mutex<Shared>>;

/// Nothing panics while holding the lock; were it so, the plain data in it would still be good.
fn lock(shared: &Handle) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The membership of one node.
pub struct Membership {
    foca: Foca<MemberId, Codec, Random, LatchHandler>,
    runtime: AccumulatingRuntime<MemberId>,
    shared: Handle,
    standing: Standing,
    started: Duration,
    /// Valid [`Due::Return`].
    returning: u64,
    published: Vec<(MemberId, State)>,
    /// When a newer life of a node replaced a former one.
    replaced: BTreeMap<NodeId, Duration>,
    /// When a notice about a node was sent.
    noticed: BTreeMap<NodeId, Duration>,
}

impl Membership {
    /// A node that knows nobody. `seed` drives every random choice.
    pub fn new(own: MemberId, timing: &Timing, seed: u64) -> Self {
        let shared = Arc::new(Mutex::new(Shared {
            own: own.clone(),
            latch: crate::latch::LatchState::default(),
            latch_changed: false,
            newer: None,
        }));
        let foca = Foca::with_custom_broadcast(
            own,
            foca_config(timing),
            Random::new(seed),
            Codec::new(shared.clone()),
            LatchHandler(shared.clone()),
        );
        Self {
            foca,
            runtime: AccumulatingRuntime::new(),
            shared,
            standing: Standing::In,
            started: Duration::ZERO,
            returning: 0,
            published: Vec::new(),
            replaced: BTreeMap::new(),
            noticed: BTreeMap::new(),
        }
    }

    /// Takes in one event at one moment (since any fixed moment, never going back) and says what to do.
    pub fn handle(&mut self, now: Duration, event: Event<'_>) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Start => {
                self.started = now;
                effects.push(schedule(HOUSEKEEPING_EVERY, Due::Housekeeping));
            }
            Event::Packet(payload) => self.packet(now, payload, &mut effects),
            Event::Timer(Timer(Due::Swim(timer))) => {
                let handled = self.foca.handle_timer(timer, &mut self.runtime);
                note_error(handled, &mut effects);
            }
            Event::Timer(Timer(Due::Return(number))) => {
                if number == self.returning {
                    self.come_back(&mut effects);
                }
            }
            Event::Timer(Timer(Due::Housekeeping)) => self.housekeeping(&mut effects),
            Event::Call(addr) => {
                let somebody = MemberId::somebody_at(addr);
                note_error(self.foca.announce(somebody, &mut self.runtime), &mut effects);
            }
            Event::Latch(register) => {
                if lock(&self.shared).learn(&register) {
                    self.spread_latch(&mut effects);
                }
            }
            Event::Leave => {
                self.standing = Standing::Left;
                note_error(self.foca.leave_cluster(&mut self.runtime), &mut effects);
            }
        }
        self.collect(now, &mut effects);
        effects
    }

    /// The register as known.
    pub fn latch(&self) -> LatchRegister {
        lock(&self.shared).latch.register().clone()
    }

    fn packet(&mut self, now: Duration, payload: &[u8], effects: &mut Vec<Effect>) {
        if self.standing == Standing::Left {
            return;
        }
        match payload.split_first() {
            Some((&KIND_SWIM, packet)) => self.swim(now, packet, effects),
            Some((&KIND_NOTICE, packet)) => match Notice::decode(packet) {
                Ok(notice) => self.take_notice(notice, effects),
                Err(error) => effects.push(Effect::Rejected(format!("notice: {error}"))),
            },
            _ => effects.push(Effect::Rejected("unknown kind of packet".to_owned())),
        }
    }

    fn swim(&mut self, now: Duration, packet: &[u8], effects: &mut Vec<Effect>) {
        let header = match codec::header(packet) {
            Ok(header) => header,
            Err(error) => return effects.push(Effect::Rejected(error.to_string())),
        };
        if header.message == foca::Message::TurnUndead && self.standing != Standing::In {
            // "You are down": we know. foca would say it back to one that is down for us too, and that one again.
            return;
        }
        let sender = header.src;
        let own = self.foca.identity().clone();
        if sender.same_life(&own) {
            return; // a call of ours that came back to us: we are among our own seeds
        }
        if sender.same_node(&own) {
            return self.meet_double(now, &own, sender, effects);
        }
        let handled = self.foca.handle_data(packet, &mut self.runtime);
        let hearsay = lock(&self.shared).newer.take();
        match hearsay {
            // The packet was refused because of that hearsay, so there is no error to note.
            Some((newer, alive)) => {
                let older = own;
                self.take_notice(Notice { older, newer, alive }, effects);
            }
            None => note_error(handled, effects),
        }
        self.notice_former_life(now, &sender, effects);
    }

    fn housekeeping(&mut self, effects: &mut Vec<Effect>) {
        if self.standing == Standing::Left {
            return;
        }
        effects.push(schedule(HOUSEKEEPING_EVERY, Due::Housekeeping));
        if self.foca.num_members() == 0 {
            // foca falls asleep when it is alone; the others may be back.
            self.call_everybody(effects);
        }
        self.spread_latch(effects);
    }

    fn spread_latch(&mut self, effects: &mut Vec<Effect>) {
        let item = latch::encode(lock(&self.shared).latch.register());
        let Some(item) = item else { return };
        note_error(self.foca.add_broadcast(&item).map(drop), effects);
        note_error(self.foca.broadcast(&mut self.runtime), effects);
    }

    /// Turns what foca left in its runtime into effects.
    fn collect(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        let mut somebody_came = false;
        while let Some(notification) = self.runtime.to_notify() {
            match notification {
                OwnedNotification::MemberUp(_) => somebody_came = true,
                OwnedNotification::Rename(former, later) if !former.same_life(&later) => {
                    if let Some(id) = later.node_id() {
                        self.replaced.insert(id, now);
                    }
                }
                OwnedNotification::Defunct if self.standing == Standing::In => {
                    self.standing = Standing::Out;
                    self.schedule_return(REJOIN_AFTER, effects);
                }
                _ => {}
            }
        }
        if somebody_came {
            self.spread_latch(effects);
        }
        while let Some((to, packet)) = self.runtime.to_send() {
            let payload = [&[KIND_SWIM], &packet[..]].concat();
            effects.push(Effect::Send {
                to: to.gossip_addr(),
                payload,
            });
        }
        while let Some((after, timer)) = self.runtime.to_schedule() {
            effects.push(schedule(after, Due::Swim(timer)));
        }
        self.forget_old(now);
        self.publish(effects);
    }

    fn forget_old(&mut self, now: Duration) {
        let recent = |at: &mut Duration| now.saturating_sub(*at) < FORMER_LIFE_GRACE.max(NOTICE_EVERY);
        self.replaced.retain(|_, at| recent(at));
        self.noticed.retain(|_, at| recent(at));
    }

    fn publish(&mut self, effects: &mut Vec<Effect>) {
        let own = self.foca.identity();
        let own_state = match self.standing {
            Standing::In => State::Alive,
            Standing::Out => State::Suspect,
            Standing::Superseded(_) | Standing::Left => State::Down,
        };
        let others = self
            .foca
            .iter_membership_state()
            .filter(|member| !member.id().same_node(own));
        let mut members: Vec<_> = others
            .map(|member| (member.id().clone(), state_of(member.state())))
            .collect();
        members.push((own.clone(), own_state));
        members.sort_by(|(a, _), (b, _)| a.cmp_by_name(b));
        if members != self.published {
            self.published.clone_from(&members);
            effects.push(Effect::Members(members));
        }
        let mut shared = lock(&self.shared);
        if std::mem::take(&mut shared.latch_changed) {
            effects.push(Effect::Latch(shared.latch.register().clone()));
        }
    }
}

fn schedule(after: Duration, due: Due) -> Effect {
    Effect::Schedule {
        after,
        timer: Timer(due),
    }
}

fn note_error(result: Result<(), foca::Error>, effects: &mut Vec<Effect>) {
    if let Err(error) = result {
        effects.push(Effect::Rejected(error.to_string()));
    }
}

fn state_of(state: foca::State) -> State {
    match state {
        foca::State::Alive => State::Alive,
        foca::State::Suspect => State::Suspect,
        foca::State::Down => State::Down,
    }
}

fn foca_config(timing: &Timing) -> foca::Config {
    let few = |count| NonZeroUsize::new(count).expect("counts are not zero");
    let every = |frequency, count| {
        Some(PeriodicParams {
            frequency,
            num_members: few(count),
        })
    };
    let probe = timing.probe_interval;
    foca::Config {
        probe_period: probe,
        probe_rtt: probe / 3,
        num_indirect_probes: few(3),
        max_transmissions: NonZeroU8::new(10).expect("ten is not zero"),
        suspect_to_down_after: timing.suspect_timeout,
        remove_down_after: Some(REMEMBER_DOWN),
        max_packet_size: few(PAYLOAD_BYTES_MAX - 1),
        notify_down_members: true,
        periodic_announce: every(probe * 15, 1),
        // A node that knows nobody when it comes back is found by this alone.
        periodic_announce_to_down_members: every(probe * 2, 2),
        periodic_gossip: every(probe / 2, 3),
    }
}
