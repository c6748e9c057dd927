//! Open producers and the answers they got: what makes a retry harmless.
//!
//! Both are bounded. A full window forgets its lowest sequence; a full table forgets the producer that has been
//! silent longest. What is forgotten is refused when it comes again, never written.
//! Everything here follows from the answers alone, so that a catalogue read from a message goes on exactly alike.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use longbow_types::ErrorCode;
use longbow_wire::internal::Verdict;

use super::{is_accepted, verdict_of};

/// Answers remembered for each producer.
pub const ANSWERS_MAX: usize = 1_024;
/// Open producers.
pub const PRODUCERS_MAX: usize = 4_096;

/// What is known about `(producer, sequence)`.
pub(super) enum Known {
    /// Never judged.
    New,
    /// Judged before.
    Answered {
        /// Index of the entry judged.
        index: u64,
        /// What it was told.
        verdict: Verdict,
    },
    /// Cannot be told any more.
    Refused(Verdict),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Answer {
    pub sequence: u64,
    pub index: u64,
    /// `None`: accepted. Boxed because refusals are rare.
    pub refusal: Option<Box<Verdict>>,
}

/// Remembered answers of one producer, by sequence.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Window {
    pub answers: VecDeque<Answer>,
    /// Highest index among the answers, or the producer's own.
    last_used: u64,
}

impl Window {
    fn find(&self, sequence: u64) -> Result<usize, usize> {
        self.answers
            .binary_search_by_key(&sequence, |answer| answer.sequence)
    }

    /// A full window has forgotten lower sequences, or may have.
    fn is_below(&self, sequence: u64) -> bool {
        self.answers.len() >= ANSWERS_MAX
            && self
                .answers
                .front()
                .is_some_and(|lowest| sequence < lowest.sequence)
    }
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Producers {
    windows: BTreeMap<u64, Window>,
    /// (last used, producer): who is forgotten next.
    by_use: BTreeSet<(u64, u64)>,
}

impl Producers {
    pub fn check(&self, producer: u64, sequence: u64) -> Known {
        if producer == 0 {
            return Known::New;
        }
        let Some(window) = self.windows.get(&producer) else {
            let message =
                format!("the producer {producer} is not open, or was silent too long: open a new one");
            return Known::Refused(verdict_of(ErrorCode::UnknownProducer, message, "producer"));
        };
        if sequence == 0 {
            let message = "sequences start at 1";
            return Known::Refused(verdict_of(ErrorCode::InvalidValue, message, "sequence"));
        }
        if let Ok(at) = window.find(sequence) {
            let answer = &window.answers[at];
            return Known::Answered {
                index: answer.index,
                verdict: answer.refusal.as_deref().cloned().unwrap_or_default(),
            };
        }
        if window.is_below(sequence) {
            let message = format!(
                "sequence {sequence} of producer {producer} lies below the {ANSWERS_MAX} answers remembered"
            );
            return Known::Refused(verdict_of(ErrorCode::SequenceTooOld, message, "sequence"));
        }
        Known::New
    }

    pub fn remember(&mut self, producer: u64, sequence: u64, index: u64, verdict: &Verdict) {
        let Some(window) = self.windows.get_mut(&producer) else {
            return;
        };
        let Err(at) = window.find(sequence) else {
            return;
        };
        let refusal = (!is_accepted(verdict)).then(|| Box::new(verdict.clone()));
        window.answers.insert(
            at,
            Answer {
                sequence,
                index,
                refusal,
            },
        );
        if window.answers.len() > ANSWERS_MAX {
            window.answers.pop_front();
        }
        self.by_use.remove(&(window.last_used, producer));
        window.last_used = index;
        self.by_use.insert((index, producer));
    }

    pub fn open(&mut self, producer: u64) {
        self.restore(producer, VecDeque::new());
        if self.windows.len() > PRODUCERS_MAX
            && let Some((_, silent)) = self.by_use.pop_first()
        {
            self.windows.remove(&silent);
        }
    }

    /// Puts back a producer as it was; answers are sorted by sequence.
    pub fn restore(&mut self, producer: u64, answers: VecDeque<Answer>) {
        let last_used = answers.iter().map(|answer| answer.index).fold(producer, u64::max);
        self.windows.insert(producer, Window { answers, last_used });
        self.by_use.insert((last_used, producer));
    }

    pub fn contains(&self, producer: u64) -> bool {
        self.windows.contains_key(&producer)
    }

    pub fn iter(&self) -> impl Iterator<Item = (u64, &Window)> {
        self.windows.iter().map(|(&producer, window)| (producer, window))
    }
}
