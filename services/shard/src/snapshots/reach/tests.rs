//! The choice of a place beside a replay of the log, entry by entry, from each of them.

use longbow_types::DatasetId;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn key(dataset: u64) -> Key {
    Key {
        dataset: DatasetId(dataset),
        ordinal: 0,
    }
}

/// What an entry of the log does: a dataset is made, with one replica here, or the oldest is dropped, or neither.
#[derive(Debug, Clone, Copy)]
enum Entry {
    Create,
    Drop,
    Write,
}

/// A snapshot of every replica there is at an index; whether those of each are usable, in turn.
#[derive(Debug, Clone)]
struct Round {
    at: prop::sample::Index,
    usable: Vec<bool>,
}

/// The datasets there are after each entry, the first before any.
fn history(log: &[Entry]) -> Vec<BTreeSet<Key>> {
    let mut all = vec![BTreeSet::new()];
    for (index, entry) in (1..).zip(log) {
        let mut now: BTreeSet<Key> = all.last().unwrap().clone();
        match entry {
            Entry::Create => drop(now.insert(key(index))),
            Entry::Drop => drop(now.pop_first()),
            Entry::Write => {}
        }
        all.push(now);
    }
    all
}

/// Replicas that lack an entry when the log was replayed from an index up to another, entry by entry.
fn lacking(history: &[BTreeSet<Key>], held: &BTreeMap<Key, u64>, from: u64, to: u64) -> BTreeSet<Key> {
    // What each replica has applied. One that is not whole stays as far as it is.
    let mut applied = BTreeMap::new();
    for key in &history[from as usize] {
        applied.insert(*key, held.get(key).copied().unwrap_or(0));
    }
    for index in from + 1..=to {
        let now = &history[index as usize];
        applied.retain(|key, _| now.contains(key));
        for key in now {
            if key.dataset.0 == index {
                applied.insert(*key, index);
            }
            let at = applied.get_mut(key).expect("it was there before, or is made now");
            // The next entry fits, or one that is held already comes again.
            if *at + 1 >= index {
                *at = (*at).max(index);
            }
        }
    }
    let short = applied.into_iter().filter(|(_, at)| *at < to);
    short.map(|(key, _)| key).collect()
}

fn entry() -> impl Strategy<Value = Entry> {
    prop_oneof![2 => Just(Entry::Create), 1 => Just(Entry::Drop), 3 => Just(Entry::Write)]
}

fn round() -> impl Strategy<Value = Round> {
    let usable = vec(prop::bool::weighted(0.7), 1..8);
    (any::<prop::sample::Index>(), usable).prop_map(|(at, usable)| Round { at, usable })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn as_few_as_can_be_are_lost_and_all_others_are_whole(
        log in vec(entry(), 1..24),
        rounds in vec(round(), 0..6),
        first in any::<prop::sample::Index>(),
    ) {
        let history = history(&log);
        let end = log.len() as u64;
        let first = first.index(log.len()) as u64 + 1;
        let (mut held, mut places) = (BTreeMap::new(), BTreeMap::new());
        for round in &rounds {
            let index = round.at.index(history.len()) as u64;
            let here = &history[index as usize];
            for (key, usable) in here.iter().zip(round.usable.iter().cycle()) {
                if *usable {
                    let newest = held.entry(*key).or_insert(0);
                    *newest = index.max(*newest);
                }
            }
            if !here.is_empty() && index + 1 >= first {
                places.insert(index, here.clone());
            }
        }
        places.insert(end, history.last().unwrap().clone());

        let chosen = best(&places, &held).unwrap();
        let loss: BTreeMap<u64, usize> = places
            .keys()
            .map(|&from| (from, lacking(&history, &held, from, end).len()))
            .collect();
        let least = loss.values().min().unwrap();
        let latest = loss.iter().rev().find(|(_, lost)| *lost == least).unwrap();
        prop_assert_eq!(chosen, *latest.0, "{:?}", loss);
        // What is marked as lost at the place is what lacks something, and nothing else does.
        let marked = |key: &&Key| held.get(*key).is_none_or(|&held| held < chosen);
        let marked: BTreeSet<Key> = places[&chosen].iter().filter(marked).copied().collect();
        let still = &history[end as usize];
        let marked: BTreeSet<Key> = marked.intersection(still).copied().collect();
        prop_assert_eq!(marked, lacking(&history, &held, chosen, end));
    }
}

#[test]
fn a_place_before_a_dataset_was_made_saves_it() {
    let places = BTreeMap::from([
        (5, BTreeSet::from([key(1)])),
        (9, BTreeSet::from([key(1), key(7)])),
        (20, BTreeSet::from([key(1), key(7)])),
    ]);
    // Dataset 7 has no snapshot: the log makes it again.
    assert_eq!(best(&places, &BTreeMap::from([(key(1), 9)])), Some(5));
    assert_eq!(
        best(&places, &BTreeMap::from([(key(1), 9), (key(7), 9)])),
        Some(9)
    );
    // Nothing is there: nothing is to be replayed but what the keeper has not got either.
    let places = BTreeMap::from([(9, BTreeSet::from([key(1)])), (20, BTreeSet::from([key(1)]))]);
    assert_eq!(best(&places, &BTreeMap::new()), Some(20));
    assert_eq!(best(&BTreeMap::new(), &BTreeMap::new()), None);
}
