//! `WaitApplied`: waits until partitions have applied, or linked, an index, and tells what became of a conditional write.

use std::time::Instant;

use longbow_types::{DatasetId, ErrorCode, Result};
use longbow_wire::internal::{PartitionOutcome, WaitAppliedRequest, WaitAppliedResponse};

use super::Service;
use super::locate::Until;
use crate::partition::Key;

impl Service {
    pub(super) async fn wait(
        &self,
        request: WaitAppliedRequest,
        deadline: Option<Instant>,
    ) -> Result<WaitAppliedResponse> {
        let until = if request.indexed {
            Until::Indexed
        } else {
            Until::Applied
        };
        let asked = request.target.clone().filter(|_| request.outcome);
        let located = self.locate(request.target, until, deadline).await?;
        let states: Vec<_> = located.reads.into_iter().map(|read| read.state).collect();
        let mut outcomes = Vec::new();
        if let Some(target) = asked {
            for state in &states {
                let key = Key {
                    dataset: DatasetId(target.dataset_id),
                    ordinal: state.partition,
                };
                outcomes.extend(self.outcome(key, target.min_index)?);
            }
        }
        Ok(WaitAppliedResponse { states, outcomes })
    }

    /// What became of the rows of an entry that was applied; nothing where that is not remembered.
    fn outcome(&self, key: Key, index: u64) -> Result<Option<PartitionOutcome>> {
        let partitions = self.state.partitions();
        let Some(partition) = partitions.get(&key) else {
            return Ok(None);
        };
        match partition.reader.outcome(index) {
            Ok(outcome) => Ok(Some(PartitionOutcome {
                partition: key.ordinal,
                rows: outcome.rows() as u32,
                matched: outcome.to_bytes().into(),
                rows_matched: outcome.matched(),
            })),
            Err(error) if error.code == ErrorCode::OutcomeUnknown => Ok(None),
            Err(error) => Err(error),
        }
    }
}
