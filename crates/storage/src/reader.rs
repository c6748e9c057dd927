//! What is shared with those who read, and with those who build the graphs behind the writer?

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use longbow_index::VectorIndex;
use longbow_types::Result;
use parking_lot::Mutex;

use crate::View;
use crate::outcomes::{Outcome, Outcomes};

/// What readers and graph builders share with the writer. Cheap to clone.
#[derive(Clone)]
pub struct Reader {
    pub(crate) view: Arc<ArcSwap<View>>,
    /// Of the vector column that every row has a value in.
    pub(crate) index: Arc<VectorIndex>,
    pub(crate) outcomes: Arc<Mutex<Outcomes>>,
    /// Bytes of memory that columns take.
    pub(crate) columns: Arc<AtomicUsize>,
    /// Whose turn it is of the indexes to be worked on first.
    pub(crate) turn: Arc<AtomicUsize>,
}

/// A place in the order in which rows come into the graphs, one for each vector column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark(Vec<longbow_index::Mark>);

impl Reader {
    /// The newest published view.
    pub fn view(&self) -> Arc<View> {
        self.view.load_full()
    }

    /// What became of the rows of the conditional write at an index that is applied.
    ///
    /// # Errors
    /// `OUTCOME_UNKNOWN` if it was forgotten, because much was written since or because the replica was made of a snapshot
    /// since; `INVALID_VALUE` for an entry that is no conditional write of this partition.
    pub fn outcome(&self, index: u64) -> Result<Outcome> {
        self.outcomes.lock().get(index)
    }

    /// Links up to `max` rows into the graph; 0 means that nothing is left. Runs on any number of threads at once.
    pub fn link(&self, max: usize) -> usize {
        self.share(max, VectorIndex::link)
    }

    /// Takes rows that no view shows out of the graph, looking at up to `max` nodes; 0 means that nothing is to be
    /// done now.
    pub fn vacuum(&self, max: usize) -> usize {
        self.share(max, VectorIndex::vacuum)
    }

    /// Slots of the index that the next rows take.
    pub fn free(&self) -> usize {
        self.index.free()
    }

    /// Codes up to `max` rows anew if the data has drifted from what its codes were made for; 0 means that nothing is to
    /// be done now.
    pub fn retrain(&self, max: usize) -> usize {
        self.share(max, VectorIndex::retrain)
    }

    /// Measures which searches reach which recall, with up to `max` queries; 0 means that nothing is to be done now:
    /// rows are few or not yet linked, or too few came and went since the last time.
    ///
    /// A query takes some scans of all rows and some hundred searches; a measurement takes 200 queries. `cancel` is asked
    /// all the time, and ends the query in progress, which is then asked again next time.
    pub fn calibrate(&self, max: usize, cancel: &dyn Fn() -> bool) -> usize {
        self.share(max, |index, max| index.calibrate(max, cancel))
    }

    /// Rows applied but not yet linked into the graph, counted once for each vector column that they have a value in.
    pub fn unlinked(&self) -> usize {
        let tail = |index: &VectorIndex| {
            let tail = index.len().saturating_sub(index.linked());
            tail as usize + index.waiting()
        };
        self.indexes().iter().map(|index| tail(index)).sum()
    }

    /// A mark behind all rows of the newest view, and perhaps some more.
    pub fn mark(&self) -> Mark {
        Mark(self.indexes().iter().map(|index| index.mark()).collect())
    }

    /// Whether all rows before a mark are linked into the graph.
    pub fn passed(&self, mark: &Mark) -> bool {
        // A column that was added since has no rows before the mark.
        let indexes = self.indexes();
        indexes
            .iter()
            .zip(&mark.0)
            .all(|(index, &mark)| index.passed(mark))
    }

    /// The index of each vector column. The view is not held: rows that it shows would not be forgotten meanwhile.
    pub(crate) fn indexes(&self) -> Vec<Arc<VectorIndex>> {
        let view = self.view.load();
        let further = view.further.iter().map(|further| &further.index);
        std::iter::once(&self.index)
            .chain(further)
            .map(Arc::clone)
            .collect()
    }

    /// Has so much done on the indexes, of which each has its turn to be the first.
    fn share(&self, max: usize, work: impl Fn(&VectorIndex, usize) -> usize) -> usize {
        let indexes = self.indexes();
        let first = self.turn.fetch_add(1, Ordering::Relaxed) % indexes.len();
        let mut done = 0;
        for index in indexes[first..].iter().chain(&indexes[..first]) {
            if done < max {
                done += work(index, max - done);
            }
        }
        done
    }
}
