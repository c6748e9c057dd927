//! Which of `len` slots are in a set: a dense bitmap with word-wise set algebra.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::words::words;

/// A fixed-length set of indices, one bit each.
///
/// Invariants: bits at and beyond `len` in the last word are zero, so that counting and combining need no mask;
/// `ones` is the number of set bits or [`UNKNOWN`], so that a set shared by many searches is counted once.
#[derive(Debug)]
pub struct Bitset {
    words: Vec<u64>,
    len: usize,
    ones: AtomicUsize,
}

const BITS: usize = u64::BITS as usize;
const UNKNOWN: usize = usize::MAX;

impl Clone for Bitset {
    fn clone(&self) -> Self {
        Self {
            words: self.words.clone(),
            len: self.len,
            ones: AtomicUsize::new(self.ones.load(Ordering::Relaxed)),
        }
    }
}

impl Default for Bitset {
    fn default() -> Self {
        Self::new(0)
    }
}

impl PartialEq for Bitset {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.words == other.words
    }
}

impl Eq for Bitset {}

impl Bitset {
    /// An empty set over `len` indices.
    pub fn new(len: usize) -> Self {
        Self::raw(vec![0; len.div_ceil(BITS)], len)
    }

    fn raw(words: Vec<u64>, len: usize) -> Self {
        Self {
            words,
            len,
            ones: AtomicUsize::new(UNKNOWN),
        }
    }

    /// The set of all `len` indices.
    pub fn full(len: usize) -> Self {
        let mut set = Self::raw(vec![u64::MAX; len.div_ceil(BITS)], len);
        set.mask_tail();
        set
    }

    /// A set of `len` indices from its words, least significant bit first; missing words are zero, excess is cut.
    pub fn from_words(mut words: Vec<u64>, len: usize) -> Self {
        words.resize(len.div_ceil(BITS), 0);
        let mut set = Self::raw(words, len);
        set.mask_tail();
        set
    }

    /// Number of indices, set or not.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no indices at all.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Puts `index` into the set.
    ///
    /// # Panics
    /// If `index >= len`.
    pub fn set(&mut self, index: usize) {
        assert!(index < self.len, "index {index} of a bitset of {}", self.len);
        self.changed();
        self.words[index / BITS] |= 1 << (index % BITS);
    }

    /// Takes `index` out of the set.
    ///
    /// # Panics
    /// If `index >= len`.
    pub fn clear(&mut self, index: usize) {
        assert!(index < self.len, "index {index} of a bitset of {}", self.len);
        self.changed();
        self.words[index / BITS] &= !(1 << (index % BITS));
    }

    /// Whether `index` is in the set; indices beyond the length are not.
    #[inline]
    pub fn get(&self, index: usize) -> bool {
        match self.words.get(index / BITS) {
            Some(word) => word >> (index % BITS) & 1 == 1,
            None => false,
        }
    }

    /// Number of indices in the set; counted once until the set changes.
    pub fn count(&self) -> usize {
        let known = self.ones.load(Ordering::Relaxed);
        if known != UNKNOWN {
            return known;
        }
        let ones = (words().count)(&self.words);
        self.ones.store(ones, Ordering::Relaxed);
        ones
    }

    /// Number of indices in the set at or above `start`.
    pub fn count_from(&self, start: usize) -> usize {
        let Some((first, rest)) = self.words.get(start / BITS..).and_then(<[u64]>::split_first) else {
            return 0;
        };
        let first = first & (u64::MAX << (start % BITS));
        first.count_ones() as usize + (words().count)(rest)
    }

    fn changed(&mut self) {
        *self.ones.get_mut() = UNKNOWN;
    }

    /// Keeps what is also in `other`; indices that `other` does not have are taken out.
    pub fn and_with(&mut self, other: &Bitset) {
        self.changed();
        let shared = self.words.len().min(other.words.len());
        (words().and)(&mut self.words, &other.words);
        self.words[shared..].fill(0);
    }

    /// Adds what is in `other`, as far as this set's length reaches.
    pub fn or_with(&mut self, other: &Bitset) {
        self.changed();
        (words().or)(&mut self.words, &other.words);
        self.mask_tail();
    }

    /// Takes out what is in `other`.
    pub fn andnot_with(&mut self, other: &Bitset) {
        self.changed();
        (words().andnot)(&mut self.words, &other.words);
    }

    /// Turns the set into its complement.
    pub fn not(&mut self) {
        self.changed();
        (words().not)(&mut self.words);
        self.mask_tail();
    }

    /// The indices in the set, ascending.
    pub fn iter(&self) -> Ones<'_> {
        self.iter_from(0)
    }

    /// The indices in the set at or above `start`, ascending.
    pub fn iter_from(&self, start: usize) -> Ones<'_> {
        let word = start / BITS;
        let current = self
            .words
            .get(word)
            .map_or(0, |w| w & (u64::MAX << (start % BITS)));
        Ones {
            words: &self.words,
            word,
            current,
        }
    }

    /// The words, least significant bit first.
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// Changes the number of indices; new ones are not in the set.
    pub fn resize(&mut self, len: usize) {
        self.changed();
        self.words.resize(len.div_ceil(BITS), 0);
        self.len = len;
        self.mask_tail();
    }

    fn mask_tail(&mut self) {
        let used = self.len % BITS;
        if used != 0
            && let Some(last) = self.words.last_mut()
        {
            *last &= u64::MAX >> (BITS - used);
        }
    }
}

impl<'a> IntoIterator for &'a Bitset {
    type Item = usize;
    type IntoIter = Ones<'a>;

    fn into_iter(self) -> Ones<'a> {
        self.iter()
    }
}

impl FromIterator<usize> for Bitset {
    /// The set of the given indices, just long enough for the largest.
    fn from_iter<I: IntoIterator<Item = usize>>(indices: I) -> Self {
        let mut set = Bitset::new(0);
        for index in indices {
            if index >= set.len {
                set.resize(index + 1);
            }
            set.set(index);
        }
        set
    }
}

/// Iterator over the indices of a [`Bitset`].
#[derive(Clone, Debug)]
pub struct Ones<'a> {
    words: &'a [u64],
    word: usize,
    current: u64,
}

impl Iterator for Ones<'_> {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        while self.current == 0 {
            self.word += 1;
            self.current = *self.words.get(self.word)?;
        }
        let bit = self.current.trailing_zeros() as usize;
        self.current &= self.current - 1;
        Some(self.word * BITS + bit)
    }
}
