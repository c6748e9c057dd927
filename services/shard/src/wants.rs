//! Which indices does anybody wait for? A want lasts as long as who waits.

use std::collections::BTreeMap;

use parking_lot::Mutex;

/// Indices waited for now, each with how many wait: as many as there are requests under way.
#[derive(Default)]
pub(crate) struct Wants(Mutex<BTreeMap<u64, usize>>);

/// Somebody waits for an index until this is dropped.
pub(crate) struct Want<'a> {
    wants: &'a Wants,
    index: u64,
}

impl Wants {
    /// Somebody waits for an index.
    pub(crate) fn add(&self, index: u64) -> Want<'_> {
        *self.0.lock().entry(index).or_default() += 1;
        Want { wants: self, index }
    }

    /// Highest index that somebody waits for; 0 for none.
    pub(crate) fn highest(&self) -> u64 {
        self.0.lock().last_key_value().map_or(0, |(&index, _)| index)
    }
}

impl Drop for Want<'_> {
    fn drop(&mut self) {
        let mut wants = self.wants.0.lock();
        if let Some(waiting) = wants.get_mut(&self.index) {
            *waiting -= 1;
            if *waiting == 0 {
                wants.remove(&self.index);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_want_ends_with_who_waits() {
        let wants = Wants::default();
        let real = wants.add(7);
        let again = wants.add(7);
        let bogus = wants.add(u64::MAX);
        assert_eq!(wants.highest(), u64::MAX);
        drop(bogus);
        drop(real);
        assert_eq!(wants.highest(), 7, "another still waits");
        drop(again);
        assert_eq!(wants.highest(), 0);
        assert!(wants.0.lock().is_empty());
    }
}
