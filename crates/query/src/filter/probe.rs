//! How is a set of values asked, row after row? What is worked out once per predicate.

use hashbrown::HashSet;

use super::key::{Key, Set};
use super::ranges::Ranges;

/// So many ranges are gone through one by one, each in a loop without branches.
const RANGES_MAX: usize = 8;
/// Keys that lie so close to each other are looked up in a table.
const TABLE_BITS_MAX: i128 = 1 << 16;

/// Asks for keys of a fixed width.
#[derive(Debug, Clone)]
pub(super) enum FixedProbe {
    /// In one of a few ranges, ends included.
    Ranges(Vec<(i128, i128)>),
    /// One bit for each key from `low` on.
    Table { low: i128, bits: Vec<u64> },
    /// One of many keys.
    Keys(HashSet<i128>),
    /// In one of many ranges: turns as in [`Ranges`].
    Turns(Vec<i128>),
}

/// Asks for text or bytes.
#[derive(Debug, Clone)]
pub(super) enum BytesProbe {
    /// One text.
    One(Vec<u8>),
    /// From `start` on, and below `end` if there is one.
    Range(Vec<u8>, Option<Vec<u8>>),
    /// One of many.
    Keys(HashSet<Vec<u8>>),
    /// In one of several ranges: turns as in [`Ranges`].
    Turns(Vec<Vec<u8>>),
}

/// A probe for a set, or else for all that is not in it.
#[derive(Debug, Clone)]
pub(super) enum Probe {
    /// No value, or every one.
    Constant(bool),
    Fixed {
        probe: FixedProbe,
        outside: bool,
    },
    Bytes {
        probe: BytesProbe,
        outside: bool,
    },
}

impl Probe {
    pub(super) fn new(set: &Set) -> Self {
        if set.is_none() || set.is_all() {
            return Probe::Constant(set.is_all());
        }
        let other = set.clone().complement();
        match (set, other) {
            // Whichever has fewer parts: `<>` is the opposite of one.
            (Set::Fixed(set), Set::Fixed(other)) => {
                let outside = other.len() < set.len();
                let set = if outside { &other } else { set };
                let probe = FixedProbe::new(set);
                Probe::Fixed { probe, outside }
            }
            (Set::Bytes(set), Set::Bytes(other)) => {
                let outside = other.len() < set.len();
                let set = if outside { &other } else { set };
                let probe = BytesProbe::new(set);
                Probe::Bytes { probe, outside }
            }
            (set, _) => Probe::Constant(set.is_all()),
        }
    }
}

/// The keys of a set that is made of single keys.
fn points(set: &Ranges<i128>) -> Option<Vec<i128>> {
    let point = |(start, end): (&i128, Option<&i128>)| (end == Some(&(start + 1))).then_some(*start);
    set.parts().map(point).collect()
}

impl FixedProbe {
    fn new(set: &Ranges<i128>) -> Self {
        if set.len() <= RANGES_MAX {
            let inclusive =
                |(start, end): (&i128, Option<&i128>)| (*start, end.map_or(i128::MAX, |end| end - 1));
            return FixedProbe::Ranges(set.parts().map(inclusive).collect());
        }
        let turns = set.turns();
        let (low, high) = (turns[0], turns[turns.len() - 1]);
        let bounded = turns.len().is_multiple_of(2) && low != i128::MIN;
        if bounded && high - low <= TABLE_BITS_MAX {
            let mut bits = vec![0_u64; usize::try_from(high - low).unwrap_or(0).div_ceil(64)];
            for (start, end) in set.parts() {
                for key in *start..*end.unwrap_or(start) {
                    let at = usize::try_from(key - low).unwrap_or(0);
                    bits[at / 64] |= 1 << (at % 64);
                }
            }
            return FixedProbe::Table { low, bits };
        }
        match points(set) {
            Some(keys) => FixedProbe::Keys(keys.into_iter().collect()),
            None => FixedProbe::Turns(turns.to_vec()),
        }
    }
}

impl FixedProbe {
    /// Whether a key is in the set.
    pub(super) fn contains(&self, key: i128) -> bool {
        match self {
            FixedProbe::Ranges(ranges) => ranges.iter().any(|(low, high)| (*low..=*high).contains(&key)),
            FixedProbe::Table { low, bits } => usize::try_from(key - low)
                .is_ok_and(|at| bits.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)),
            FixedProbe::Keys(keys) => keys.contains(&key),
            FixedProbe::Turns(turns) => turns.partition_point(|turn| *turn <= key) % 2 == 1,
        }
    }
}

impl BytesProbe {
    fn new(set: &Ranges<Vec<u8>>) -> Self {
        // What comes next after some bytes is the same with a zero behind.
        let point = |start: &Vec<u8>, end: Option<&Vec<u8>>| {
            end.and_then(|end| end.strip_suffix(&[0]))
                .is_some_and(|end| end == start)
        };
        match set.turns() {
            [start, end] if point(start, Some(end)) => BytesProbe::One(start.clone()),
            [start] => BytesProbe::Range(start.clone(), None),
            [start, end] => BytesProbe::Range(start.clone(), Some(end.clone())),
            _ if set.parts().all(|(start, end)| point(start, end)) => {
                BytesProbe::Keys(set.parts().map(|(start, _)| start.clone()).collect())
            }
            turns => BytesProbe::Turns(turns.to_vec()),
        }
    }
}

/// Asks for the items of a list.
#[derive(Debug, Clone)]
pub(super) struct Items {
    pub(super) fixed: Vec<i128>,
    pub(super) bytes: Vec<Vec<u8>>,
}

impl Items {
    /// Of keys that ascend, all of one kind.
    pub(super) fn new(keys: &[Key]) -> Self {
        let (mut fixed, mut bytes) = (Vec::new(), Vec::new());
        for key in keys {
            match key {
                Key::Fixed(key) => fixed.push(*key),
                Key::Bytes(key) => bytes.push(key.clone()),
            }
        }
        Self { fixed, bytes }
    }

    pub(super) fn len(&self) -> usize {
        self.fixed.len() + self.bytes.len()
    }
}
