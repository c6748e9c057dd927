//! Which row has an id, as seen by a given view?
//!
//! One map serves the writer and the views of every age. It holds the key of the newest row of each id and, where a row
//! took an id over, the key of the row that had it before. A view that shows keys below `n` walks back from the newest to
//! the first one below `n`; whether that row is live is for the view to say. What no view can show any more is
//! [forgotten](IdMap::forget), so that the answer of an old view never changes, and the map is as large as the rows are
//! many.

use std::hash::{BuildHasher, Hash};

use hashbrown::hash_table::{Entry, HashTable};
use hashbrown::{DefaultHashBuilder, Equivalent, HashMap};
use longbow_query::ids::Ids;
use longbow_types::IdKind;
use parking_lot::RwLock;

use crate::memory::allocated;
use crate::tenants::Key;

/// Enough that readers and the writer rarely meet; each lock is held for one look-up.
const STRIPES: usize = 64;

/// The map from ids to keys of rows.
pub(crate) enum IdMap {
    /// Integer ids, signed ones by their bits.
    Int(Striped<u64>),
    /// UTF-8 ids.
    Utf8(Striped<Box<str>>),
}

/// A row that lost its id, and what the map keeps for views that still show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trace {
    /// Hash of the id.
    hash: u64,
    /// The row.
    pub(crate) key: Key,
    /// The row that has the id now; nothing if it was deleted.
    by: Option<Key>,
}

impl IdMap {
    /// An empty map.
    pub(crate) fn new(kind: IdKind) -> Self {
        match kind {
            IdKind::U64 | IdKind::I64 => IdMap::Int(Striped::new()),
            IdKind::Utf8 => IdMap::Utf8(Striped::new()),
        }
    }

    /// Records that the row `key` has an id now, and returns the row that had it before.
    pub(crate) fn insert(&self, ids: &Ids<'_>, row: usize, key: Key) -> Option<Trace> {
        match (self, ids) {
            (IdMap::Int(map), Ids::U64(ids)) => map.insert(ids.value(row), key),
            (IdMap::Int(map), Ids::I64(ids)) => map.insert(ids.value(row).cast_unsigned(), key),
            (IdMap::Utf8(map), Ids::Utf8(ids)) => map.insert(ids.value(row).into(), key),
            _ => None,
        }
    }

    /// The row that has an id in a view of keys below `end`.
    pub(crate) fn get(&self, ids: &Ids<'_>, row: usize, end: Key) -> Option<Key> {
        self.trace(ids, row, end).map(|trace| trace.key)
    }

    /// The same, as what is to be forgotten when the row is deleted.
    pub(crate) fn trace(&self, ids: &Ids<'_>, row: usize, end: Key) -> Option<Trace> {
        match (self, ids) {
            (IdMap::Int(map), Ids::U64(ids)) => map.get(&ids.value(row), end),
            (IdMap::Int(map), Ids::I64(ids)) => map.get(&ids.value(row).cast_unsigned(), end),
            (IdMap::Utf8(map), Ids::Utf8(ids)) => map.get(ids.value(row), end),
            _ => None,
        }
    }

    /// No view shows the row any more, nor will one.
    pub(crate) fn forget(&self, trace: &Trace) {
        match self {
            IdMap::Int(map) => map.forget(trace),
            IdMap::Utf8(map) => map.forget(trace),
        }
    }

    /// Bytes of memory that it takes.
    pub(crate) fn memory(&self) -> usize {
        match self {
            IdMap::Int(map) => map.memory(),
            IdMap::Utf8(map) => map.memory(),
        }
    }

    /// Rows that the map knows.
    #[cfg(test)]
    pub(crate) fn known(&self) -> usize {
        match self {
            IdMap::Int(map) => map.known(),
            IdMap::Utf8(map) => map.known(),
        }
    }
}

pub(crate) struct Striped<K> {
    hasher: DefaultHashBuilder,
    stripes: Box<[RwLock<Stripe<K>>]>,
}

struct Stripe<K> {
    newest: HashTable<(K, Key)>,
    /// Bytes of memory that the ids take beside the table.
    held: usize,
    /// The row whose id a row took over.
    before: HashMap<Key, Key>,
}

/// An id that may take memory beside its own bytes.
pub(crate) trait Held {
    /// Bytes of it.
    fn held(&self) -> usize;
}

impl Held for u64 {
    fn held(&self) -> usize {
        0
    }
}

impl Held for Box<str> {
    fn held(&self) -> usize {
        if self.is_empty() { 0 } else { allocated(self.len()) }
    }
}

impl<K: Hash + Eq + Held> Striped<K> {
    fn new() -> Self {
        let hasher = DefaultHashBuilder::default();
        let stripe = || Stripe {
            newest: HashTable::new(),
            held: 0,
            before: HashMap::with_hasher(hasher.clone()),
        };
        Self {
            stripes: (0..STRIPES).map(|_| RwLock::new(stripe())).collect(),
            hasher,
        }
    }

    fn stripe(&self, hash: u64) -> &RwLock<Stripe<K>> {
        // The tables use the hash's low and top bits; take some from between.
        &self.stripes[(hash >> 32) as usize % STRIPES]
    }

    fn insert(&self, id: K, key: Key) -> Option<Trace> {
        let hash = self.hasher.hash_one(&id);
        let mut guard = self.stripe(hash).write();
        let stripe = &mut *guard;
        let rehash = |(id, _): &(K, Key)| self.hasher.hash_one(id);
        let previous = match stripe.newest.entry(hash, |(have, _)| *have == id, rehash) {
            Entry::Occupied(mut known) => std::mem::replace(&mut known.get_mut().1, key),
            Entry::Vacant(new) => {
                stripe.held += id.held();
                new.insert((id, key));
                return None;
            }
        };
        stripe.before.insert(key, previous);
        Some(Trace {
            hash,
            key: previous,
            by: Some(key),
        })
    }

    fn get<Q: Hash + Equivalent<K> + ?Sized>(&self, id: &Q, end: Key) -> Option<Trace> {
        let hash = self.hasher.hash_one(id);
        let stripe = self.stripe(hash).read();
        let (_, mut key) = *stripe.newest.find(hash, |(have, _)| id.equivalent(have))?;
        while key >= end {
            key = *stripe.before.get(&key)?;
        }
        Some(Trace { hash, key, by: None })
    }

    fn forget(&self, trace: &Trace) {
        let mut guard = self.stripe(trace.hash).write();
        let stripe = &mut *guard;
        match trace.by {
            Some(by) => drop(stripe.before.remove(&by)),
            None => {
                let is_it = |(_, key): &(K, Key)| *key == trace.key;
                // Not there if the id was written again: then the row is one that came before.
                if let Ok(known) = stripe.newest.find_entry(trace.hash, is_it) {
                    let ((id, _), _) = known.remove();
                    stripe.held -= id.held();
                }
            }
        }
    }

    fn memory(&self) -> usize {
        let of = |stripe: &RwLock<Stripe<K>>| {
            let stripe = stripe.read();
            stripe.newest.allocation_size() + stripe.before.allocation_size() + stripe.held
        };
        self.stripes.iter().map(of).sum()
    }

    #[cfg(test)]
    fn known(&self) -> usize {
        let stripes = self.stripes.iter().map(|stripe| stripe.read());
        stripes
            .map(|stripe| stripe.newest.len() + stripe.before.len())
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int64Array, StringArray};

    #[test]
    fn every_age_sees_its_own_row() {
        let texts = StringArray::from(vec!["a", "b"]);
        let ids = Ids::new(&texts).unwrap();
        let map = IdMap::new(IdKind::Utf8);
        let insert = |row, key| map.insert(&ids, row, key).map(|trace| trace.key);
        assert_eq!(insert(0, 0), None);
        assert_eq!(insert(1, 1), None);
        assert_eq!(insert(0, 2), Some(0));
        assert_eq!(insert(0, 3), Some(2));
        let seen: Vec<Option<Key>> = (0..=4).map(|end| map.get(&ids, 0, end)).collect();
        assert_eq!(seen, [None, Some(0), Some(0), Some(2), Some(3)]);
        assert_eq!(map.get(&ids, 1, 1), None);
        assert_eq!(map.get(&ids, 1, 4), Some(1));
    }

    #[test]
    fn what_no_view_shows_is_forgotten_and_nothing_else() {
        let numbers = Int64Array::from(vec![7, 8]);
        let ids = Ids::new(&numbers).unwrap();
        let map = IdMap::new(IdKind::I64);
        map.insert(&ids, 0, 0);
        map.insert(&ids, 1, 1);
        let replaced = map.insert(&ids, 0, 2).unwrap();
        let deleted = map.trace(&ids, 0, 3).unwrap();
        let again = map.insert(&ids, 0, 3).unwrap();
        assert_eq!((replaced.key, deleted.key, again.key), (0, 2, 2));
        assert_eq!(map.known(), 4);
        map.forget(&replaced);
        assert_eq!(
            [1, 2, 3, 4].map(|end| map.get(&ids, 0, end)),
            [None, None, Some(2), Some(3)]
        );
        // It was deleted, and then its id was written again: the newer row stays.
        map.forget(&deleted);
        map.forget(&again);
        assert_eq!([3, 4].map(|end| map.get(&ids, 0, end)), [None, Some(3)]);
        map.forget(&map.trace(&ids, 1, 4).unwrap());
        assert_eq!((map.get(&ids, 1, 4), map.known()), (None, 1));
    }

    #[test]
    fn texts_take_memory_until_they_are_forgotten() {
        let long = "x".repeat(1_000);
        let texts = StringArray::from(vec!["a", &long]);
        let ids = Ids::new(&texts).unwrap();
        let map = IdMap::new(IdKind::Utf8);
        map.insert(&ids, 0, 0);
        let short = map.memory();
        map.insert(&ids, 1, 1);
        // Written again, its text is there once.
        let replaced = map.insert(&ids, 1, 2).unwrap();
        assert!(
            (short + 1_000..short + 3_000).contains(&map.memory()),
            "{short} {}",
            map.memory()
        );
        map.forget(&replaced);
        map.forget(&map.trace(&ids, 1, 3).unwrap());
        assert!(map.memory() < short + 1_000);
    }

    #[test]
    fn negative_ids_are_ids() {
        let numbers = Int64Array::from(vec![-1, 1]);
        let ids = Ids::new(&numbers).unwrap();
        let map = IdMap::new(IdKind::I64);
        map.insert(&ids, 0, 5);
        assert_eq!((map.get(&ids, 0, 6), map.get(&ids, 1, 6)), (Some(5), None));
    }
}
