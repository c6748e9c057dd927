//! Appends runs of bits that begin anywhere, a word at a time, each word written once.

use arrow::buffer::{BooleanBuffer, Buffer};

/// Bits in the making; those of the last word that do not count are zero.
pub(super) struct Bits {
    words: Vec<u64>,
    len: usize,
}

impl Bits {
    /// None yet, and room for so many.
    pub(super) fn with_capacity(bits: usize) -> Self {
        Self {
            words: Vec::with_capacity(bits.div_ceil(64)),
            len: 0,
        }
    }

    /// Appends bits.
    pub(super) fn append(&mut self, bits: &BooleanBuffer) {
        let chunks = bits.bit_chunks();
        let (rest, rest_len) = (chunks.remainder_bits(), chunks.remainder_len());
        let shift = self.len % 64;
        self.len += bits.len();
        if shift == 0 {
            self.words.extend(chunks.iter());
            self.words.extend((rest_len > 0).then_some(rest));
            return;
        }
        let mut last = self
            .words
            .pop()
            .expect("the bits that do not fill a word stand in one");
        self.words.extend(chunks.iter().map(|chunk| {
            let word = last | chunk << shift;
            last = chunk >> (64 - shift);
            word
        }));
        self.words.push(last | rest << shift);
        self.words
            .extend((shift + rest_len > 64).then_some(rest >> (64 - shift)));
    }

    /// All of them.
    pub(super) fn finish(self) -> BooleanBuffer {
        BooleanBuffer::new(Buffer::from_vec(self.words), 0, self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_of_any_length_follow_each_other() {
        let source: BooleanBuffer = (0..400).map(|at| at % 3 == 0 || at % 7 == 2).collect();
        for first in [0, 1, 63, 64, 65, 127, 128] {
            for second in [0, 1, 62, 63, 64, 65, 128, 130] {
                let parts = [(3, first), (5, second), (9, 70), (0, 1)];
                let mut bits = Bits::with_capacity(0);
                let mut expected = Vec::new();
                for (start, len) in parts {
                    bits.append(&source.slice(start, len));
                    expected.extend((start..start + len).map(|at| source.value(at)));
                }
                let bits = bits.finish();
                assert_eq!(bits.iter().collect::<Vec<_>>(), expected, "{first} and {second}");
            }
        }
    }
}
