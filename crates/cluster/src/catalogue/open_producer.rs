//! Open a producer; its id is the index of the entry.

use longbow_wire::internal::Verdict;

use super::Catalogue;

impl Catalogue {
    pub(super) fn apply_open_producer(&mut self, index: u64) -> Result<(), Verdict> {
        self.producers.open(index);
        Ok(())
    }
}
