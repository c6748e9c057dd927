//! Which rows of a call count? Of several with one id the last; where each counts for itself, none may have the id of another.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
};

use longbow_query::ids::Ids;

/// Row numbers of the last row of each id, ascending.
pub fn last_of_each(ids: &Ids<'_>) -> Vec<u32> {
    match ids {
        Ids::U64(ids) => last(ids.values().iter().copied()),
        Ids::I64(ids) => last(ids.values().iter().copied()),
        Ids::Utf8(ids) => last(ids.iter().flatten()),
    }
}

/// The first row whose id came before.
pub fn first_repeated(ids: &Ids<'_>) -> Option<usize> {
    match ids {
        Ids::U64(ids) => repeated(ids.values().iter().copied()),
        Ids::I64(ids) => repeated(ids.values().iter().copied()),
        Ids::Utf8(ids) => repeated(ids.iter().flatten()),
    }
}

fn repeated<K: Hash + Eq>(mut keys: impl Iterator<Item = K>) -> Option<usize> {
    let mut seen: HashSet<K> = HashSet::with_capacity(keys.size_hint().0);
    keys.position(|key| !seen.insert(key))
}

fn last<K: Hash + Eq>(keys: impl Iterator<Item = K>) -> Vec<u32> {
    let mut last: HashMap<K, u32> = HashMap::with_capacity(keys.size_hint().0);
    // Batches of Arrow messages never hold more rows than 32 bits count.
    for (row, key) in (0u32..).zip(keys) {
        last.insert(key, row);
    }
    let mut kept: Vec<u32> = last.into_values().collect();
    kept.sort_unstable();
    kept
}
