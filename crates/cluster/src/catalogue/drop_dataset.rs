//! Drop a dataset.

use longbow_types::DatasetId;
use longbow_wire::internal::{DropDatasetCommand, Verdict};

use super::{Catalogue, write::not_found};

impl Catalogue {
    pub(super) fn apply_drop_dataset(&mut self, command: &DropDatasetCommand) -> Result<(), Verdict> {
        let id = DatasetId(command.dataset_id);
        let dataset = self.datasets.remove(&id).ok_or_else(|| not_found(id))?;
        self.by_name.remove(&dataset.name);
        Ok(())
    }
}
