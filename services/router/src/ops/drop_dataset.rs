//! Drops a dataset and all its rows.

use std::time::Instant;

use bytes::Bytes;
use longbow_types::{ErrorCode, Lsn, Result, Token};
use longbow_wire::internal::{DropDatasetCommand, entry_header::Command};

use super::{Core, Open};

impl Core {
    /// Drops a dataset. When this returns, this router knows it no more.
    ///
    /// # Errors
    /// `DATASET_NOT_FOUND`, and those of an append.
    pub async fn drop_dataset(&self, name: &str, at: Instant) -> Result<Token> {
        self.check_latch()?;
        let open = self.open(name, at).await?;
        let lsn = match self.drop_open(&open, at).await {
            Err(error) if error.code == ErrorCode::DatasetNotFound => {
                // Dropped meanwhile; another of the same name may be there.
                let newer = self.replaced(&open, at).await?;
                self.drop_open(&newer, at).await?
            }
            dropped => dropped?,
        };
        self.0.watch.wait_for_index(lsn.index, Some(at)).await?;
        Ok(Token::of(lsn))
    }

    async fn drop_open(&self, open: &Open, at: Instant) -> Result<Lsn> {
        let command = DropDatasetCommand {
            dataset_id: open.dataset.id.0,
        };
        self.append(Command::DropDataset(command), Bytes::new(), at).await
    }
}
