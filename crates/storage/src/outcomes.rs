//! What became of the rows of writes that depend on what is there? Remembered for a while, for those who wrote them.
//!
//! An outcome follows from the log like everything else: every replica that applied an entry has the same. But it is not
//! in snapshots, and those of long ago are forgotten; of entries so old nothing is told, rather than something wrong.

use std::collections::VecDeque;

use arrow::buffer::BooleanBuffer;
use longbow_types::{Error, ErrorCode, Result};

/// Most outcomes remembered.
const OUTCOMES_MAX: usize = 4_096;
/// Most bytes of them; the newest is remembered whatever it takes.
const OUTCOMES_BYTES_MAX: usize = 1 << 20;

/// What became of the rows of one such write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Of each row of the entry, in their order, whether its condition held.
    Rows(BooleanBuffer),
    /// So many rows were there of which its filter was true.
    Matched(u64),
}

impl Outcome {
    /// Rows of the entry that were judged; none of one with a filter.
    pub fn rows(&self) -> usize {
        match self {
            Outcome::Rows(matched) => matched.len(),
            Outcome::Matched(_) => 0,
        }
    }

    /// Rows that matched.
    pub fn matched(&self) -> u64 {
        match self {
            Outcome::Rows(matched) => matched.count_set_bits() as u64,
            Outcome::Matched(rows) => *rows,
        }
    }

    /// One bit for each row of the entry, from the lowest of the first byte on.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.bytes()];
        if let Outcome::Rows(matched) = self {
            matched
                .set_indices()
                .for_each(|row| bytes[row / 8] |= 1 << (row % 8));
        }
        bytes
    }

    fn bytes(&self) -> usize {
        self.rows().div_ceil(8)
    }
}

/// The outcomes of the last such writes, by the indices of their entries.
#[derive(Debug)]
pub(crate) struct Outcomes {
    known: VecDeque<(u64, Outcome)>,
    bytes: usize,
    /// Of entries up to this index nothing is known.
    forgotten: u64,
}

impl Outcomes {
    /// Of entries behind `index`.
    pub(crate) fn after(index: u64) -> Self {
        Self {
            known: VecDeque::new(),
            bytes: 0,
            forgotten: index,
        }
    }

    /// Bytes of memory that it takes.
    pub(crate) fn memory(&self) -> usize {
        self.known.capacity() * size_of::<(u64, Outcome)>() + self.bytes
    }

    /// Remembers one; indices ascend.
    pub(crate) fn add(&mut self, index: u64, outcome: Outcome) {
        self.bytes += outcome.bytes();
        self.known.push_back((index, outcome));
        while self.known.len() > OUTCOMES_MAX || (self.bytes > OUTCOMES_BYTES_MAX && self.known.len() > 1) {
            let Some((index, outcome)) = self.known.pop_front() else {
                return;
            };
            self.bytes -= outcome.bytes();
            self.forgotten = index;
        }
    }

    /// The outcome of an entry that was applied.
    pub(crate) fn get(&self, index: u64) -> Result<Outcome> {
        if let Ok(at) = self.known.binary_search_by_key(&index, |(index, _)| *index) {
            return Ok(self.known[at].1.clone());
        }
        if index <= self.forgotten {
            let message = format!("what became of the rows of entry {index} is not known here any more");
            return Err(Error::new(ErrorCode::OutcomeUnknown, message));
        }
        let message = format!("entry {index} has no conditions, or is none of this partition");
        Err(Error::new(ErrorCode::InvalidValue, message).field("min_index"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(rows: usize) -> Outcome {
        Outcome::Rows(BooleanBuffer::collect_bool(rows, |row| row % 3 == 1))
    }

    fn code(outcomes: &Outcomes, index: u64) -> ErrorCode {
        outcomes.get(index).unwrap_err().code
    }

    #[test]
    fn what_is_known_is_told_and_nothing_else() {
        let mut outcomes = Outcomes::after(10);
        outcomes.add(12, outcome(4));
        outcomes.add(15, outcome(9));
        assert_eq!(outcomes.get(12).unwrap(), outcome(4));
        assert_eq!(outcomes.get(15).unwrap(), outcome(9));
        assert_eq!(code(&outcomes, 10), ErrorCode::OutcomeUnknown);
        assert_eq!(code(&outcomes, 11), ErrorCode::InvalidValue);
        assert_eq!(code(&outcomes, 16), ErrorCode::InvalidValue);
        assert_eq!(outcome(10).to_bytes(), [0b1001_0010, 0]);
    }

    #[test]
    fn so_many_are_remembered_and_no_more() {
        let mut outcomes = Outcomes::after(0);
        let many = OUTCOMES_MAX as u64 + 5;
        (1..=many).for_each(|index| outcomes.add(index, outcome(8)));
        assert_eq!(code(&outcomes, 5), ErrorCode::OutcomeUnknown);
        outcomes.get(6).unwrap();
        // One that is larger than all of them may be.
        outcomes.add(many + 1, outcome(8 * OUTCOMES_BYTES_MAX + 1));
        outcomes.get(many + 1).unwrap();
        assert_eq!(code(&outcomes, many), ErrorCode::OutcomeUnknown);
        outcomes.add(many + 2, outcome(1));
        assert_eq!((outcomes.known.len(), outcomes.bytes), (1, 1));
    }
}
