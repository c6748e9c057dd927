//! Lists all datasets by name.

use std::time::Instant;

use longbow_types::Result;

use super::{Core, Described};

impl Core {
    /// All datasets; with counts if asked for.
    ///
    /// # Errors
    /// Those of a catalogue that is not there.
    pub async fn list_datasets(&self, with_counts: bool, at: Instant) -> Result<Vec<Described>> {
        let view = self.newest_view(at).await?;
        let census = if with_counts {
            Some(self.census(at).await)
        } else {
            None
        };
        view.catalogue
            .datasets()
            .map(|dataset| {
                let open = self.open_in(&view, dataset.clone())?;
                let counts = census.as_ref().and_then(|census| census.counts(&open));
                Ok(Described { open, counts })
            })
            .collect()
    }
}
