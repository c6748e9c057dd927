//! Can what clients saw of each key have happened in one order?
//!
//! A key is a register: it is written whole and read whole. As each write writes another value, every read names the
//! write that it saw, and linearizability is decided in n log n (Gibbons and Korach, "Testing shared memories", 1997) by
//! looking at values alone: a value and all who saw it have a first answer and a last call, and between those two no
//! other value can have its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use anyhow::{Result, bail, ensure};

/// A moment, in nanoseconds of one monotonic clock; 0 is before everything.
pub type Moment = u64;

/// What a client asked for, and what it learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It wrote this value, which nobody else writes.
    Write(u64),
    /// It read this; `None`: nothing was there.
    Read(Option<u64>),
}

/// One operation of one client on one key. A read whose answer was lost is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    /// The key.
    pub key: u64,
    /// What was done.
    pub kind: Kind,
    /// Just before it was sent.
    pub call: Moment,
    /// Just after the answer came. `None`: it was lost, and the write may happen at any time after the call, or never.
    pub done: Option<Moment>,
}

/// A value: who wrote it and who saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Life {
    value: Option<u64>,
    /// The earliest answer.
    answered: Moment,
    /// The latest call.
    called: Moment,
}

/// Fails, naming key and values, if some key's operations fit in no order.
pub fn linearizable(history: &[Operation]) -> Result<()> {
    let mut keys: BTreeMap<u64, Vec<Operation>> = BTreeMap::new();
    for operation in history {
        keys.entry(operation.key).or_default().push(*operation);
    }
    for (key, operations) in keys {
        if let Err(error) = one_key(&operations) {
            bail!("key {key} is not linearizable: {error:#}");
        }
    }
    Ok(())
}

fn one_key(operations: &[Operation]) -> Result<()> {
    let lives = lives(operations)?;
    let (mut tight, loose): (Vec<&Life>, Vec<&Life>) =
        lives.iter().partition(|life| life.answered < life.called);
    // Nothing may come between the first answer and the last call of a tight one: two such must not overlap.
    tight.sort_unstable_by_key(|life| life.answered);
    for pair in tight.windows(2) {
        ensure!(
            pair[1].answered >= pair[0].called,
            contradiction(pair[0], pair[1])
        );
    }
    // A loose one fits in at one moment between its last call and its first answer, if any of them is outside.
    for life in loose {
        let before = tight.partition_point(|tight| tight.answered < life.called);
        if let Some(around) = before.checked_sub(1).map(|at| tight[at]) {
            ensure!(life.answered >= around.called, contradiction(around, life));
        }
    }
    Ok(())
}

fn contradiction(one: &Life, other: &Life) -> String {
    format!("each of these comes before the other: {one}, {other}")
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.value {
            Some(value) => write!(f, "the value {value}")?,
            None => f.write_str("the time before any value")?,
        }
        write!(
            f,
            " (first answered at {} ns, last asked for at {})",
            self.answered, self.called
        )
    }
}

fn lives(operations: &[Operation]) -> Result<Vec<Life>> {
    let mut writes = BTreeMap::from([(None, (0, Some(0)))]);
    for operation in operations {
        if let Kind::Write(value) = operation.kind {
            let known = writes.insert(Some(value), (operation.call, operation.done));
            ensure!(known.is_none(), "the value {value} was written twice");
        }
    }
    let mut lives: BTreeMap<Option<u64>, Life> = BTreeMap::new();
    for (&value, &(call, done)) in &writes {
        if let Some(answered) = done {
            let called = call;
            lives.insert(
                value,
                Life {
                    value,
                    answered,
                    called,
                },
            );
        }
    }
    for operation in operations {
        let Kind::Read(value) = operation.kind else {
            continue;
        };
        let Some(done) = operation.done else { continue };
        let Some(&(written, _)) = writes.get(&value) else {
            bail!("{operation:?} saw what nobody wrote");
        };
        ensure!(
            written <= done,
            "{operation:?} saw a value before it was written, at {written}"
        );
        // A write whose answer was lost has happened if somebody saw it, and was never answered.
        let life = lives.entry(value).or_insert(Life {
            value,
            answered: Moment::MAX,
            called: written,
        });
        life.answered = life.answered.min(done);
        life.called = life.called.max(operation.call);
    }
    Ok(lives.into_values().collect())
}

/// Fails unless every write that was answered is in an order of writes, and those that came after another's answer
/// stand behind it. `position` says where each value stands.
pub fn in_order(history: &[Operation], position: &BTreeMap<u64, u64>) -> Result<()> {
    let mut ordered = Vec::new();
    for operation in history {
        let Kind::Write(value) = operation.kind else {
            continue;
        };
        match position.get(&value) {
            Some(&at) => ordered.push((at, value, operation)),
            None => ensure!(
                operation.done.is_none(),
                "the acknowledged value {value} of key {} is not in the log",
                operation.key
            ),
        }
    }
    ordered.sort_unstable_by_key(|&(at, ..)| at);
    let mut latest: Option<(u64, u64, &Operation)> = None;
    for &(at, value, operation) in &ordered {
        if let Some((before, other, earlier)) = latest
            && operation.done.is_some_and(|done| done < earlier.call)
        {
            bail!(
                "the value {value} was acknowledged before {other} was sent, but stands behind it: {at} and {before}"
            );
        }
        if latest.is_none_or(|(.., earlier)| earlier.call < operation.call) {
            latest = Some((at, value, operation));
        }
    }
    Ok(())
}

/// Values that were acknowledged.
pub fn acknowledged(history: &[Operation]) -> BTreeSet<u64> {
    let value = |operation: &Operation| match (operation.kind, operation.done) {
        (Kind::Write(value), Some(_)) => Some(value),
        _ => None,
    };
    history.iter().filter_map(value).collect()
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::SmallRng, seq::IndexedRandom};

    use super::*;

    fn write(value: u64, call: Moment, done: impl Into<Option<Moment>>) -> Operation {
        Operation {
            key: 1,
            kind: Kind::Write(value),
            call,
            done: done.into(),
        }
    }

    fn read(value: impl Into<Option<u64>>, call: Moment, done: Moment) -> Operation {
        Operation {
            key: 1,
            kind: Kind::Read(value.into()),
            call,
            done: Some(done),
        }
    }

    #[test]
    fn what_is_no_order_is_refused() {
        let stale = [write(1, 1, 2), write(2, 3, 4), read(1, 5, 6)];
        let lost = [write(1, 1, 2), read(None, 3, 4)];
        let back_and_forth = [
            write(1, 1, 9),
            write(2, 2, 9),
            read(1, 3, 4),
            read(2, 5, 6),
            read(1, 7, 8),
        ];
        let made_up = [write(1, 1, 2), read(7, 3, 4)];
        let foreseen = [read(1, 1, 2), write(1, 3, 4)];
        let gone_again = [write(7, 1, None), read(7, 2, 3), read(None, 4, 5)];
        let surfacing = [
            write(1, 1, None),
            write(2, 2, 3),
            read(2, 4, 5),
            read(1, 6, 7),
            read(2, 8, 9),
        ];
        let twice = [write(1, 1, 2), write(1, 3, 4)];
        for bad in [
            &stale[..],
            &lost,
            &back_and_forth,
            &made_up,
            &foreseen,
            &gone_again,
            &surfacing,
            &twice,
        ] {
            linearizable(bad).expect_err(&format!("{bad:?}"));
        }
    }

    #[test]
    fn what_has_an_order_passes() {
        for seen in [None, Some(1)] {
            linearizable(&[write(1, 1, 9), read(seen, 2, 3)]).unwrap();
        }
        let late = [write(7, 1, None), read(None, 5, 6), read(7, 7, 8)];
        linearizable(&late).unwrap();
        // Keys are independent of each other.
        let other = Operation {
            key: 2,
            ..read(None, 5, 6)
        };
        linearizable(&[write(1, 1, 2), read(1, 3, 4), other]).unwrap();
    }

    /// Tries all orders: whether one obeys time and explains every read.
    fn has_an_order(operations: &[Operation], value: Option<u64>) -> bool {
        if operations.iter().all(|operation| operation.done.is_none()) {
            return true;
        }
        let first_answer = operations.iter().filter_map(|operation| operation.done).min();
        (0..operations.len()).any(|at| {
            let next = operations[at];
            // Nobody may come before whoever was answered before it was called.
            if first_answer.is_some_and(|answer| answer < next.call) {
                return false;
            }
            let after = match next.kind {
                Kind::Write(written) => Some(written),
                Kind::Read(seen) if seen == value => value,
                Kind::Read(_) => return false,
            };
            let mut rest = operations.to_vec();
            rest.remove(at);
            has_an_order(&rest, after)
        })
    }

    /// A few operations at random moments; what is read is any value.
    fn random_history(random: &mut SmallRng) -> Vec<Operation> {
        let mut values: Vec<Option<u64>> = vec![None];
        let mut moments: Vec<Moment> = (1..=40).collect();
        let mut history = Vec::new();
        for value in 1..=random.random_range(1..=6) {
            let mut moment = || moments.swap_remove(random.random_range(0..moments.len()));
            let (one, other) = (moment(), moment());
            let (call, done) = (one.min(other), one.max(other));
            if random.random_bool(0.5) {
                values.push(Some(value));
                let done = random.random_bool(0.8).then_some(done);
                history.push(write(value, call, done));
            } else {
                history.push(read(*values.choose(random).unwrap(), call, done));
            }
        }
        history
    }

    #[test]
    fn it_agrees_with_trying_all_orders() {
        let mut random = SmallRng::seed_from_u64(1);
        let (mut good, mut bad) = (0, 0);
        for _ in 0..20_000 {
            let history = random_history(&mut random);
            let expected = has_an_order(&history, None);
            assert_eq!(linearizable(&history).is_ok(), expected, "{history:?}");
            if expected {
                good += 1;
            } else {
                bad += 1;
            }
        }
        assert!(good > 2_000 && bad > 2_000, "{good} with an order, {bad} without");
    }

    #[test]
    fn an_order_of_writes_obeys_time_and_lacks_nothing() {
        let history = [write(1, 1, 2), write(2, 3, 4), write(3, 3, None), write(4, 5, 6)];
        let order = |values: &[u64]| values.iter().zip(10..).map(|(&value, at)| (value, at)).collect();
        for good in [&[1, 2, 4][..], &[1, 2, 3, 4], &[1, 2, 4, 3], &[1, 3, 2, 4]] {
            in_order(&history, &order(good)).unwrap();
        }
        for bad in [&[1, 2][..], &[2, 1, 4], &[1, 4, 2], &[3, 1, 2, 4]] {
            in_order(&history, &order(bad)).expect_err(&format!("{bad:?}"));
        }
        assert_eq!(acknowledged(&history), [1, 2, 4].into());
    }
}
