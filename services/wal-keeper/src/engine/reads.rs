//! Read indexes: those that come together share one round to the other keepers.

use std::collections::BTreeMap;

use longbow_cluster::raft_core::ReadState;
use longbow_types::{Error, ErrorCode};
use tokio::sync::oneshot;

use super::Engine;
use crate::mailbox::Refusal;

type Reply = oneshot::Sender<Result<u64, Refusal>>;

/// Most reads that wait, for a leader's first commit or for their round.
const WAITING_MAX: usize = 8_192;

/// Reads that wait.
#[derive(Default)]
pub(super) struct Reads {
    /// Not begun.
    waiting: Vec<Reply>,
    /// Begun, by the number of their round.
    begun: BTreeMap<u64, Vec<Reply>>,
    rounds: u64,
}

impl Reads {
    pub fn ask(&mut self, reply: Reply) {
        if self.count() >= WAITING_MAX {
            self.waiting.retain(|reply| !reply.is_closed());
            for round in self.begun.values_mut() {
                round.retain(|reply| !reply.is_closed());
            }
        }
        if self.count() >= WAITING_MAX {
            let error =
                Error::new(ErrorCode::Overloaded, "too many reads wait for the leader").limit(WAITING_MAX);
            let _ = reply.send(Err(Refusal::certain(error)));
            return;
        }
        self.waiting.push(reply);
    }

    fn count(&self) -> usize {
        self.waiting.len() + self.begun.values().map(Vec::len).sum::<usize>()
    }

    /// Answers a round, and those begun before it: their writes came before too.
    pub fn answer(&mut self, read: ReadState) {
        let later = self.begun.split_off(&(read.request + 1));
        for reply in std::mem::replace(&mut self.begun, later).into_values().flatten() {
            let _ = reply.send(Ok(read.index));
        }
    }

    pub fn refuse(&mut self, refusal: &Refusal) {
        let begun = std::mem::take(&mut self.begun);
        for reply in self.waiting.drain(..).chain(begun.into_values().flatten()) {
            let _ = reply.send(Err(refusal.clone()));
        }
    }
}

impl Engine {
    /// Begins a round for those who wait. A new leader makes them wait until it has committed an entry of its own.
    pub(super) fn begin_reads(&mut self) {
        if self.reads.waiting.is_empty() {
            return;
        }
        let round = self.reads.rounds + 1;
        match self.core.read_index(round) {
            Ok(()) => {
                self.reads.rounds = round;
                let waiting = std::mem::take(&mut self.reads.waiting);
                self.reads.begun.insert(round, waiting);
            }
            Err(error) if error.code == ErrorCode::NotLeader => {
                let refusal = self.not_leader();
                self.reads.refuse(&refusal);
            }
            // Asked again in the next turn, at the latest with the next tick.
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_whose_round_is_under_way_count_too() {
        let mut reads = Reads::default();
        let mut answers = Vec::new();
        for _ in 0..WAITING_MAX {
            let (reply, answer) = oneshot::channel();
            reads.ask(reply);
            answers.push(answer);
        }
        reads.begun.insert(1, std::mem::take(&mut reads.waiting));
        let mut late = || {
            let (reply, mut answer) = oneshot::channel();
            reads.ask(reply);
            answer.try_recv().ok()
        };
        let refusal = late().unwrap().unwrap_err();
        assert_eq!(refusal.error.code, ErrorCode::Overloaded);
        // Who went away makes room.
        answers.pop();
        assert!(late().is_none());
    }
}
