//! Which slot holds the row of an id, as seen by a given view?
//!
//! One map serves the writer and the views of every age. It holds the newest slot of each id and, where a slot took
//! an id over, the slot that had it before. A view that shows slots below `n` walks back from the newest slot to the
//! first one below `n`. Nothing is ever taken out, so the answer of an old view never changes; whether the slot found
//! is live is for the view's bitmap to say. (Compaction, which renumbers slots, builds a new map.)

use std::hash::{BuildHasher, Hash};

use hashbrown::{DefaultHashBuilder, Equivalent, HashMap};
use longbow_query::ids::Ids;
use longbow_types::IdKind;
use parking_lot::RwLock;

/// Enough that readers and the writer rarely meet; each lock is held for one look-up.
const STRIPES: usize = 64;

/// The map from ids to slots.
pub(crate) enum IdMap {
    /// Integer ids, signed ones by their bits.
    Int(Striped<u64>),
    /// UTF-8 ids.
    Utf8(Striped<Box<str>>),
}

impl IdMap {
    /// An empty map.
    pub(crate) fn new(kind: IdKind) -> Self {
        match kind {
            IdKind::U64 | IdKind::I64 => IdMap::Int(Striped::new()),
            IdKind::Utf8 => IdMap::Utf8(Striped::new()),
        }
    }

    /// Records that the row of an id is now in `slot`, and returns the slot it was in before.
    pub(crate) fn insert(&self, ids: &Ids<'_>, row: usize, slot: u32) -> Option<u32> {
        match (self, ids) {
            (IdMap::Int(map), Ids::U64(ids)) => map.insert(ids.value(row), slot),
            (IdMap::Int(map), Ids::I64(ids)) => map.insert(ids.value(row).cast_unsigned(), slot),
            (IdMap::Utf8(map), Ids::Utf8(ids)) => map.insert(ids.value(row).into(), slot),
            _ => None,
        }
    }

    /// The slot that holds the row of an id in a view of slots below `slots`.
    pub(crate) fn get(&self, ids: &Ids<'_>, row: usize, slots: u32) -> Option<u32> {
        match (self, ids) {
            (IdMap::Int(map), Ids::U64(ids)) => map.get(&ids.value(row), slots),
            (IdMap::Int(map), Ids::I64(ids)) => map.get(&ids.value(row).cast_unsigned(), slots),
            (IdMap::Utf8(map), Ids::Utf8(ids)) => map.get(ids.value(row), slots),
            _ => None,
        }
    }
}

pub(crate) struct Striped<K> {
    hasher: DefaultHashBuilder,
    stripes: Box<[RwLock<Stripe<K>>]>,
}

struct Stripe<K> {
    newest: HashMap<K, u32>,
    /// The slot whose id a slot took over.
    before: HashMap<u32, u32>,
}

impl<K: Hash + Eq> Striped<K> {
    fn new() -> Self {
        let hasher = DefaultHashBuilder::default();
        let stripe = || Stripe {
            newest: HashMap::with_hasher(hasher.clone()),
            before: HashMap::new(),
        };
        Self {
            stripes: (0..STRIPES).map(|_| RwLock::new(stripe())).collect(),
            hasher,
        }
    }

    fn stripe<Q: Hash + ?Sized>(&self, key: &Q) -> &RwLock<Stripe<K>> {
        // The tables use the hash's low and top bits; take some from between.
        let at = (self.hasher.hash_one(key) >> 32) as usize % STRIPES;
        &self.stripes[at]
    }

    fn insert(&self, key: K, slot: u32) -> Option<u32> {
        let mut stripe = self.stripe(&key).write();
        let previous = stripe.newest.insert(key, slot);
        if let Some(previous) = previous {
            stripe.before.insert(slot, previous);
        }
        previous
    }

    fn get<Q: Hash + Equivalent<K> + ?Sized>(&self, key: &Q, slots: u32) -> Option<u32> {
        let stripe = self.stripe(key).read();
        let mut slot = *stripe.newest.get(key)?;
        while slot >= slots {
            slot = *stripe.before.get(&slot)?;
        }
        Some(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int64Array, StringArray};

    #[test]
    fn every_age_sees_its_own_slot() {
        let texts = StringArray::from(vec!["a", "b"]);
        let ids = Ids::new(&texts).unwrap();
        let map = IdMap::new(IdKind::Utf8);
        assert_eq!(map.insert(&ids, 0, 0), None);
        assert_eq!(map.insert(&ids, 1, 1), None);
        assert_eq!(map.insert(&ids, 0, 2), Some(0));
        assert_eq!(map.insert(&ids, 0, 3), Some(2));
        let seen: Vec<Option<u32>> = (0..=4).map(|slots| map.get(&ids, 0, slots)).collect();
        assert_eq!(seen, [None, Some(0), Some(0), Some(2), Some(3)]);
        assert_eq!(map.get(&ids, 1, 1), None);
        assert_eq!(map.get(&ids, 1, 4), Some(1));
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
