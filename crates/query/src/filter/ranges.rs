//! Which values of an ordered type are meant? Sets of values, with a boolean algebra in which equal sets are equal.

/// A type of which sets can be made.
pub(super) trait Ordered: Ord + Clone {
    /// The value below which there is none.
    fn least() -> Self;
}

impl Ordered for i128 {
    fn least() -> Self {
        i128::MIN
    }
}

impl Ordered for Vec<u8> {
    fn least() -> Self {
        Vec::new()
    }
}

/// A set of values, kept as the points at which one that walks upwards enters or leaves it.
///
/// Invariant: the turns ascend strictly, so that no two spell the same set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Ranges<T> {
    turns: Vec<T>,
}

impl<T: Ordered> Ranges<T> {
    pub(super) fn none() -> Self {
        Self { turns: Vec::new() }
    }

    /// `start` and everything above it, up to but without `end`, if there is an end.
    pub(super) fn between(start: T, end: Option<T>) -> Self {
        match end {
            None => Self { turns: vec![start] },
            Some(end) if start < end => Self {
                turns: vec![start, end],
            },
            Some(_) => Self::none(),
        }
    }

    /// Parts that ascend; they may touch each other.
    pub(super) fn ascending(parts: impl IntoIterator<Item = (T, Option<T>)>) -> Self {
        let mut turns: Vec<T> = Vec::new();
        for (start, end) in parts {
            if turns.last() == Some(&start) {
                turns.pop();
            } else {
                turns.push(start);
            }
            turns.extend(end);
        }
        Self { turns }
    }

    pub(super) fn is_none(&self) -> bool {
        self.turns.is_empty()
    }

    pub(super) fn is_all(&self) -> bool {
        matches!(self.turns.as_slice(), [start] if *start == T::least())
    }

    /// Where the set is entered (at even positions) and left (at odd ones).
    pub(super) fn turns(&self) -> &[T] {
        &self.turns
    }

    /// The parts that hang together: first value, and first value that is beyond, if any is.
    pub(super) fn parts(&self) -> impl Iterator<Item = (&T, Option<&T>)> {
        self.turns.chunks(2).map(|part| (&part[0], part.get(1)))
    }

    /// Number of parts that hang together.
    pub(super) fn len(&self) -> usize {
        self.turns.len().div_ceil(2)
    }

    /// Whether all values are in another set too. O(n log m), with n turns in the smaller set and m in the larger.
    pub(super) fn is_within(&self, other: &Self) -> bool {
        if self.turns.len() <= other.turns.len() {
            self.parts()
                .all(|(start, end)| other.is_constant(true, start, end))
        } else {
            let gaps = other.clone().complement();
            gaps.parts()
                .all(|(start, end)| self.is_constant(false, start, end))
        }
    }

    /// Whether all values of a part are in the set, or all are not.
    fn is_constant(&self, inside: bool, start: &T, end: Option<&T>) -> bool {
        let at = self.turns.partition_point(|turn| turn <= start);
        let beyond = match (self.turns.get(at), end) {
            (None, _) => true,
            (Some(turn), Some(end)) => turn >= end,
            (Some(_), None) => false,
        };
        (at % 2 == 1) == inside && beyond
    }

    pub(super) fn complement(mut self) -> Self {
        if self.turns.first() == Some(&T::least()) {
            self.turns.remove(0);
        } else {
            self.turns.insert(0, T::least());
        }
        self
    }

    pub(super) fn union(self, other: Self) -> Self {
        let mut turns = Vec::with_capacity(self.turns.len() + other.turns.len());
        let (mut a, mut b) = (
            self.turns.into_iter().peekable(),
            other.turns.into_iter().peekable(),
        );
        let (mut in_a, mut in_b, mut inside) = (false, false, false);
        loop {
            let (step_a, step_b) = match (a.peek(), b.peek()) {
                (None, None) => break,
                (Some(_), None) => (true, false),
                (None, Some(_)) => (false, true),
                (Some(x), Some(y)) => (x <= y, y <= x),
            };
            let turn_a = if step_a { a.next() } else { None };
            let turn_b = if step_b { b.next() } else { None };
            (in_a, in_b) = (in_a ^ step_a, in_b ^ step_b);
            if (in_a || in_b) != inside {
                inside = !inside;
                turns.extend(turn_a.or(turn_b));
            }
        }
        Self { turns }
    }

    /// The union of many sets. O(n log n) in all of their turns.
    pub(super) fn union_of(mut sets: Vec<Self>) -> Self {
        while sets.len() > 1 {
            let mut next = Vec::with_capacity(sets.len().div_ceil(2));
            let mut pairs = sets.into_iter();
            while let Some(first) = pairs.next() {
                next.push(match pairs.next() {
                    Some(second) => first.union(second),
                    None => first,
                });
            }
            sets = next;
        }
        sets.pop().unwrap_or_else(Self::none)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn has(set: &Ranges<i128>, value: i128) -> bool {
        set.turns().partition_point(|turn| *turn <= value) % 2 == 1
    }

    /// Sets over 0..20 and what lies below and above.
    fn set() -> impl Strategy<Value = Ranges<i128>> {
        let part = (0..20_i128, proptest::option::of(0..20_i128), any::<bool>());
        proptest::collection::vec(part, 0..6).prop_map(|parts| {
            Ranges::union_of(
                parts
                    .into_iter()
                    .map(|(start, end, low)| Ranges::between(if low { i128::MIN } else { start }, end))
                    .collect(),
            )
        })
    }

    fn probes() -> impl Iterator<Item = i128> {
        (-1..21).chain([i128::MIN, i128::MAX])
    }

    proptest! {
        #[test]
        fn the_algebra_is_that_of_sets(a in set(), b in set()) {
            for value in probes() {
                let (in_a, in_b) = (has(&a, value), has(&b, value));
                prop_assert_eq!(has(&a.clone().complement(), value), !in_a);
                prop_assert_eq!(has(&a.clone().union(b.clone()), value), in_a || in_b);
            }
        }

        #[test]
        fn equal_sets_are_equal(a in set(), b in set()) {
            let same = probes().all(|value| has(&a, value) == has(&b, value));
            prop_assert_eq!(a == b, same);
            let within = probes().all(|value| !has(&a, value) || has(&b, value));
            prop_assert_eq!(a.is_within(&b), within);
            prop_assert!(a.union(b).turns().is_sorted_by(|x, y| x < y));
        }
    }
}
