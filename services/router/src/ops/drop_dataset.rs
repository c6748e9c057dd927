//! Drops a dataset and all its rows.

use std::time::Instant;

use bytes::Bytes;
use longbow_types::{Result, Token};
use longbow_wire::internal::{DropDatasetCommand, entry_header::Command};

use super::Core;

impl Core {
    /// Drops a dataset. When this returns, this router knows it no more.
    ///
    /// # Errors
    /// `DATASET_NOT_FOUND`, and those of an append.
    pub async fn drop_dataset(&self, name: &str, at: Instant) -> Result<Token> {
        self.check_latch()?;
        let open = self.open(name, at).await?;
        let command = DropDatasetCommand {
            dataset_id: open.dataset.id.0,
        };
        let lsn = self
            .append(Command::DropDataset(command), Bytes::new(), at)
            .await?;
        self.0.watch.wait_for_index(lsn.index, Some(at)).await?;
        Ok(Token::of(lsn))
    }
}
