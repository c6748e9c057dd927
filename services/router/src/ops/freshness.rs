//! How new must an answer be, and how new is it?
//!
//! `fresh` costs no extra trip when nothing is behind: the read index is asked for beside the search, and only shards
//! that turn out to be behind it are asked again, with the index to wait for.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use longbow_types::{Error, ErrorCode, Lsn, Result, Token};
use longbow_wire::{
    internal::{PartitionSet, PartitionState, WaitAppliedRequest},
    v1::{self, consistency},
};
use parking_lot::Mutex;
use tonic::{Response, Status};

use super::{
    Core, Open,
    fanout::{self, Answer, Shard, Want},
};

/// How long to look for a leader before a fresh read is answered as degraded.
const LEADER_PATIENCE: Duration = Duration::from_secs(2);
/// The same while no leader was there a moment ago.
const LEADERLESS_PATIENCE: Duration = Duration::from_millis(100);
/// How long "a moment ago" is.
const LEADERLESS_MEMORY: Duration = Duration::from_secs(5);
/// How long to go on asking when no replica of a partition can be reached: one may be starting.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long replicas may take to tell how far they are, once a read is degraded anyway.
const CENSUS: Duration = Duration::from_millis(500);

/// How long replicas may take to reach a token's index before it is asked whether the log has come that far at all.
const DOUBT: Duration = Duration::from_millis(50);

/// When a leader was last looked for in vain, with all patience. Reads must not all wait for one that is gone.
///
/// A short look that was in vain proves little: the leader may be there and slow to answer. So it counts for nothing,
/// and once the memory has faded a read looks with all patience again.
#[derive(Debug, Default)]
pub(super) struct Leaderless(Mutex<Option<Instant>>);

impl Leaderless {
    fn patience(&self, now: Instant) -> Duration {
        let since = *self.0.lock();
        match since {
            Some(since) if now.saturating_duration_since(since) < LEADERLESS_MEMORY => LEADERLESS_PATIENCE,
            _ => LEADER_PATIENCE,
        }
    }

    /// What came of a look with so much patience.
    fn note(&self, found: bool, patience: Duration, now: Instant) {
        if found {
            *self.0.lock() = None;
        } else if patience == LEADER_PATIENCE {
            *self.0.lock() = Some(now);
        }
    }
}

/// How fresh an answer must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    /// Whatever is there.
    Any,
    /// At least this index.
    AtLeast(u64),
    /// Everything acknowledged before now.
    Fresh { strict: bool },
}

impl Level {
    /// Reads the level asked for. A token that names no position in the group covers nothing, so nothing is waited for:
    /// sessions begin with such a token.
    ///
    /// # Errors
    /// `INVALID_TOKEN` for one of another life of the log, or none at all.
    pub(super) fn of(consistency: Option<&v1::Consistency>, incarnation: u32) -> Result<Self> {
        use consistency::Level as L;
        match consistency.and_then(|consistency| consistency.level.as_ref()) {
            None => Ok(Level::Fresh { strict: false }),
            Some(L::Fresh(fresh)) => Ok(Level::Fresh { strict: fresh.strict }),
            Some(L::Any(_)) => Ok(Level::Any),
            Some(L::AtLeast(text)) => {
                let token: Token = text
                    .parse()
                    .map_err(|error: Error| error.field("consistency.at_least"))?;
                match token.in_group(0) {
                    Some(lsn) if lsn.incarnation != incarnation => {
                        let message = "the token is of another life of the log: it was cut since, or restored, or is another cluster's";
                        Err(Error::new(ErrorCode::InvalidToken, message).field("consistency.at_least"))
                    }
                    lsn => Ok(Level::AtLeast(lsn.map_or(0, |lsn| lsn.index))),
                }
            }
        }
    }
}

impl Core {
    /// Asks partitions at a level. `states` finds the states in an answer.
    pub(super) async fn read<A, F, Fut>(
        &self,
        open: &Open,
        partitions: &[u32],
        level: Level,
        at: Instant,
        send: F,
        states: impl Fn(&A) -> &[PartitionState],
    ) -> Result<(Vec<Answer<A>>, v1::Freshness)>
    where
        F: Fn(Shard, PartitionSet, Instant) -> Fut,
        Fut: Future<Output = Result<Response<A>, Status>>,
    {
        let wants = |min_index: u64| {
            partitions
                .iter()
                .map(move |&partition| Want { partition, min_index })
        };
        let mut degraded = false;
        let answers = match level {
            Level::Any => self.scatter(open, wants(0), at, PATIENCE, &send).await?,
            Level::AtLeast(index) => {
                let asked = self.scatter(open, wants(index), at, PATIENCE, &send);
                tokio::select! {
                    answers = asked => answers?,
                    error = self.doubt(index, at) => return Err(error),
                }
            }
            Level::Fresh { strict } => {
                // Whoever cannot answer at once is asked again when the index to wait for is known.
                let first = self.scatter(open, wants(0), at, Duration::ZERO, &send);
                let (first, read_index) = futures::join!(first, self.read_index(at));
                if let Err(error) = &first
                    && fanout::classify(error) == fanout::Class::Final
                {
                    return Err(error.clone());
                }
                match (first, read_index) {
                    (Ok(answers), Ok(lsn)) => {
                        self.catch_up(open, answers, |_| lsn.index, at, &send, &states)
                            .await?
                    }
                    (Err(_), Ok(lsn)) => self.scatter(open, wants(lsn.index), at, PATIENCE, &send).await?,
                    (_, Err(error)) if strict => return Err(strictly(error)),
                    (first, Err(_)) => {
                        degraded = true;
                        let answers = match first {
                            Ok(answers) => answers,
                            Err(_) => self.scatter(open, wants(0), at, PATIENCE, &send).await?,
                        };
                        let newest = self.newest(open, partitions, at).await;
                        let index = |partition: u32| newest.get(&partition).copied().unwrap_or(0);
                        self.catch_up(open, answers, index, at, &send, &states).await?
                    }
                }
            }
        };
        let applied = answers
            .iter()
            .flat_map(|answer| states(&answer.answer))
            .map(|state| state.applied_index);
        let token = self
            .token(open.view.incarnation, applied.max().unwrap_or(0))
            .to_string();
        Ok((answers, v1::Freshness { token, degraded }))
    }

    /// From where on each partition must be read, for a read that is not asked anew once it has begun; and how fresh it
    /// will then be, whose token names what every partition holds at least.
    ///
    /// # Errors
    /// `NO_LEADER` for a strict read without one; `INVALID_TOKEN` for a token beyond the end of the log.
    pub(super) async fn floor(
        &self,
        open: &Open,
        partitions: &[u32],
        level: Level,
        at: Instant,
    ) -> Result<(BTreeMap<u32, u64>, v1::Freshness)> {
        let all = |index: u64| partitions.iter().map(|&partition| (partition, index)).collect();
        let (floor, degraded): (BTreeMap<u32, u64>, bool) = match level {
            Level::Any => (all(0), false),
            Level::AtLeast(index) => {
                // What the catalogue has come to is there; only more than that has to be asked about.
                if index > open.view.catalogue.applied_index()
                    && let Ok(end) = self.read_index(at).await
                {
                    check_end(index, end)?;
                }
                (all(index), false)
            }
            Level::Fresh { strict } => match self.read_index(at).await {
                Ok(end) => (all(end.index), false),
                Err(error) if strict => return Err(strictly(error)),
                Err(_) => (self.newest(open, partitions, at).await, true),
            },
        };
        let least = partitions
            .iter()
            .map(|partition| floor.get(partition).copied().unwrap_or(0));
        let token = self
            .token(open.view.incarnation, least.min().unwrap_or(0))
            .to_string();
        Ok((floor, v1::Freshness { token, degraded }))
    }

    /// The refusal of a token beyond the end of the log, which would be waited for in vain. Never returns for another.
    async fn doubt(&self, index: u64, at: Instant) -> Error {
        tokio::time::sleep(DOUBT).await;
        let end = self.read_index(at).await;
        match end.map(|end| check_end(index, end)) {
            Ok(Err(error)) => error,
            _ => std::future::pending().await,
        }
    }

    /// The read index, looked for no longer than a degraded answer may be late.
    pub(super) async fn read_index(&self, at: Instant) -> Result<Lsn> {
        let (leaderless, now) = (&self.0.leaderless, Instant::now());
        let patience = leaderless.patience(now);
        let left = at.saturating_duration_since(now);
        let index = self.0.keeper.read_index(Some(now + patience.min(left / 2))).await;
        leaderless.note(index.is_ok(), patience, Instant::now());
        index
    }

    /// Asks those again that had applied less than they should have.
    async fn catch_up<A, F, Fut>(
        &self,
        open: &Open,
        answers: Vec<Answer<A>>,
        needed: impl Fn(u32) -> u64,
        at: Instant,
        send: F,
        states: impl Fn(&A) -> &[PartitionState],
    ) -> Result<Vec<Answer<A>>>
    where
        F: Fn(Shard, PartitionSet, Instant) -> Fut,
        Fut: Future<Output = Result<Response<A>, Status>>,
    {
        let is_behind = |answer: &Answer<A>| {
            answer.partitions.iter().any(|&partition| {
                let state = states(&answer.answer)
                    .iter()
                    .find(|state| state.partition == partition);
                state.is_none_or(|state| state.applied_index < needed(partition))
            })
        };
        // An answer holds the best rows of all its partitions together, so it is asked anew as a whole.
        let (behind, mut fine): (Vec<_>, Vec<_>) = answers.into_iter().partition(is_behind);
        if behind.is_empty() {
            return Ok(fine);
        }
        let wants = behind
            .iter()
            .flat_map(|answer| &answer.partitions)
            .map(|&partition| Want {
                partition,
                min_index: needed(partition),
            });
        fine.extend(self.scatter(open, wants, at, PATIENCE, send).await?);
        Ok(fine)
    }

    /// How far the most advanced replica of each partition is, of those that tell at once.
    async fn newest(&self, open: &Open, partitions: &[u32], at: Instant) -> BTreeMap<u32, u64> {
        let until = at.min(Instant::now() + CENSUS);
        let wanted: BTreeSet<u32> = partitions.iter().copied().collect();
        let calls = self.holders(open, &wanted).into_iter().map(|(member, held)| {
            let target = PartitionSet {
                dataset_id: open.dataset.id.0,
                partitions: held,
                min_index: 0,
                schema_version: 0,
            };
            let request = fanout::request(
                WaitAppliedRequest {
                    target: Some(target),
                    indexed: false,
                    outcome: false,
                },
                until,
            );
            let mut shard = self.shard(&member);
            async move { tokio::time::timeout_at(until.into(), shard.wait_applied(request)).await }
        });
        let mut newest = BTreeMap::new();
        for answer in futures::future::join_all(calls)
            .await
            .into_iter()
            .flatten()
            .flatten()
        {
            for state in answer.into_inner().states {
                let index: &mut u64 = newest.entry(state.partition).or_default();
                *index = (*index).max(state.applied_index);
            }
        }
        newest
    }
}

/// Refuses the index of a token that lies beyond the end of the log, which a leader told after the token was made.
fn check_end(index: u64, end: Lsn) -> Result<()> {
    if index <= end.index {
        return Ok(());
    }
    let message = format!(
        "the token names the index {index}, but the log ends at {}",
        end.index
    );
    Err(Error::new(ErrorCode::InvalidToken, message)
        .field("consistency.at_least")
        .limit("a token that this cluster gave"))
}

fn strictly(error: Error) -> Error {
    let message = format!(
        "a strictly fresh read needs a keeper that leads: {}",
        error.message
    );
    Error::new(ErrorCode::NoLeader, message)
        .field("consistency.fresh.strict")
        .retry_after(Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(level: consistency::Level) -> Result<Level> {
        Level::of(Some(&v1::Consistency { level: Some(level) }), 1)
    }

    #[test]
    fn levels_are_read_and_tokens_checked() {
        let token = |incarnation| {
            Token::of(Lsn {
                group: 0,
                incarnation,
                index: 9,
            })
            .to_string()
        };
        assert_eq!(Level::of(None, 1).unwrap(), Level::Fresh { strict: false });
        assert_eq!(
            level(consistency::Level::AtLeast(token(1))).unwrap(),
            Level::AtLeast(9)
        );
        assert_eq!(level(consistency::Level::Any(v1::Any {})).unwrap(), Level::Any);
        // A session that has seen nothing yet.
        let nothing = Token::default().to_string();
        assert_eq!(
            level(consistency::Level::AtLeast(nothing)).unwrap(),
            Level::AtLeast(0)
        );
        for bad in [token(2), "nonsense".to_owned(), String::new()] {
            let error = level(consistency::Level::AtLeast(bad)).unwrap_err();
            assert_eq!(error.code, ErrorCode::InvalidToken);
            assert_eq!(error.field.as_deref(), Some("consistency.at_least"));
        }
    }

    #[test]
    fn a_token_reaches_to_the_end_of_the_log_and_no_further() {
        let end = Lsn {
            group: 0,
            incarnation: 1,
            index: 9,
        };
        check_end(9, end).unwrap();
        assert_eq!(check_end(10, end).unwrap_err().code, ErrorCode::InvalidToken);
    }

    #[test]
    fn a_leader_that_is_gone_is_not_waited_for_by_every_read() {
        let (leaderless, now) = (Leaderless::default(), Instant::now());
        assert_eq!(leaderless.patience(now), LEADER_PATIENCE);
        leaderless.note(false, LEADER_PATIENCE, now);
        assert_eq!(leaderless.patience(now), LEADERLESS_PATIENCE);
        leaderless.note(true, LEADERLESS_PATIENCE, now);
        assert_eq!(leaderless.patience(now), LEADER_PATIENCE);
    }

    #[test]
    fn a_leader_that_is_slow_is_found_again() {
        let (leaderless, now) = (Leaderless::default(), Instant::now());
        leaderless.note(false, LEADER_PATIENCE, now);
        // Reads one after the other, each too short for an answer.
        let later = |tenths: u32| now + LEADERLESS_MEMORY * tenths / 10;
        for tenths in 1..10 {
            assert_eq!(leaderless.patience(later(tenths)), LEADERLESS_PATIENCE);
            leaderless.note(false, LEADERLESS_PATIENCE, later(tenths));
        }
        assert_eq!(leaderless.patience(later(10)), LEADER_PATIENCE);
    }
}
