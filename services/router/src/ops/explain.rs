//! How was a search carried out, for those who ask?

use std::time::{Duration, Instant};

use longbow_wire::{internal::SearchPartitionsResponse, v1};

use super::fanout::Answer;

/// What a search is explained by, put together on the way.
#[derive(Debug)]
pub(super) struct Explaining {
    explanation: v1::Explanation,
    /// When the part under way began.
    began: Instant,
}

impl Explaining {
    /// Begins with the query vector.
    pub(super) fn begin() -> Self {
        Self {
            explanation: v1::Explanation::default(),
            began: Instant::now(),
        }
    }

    /// The query vector is there.
    pub(super) fn near(&mut self) {
        self.explanation.near_nanos = self.lap();
    }

    /// All partitions have answered.
    pub(super) fn scattered(&mut self, answers: &mut [Answer<SearchPartitionsResponse>]) {
        self.explanation.scatter_nanos = self.lap();
        let told = answers
            .iter_mut()
            .flat_map(|answer| std::mem::take(&mut answer.answer.explanations));
        self.explanation.partitions = told.collect();
        self.explanation.partitions.sort_by_key(|told| told.partition);
    }

    /// There is one answer.
    pub(super) fn merged(mut self) -> v1::Explanation {
        self.explanation.merge_nanos = self.lap();
        self.explanation
    }

    fn lap(&mut self) -> u64 {
        let now = Instant::now();
        let took = now.saturating_duration_since(self.began);
        self.began = now;
        nanos(took)
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_told_in_order_whoever_answered_first() {
        let answer = |ordinals: &[u32]| Answer {
            partitions: ordinals.to_vec(),
            answer: SearchPartitionsResponse {
                explanations: ordinals
                    .iter()
                    .map(|&partition| v1::PartitionExplanation {
                        partition,
                        ..Default::default()
                    })
                    .collect(),
                ..Default::default()
            },
        };
        let mut answers = [answer(&[1, 3]), answer(&[0, 2])];
        let mut explaining = Explaining::begin();
        explaining.near();
        explaining.scattered(&mut answers);
        let told = explaining.merged().partitions;
        let ordinals: Vec<u32> = told.iter().map(|told| told.partition).collect();
        assert_eq!(ordinals, [0, 1, 2, 3]);
        assert!(answers.iter().all(|answer| answer.answer.explanations.is_empty()));
    }
}
