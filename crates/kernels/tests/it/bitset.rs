//! Bitset algebra against sets.

use std::collections::BTreeSet;

use longbow_kernels::Bitset;
use proptest::prelude::*;

fn of(set: &BTreeSet<usize>, len: usize) -> Bitset {
    let mut bits = Bitset::new(len);
    set.iter().filter(|&&i| i < len).for_each(|&i| bits.set(i));
    bits
}

proptest! {
    #[test]
    fn algebra_is_that_of_sets(
        a in prop::collection::btree_set(0usize..300, 0..80),
        b in prop::collection::btree_set(0usize..300, 0..80),
        a_len in 0usize..300, b_len in 0usize..300, start in 0usize..300,
    ) {
        let within = |set: &BTreeSet<usize>, len: usize| -> BTreeSet<usize> {
            set.iter().copied().filter(|&i| i < len).collect()
        };
        let (a, b) = (within(&a, a_len), within(&b, b_len));
        let (x, y) = (of(&a, a_len), of(&b, b_len));
        prop_assert_eq!(x.count(), a.len());
        prop_assert_eq!(x.iter().collect::<BTreeSet<_>>(), a.clone());
        prop_assert_eq!(x.count_from(start), a.range(start..).count());
        prop_assert_eq!(x.iter_from(start).collect::<Vec<_>>(), a.range(start..).copied().collect::<Vec<_>>());

        let mut and = x.clone();
        and.and_with(&y);
        prop_assert_eq!(and.iter().collect::<BTreeSet<_>>(), &a & &b);
        let mut or = x.clone();
        or.or_with(&y);
        prop_assert_eq!(or.iter().collect::<BTreeSet<_>>(), within(&(&a | &b), a_len));
        let mut minus = x.clone();
        minus.andnot_with(&y);
        prop_assert_eq!(minus.iter().collect::<BTreeSet<_>>(), &a - &b);
        let mut not = x.clone();
        not.not();
        prop_assert_eq!(not.count(), a_len - a.len());
        prop_assert!((0..a_len).all(|i| not.get(i) != x.get(i)));

        let mut resized = x.clone();
        resized.resize(b_len);
        prop_assert_eq!(resized.clone(), of(&a, b_len));
        prop_assert_eq!(Bitset::from_words(x.words().to_vec(), b_len).count(), resized.count());
        prop_assert_eq!(Bitset::full(a_len).count(), a_len);
        prop_assert!(!x.get(a_len) && !x.get(usize::MAX));
    }
}

#[test]
fn clearing_takes_out() {
    let mut set = Bitset::full(70);
    assert_eq!(set.count(), 70);
    set.clear(69);
    assert_eq!((set.count(), set.get(69), set.get(68)), (69, false, true));
}
