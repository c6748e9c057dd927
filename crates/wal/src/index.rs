//! Where each entry stands: runs of consecutive entries of one term in one segment, with a point every 64 KiB.
//!
//! Memory is proportional to bytes of log, not to entries: a reader walks at most one stride of headers.

use std::collections::BTreeMap;

use crate::HardState;

/// Bytes of segment between two points of a run.
const STRIDE_BYTES: u64 = 64 << 10;
/// Points that a run has room for from the start: those of a segment of the usual size, so that flushes need not allocate.
const POINTS: usize = 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Point {
    pub index: u64,
    pub offset: u64,
}

/// Consecutive entries of one term that follow each other in one segment.
#[derive(Debug)]
pub(crate) struct Run {
    pub first: u64,
    pub last: u64,
    pub term: u64,
    pub generation: u64,
    /// Never empty; the first stands at `first`.
    points: Vec<Point>,
}

impl Run {
    /// The last point at or before an index of the run.
    pub fn point_before(&self, index: u64) -> Point {
        let after = self.points.partition_point(|point| point.index <= index);
        self.points[after - 1]
    }
}

/// What the log holds of one group.
#[derive(Debug, Default)]
pub(crate) struct GroupIndex {
    /// Index and term of the entry before the first, where they are known.
    before: Option<(u64, u64)>,
    /// Without gaps, by index.
    runs: Vec<Run>,
    /// Entries were replaced: the next one does not stand behind the last run's.
    is_cut: bool,
    pub hard_state: HardState,
    pub conf_state: Option<Vec<u8>>,
}

impl GroupIndex {
    pub fn first(&self) -> u64 {
        let start = self.before.map_or(1, |(index, _)| index + 1);
        self.runs.first().map_or(start, |run| run.first)
    }

    /// Last index; `first() - 1` if there are no entries.
    pub fn last(&self) -> u64 {
        self.runs.last().map_or(self.first() - 1, |run| run.last)
    }

    /// Term of an entry, or of the one before the first.
    pub fn term(&self, index: u64) -> Option<u64> {
        let before = self.before.filter(|(at, _)| *at == index).map(|(_, term)| term);
        self.run_of(index).map(|run| run.term).or(before)
    }

    /// The entry that the log begins behind, if no entry stands there yet: what a new segment must repeat.
    pub fn start(&self) -> Option<(u64, u64)> {
        self.before.filter(|_| self.runs.is_empty())
    }

    /// Forgets all entries: the next one is the one behind `index`.
    pub fn restart(&mut self, index: u64, term: u64) {
        self.runs.clear();
        self.is_cut = false;
        self.before = Some((index, term));
    }

    pub fn run_of(&self, index: u64) -> Option<&Run> {
        let at = self.runs.partition_point(|run| run.last < index);
        self.runs.get(at).filter(|run| run.first <= index)
    }

    /// Adds an entry. One at or below the last index replaces everything from there on. `false`: it leaves a gap.
    #[must_use]
    pub fn insert(&mut self, index: u64, term: u64, generation: u64, offset: u64) -> bool {
        self.truncate(index);
        // The oldest segment kept may begin with any entry, but for one that a start record stands before.
        let follows = index == self.last() + 1;
        if !follows && (!self.runs.is_empty() || self.before.is_some()) {
            return false;
        }
        let point = Point { index, offset };
        match self.runs.last_mut() {
            Some(run) if !self.is_cut && run.term == term && run.generation == generation => {
                run.last = index;
                if run
                    .points
                    .last()
                    .is_none_or(|p| offset - p.offset >= STRIDE_BYTES)
                {
                    run.points.push(point);
                }
            }
            last => {
                if let Some(run) = last {
                    run.points.shrink_to_fit();
                }
                let mut points = Vec::with_capacity(POINTS);
                points.push(point);
                self.runs.push(Run {
                    first: index,
                    last: index,
                    term,
                    generation,
                    points,
                });
            }
        }
        self.is_cut = false;
        true
    }

    /// Forgets entries in segments before `generation`.
    pub fn forget_before(&mut self, generation: u64) {
        // Generations never fall from run to run: what is replaced is cut off first.
        let gone = self.runs.partition_point(|run| run.generation < generation);
        if let Some(last) = self.runs.drain(..gone).next_back() {
            self.before = Some((last.last, last.term));
        }
    }

    /// Segment of the first entry that is to be kept, or of the last one if all may go.
    pub fn generation_of(&self, first_kept: u64) -> Option<u64> {
        let last = self.runs.last()?;
        let run = self.run_of(first_kept.clamp(self.first(), last.last));
        run.map(|run| run.generation)
    }

    /// Forgets entries from `index` on.
    fn truncate(&mut self, index: u64) {
        self.is_cut |= !self.runs.is_empty() && self.last() >= index;
        if !self.runs.is_empty() && self.before.is_some_and(|(before, _)| index <= before) {
            // Also the one before the first is replaced.
            self.before = None;
        }
        let kept = self.runs.partition_point(|run| run.first < index);
        self.runs.truncate(kept);
        if let Some(run) = self.runs.last_mut()
            && run.last >= index
        {
            run.last = index - 1;
            run.points.retain(|point| point.index < index);
        }
    }
}

/// What the log holds.
#[derive(Debug, Default)]
pub(crate) struct Index {
    pub groups: BTreeMap<u32, GroupIndex>,
}
