//! Register a shard. Doing it again changes nothing and is accepted. The first one names the log: before it, no shard
//! holds anything of it.

use longbow_types::NodeId;
use longbow_wire::internal::{RegisterShardCommand, Verdict};

use super::{Catalogue, verdict::refusal};

impl Catalogue {
    pub(super) fn apply_register_shard(&mut self, command: &RegisterShardCommand) -> Result<(), Verdict> {
        let node: NodeId = command.node_id.parse().map_err(|error| refusal(&error))?;
        self.shards.insert(node);
        if self.log_id == 0 {
            self.log_id = command.log_id;
        }
        Ok(())
    }
}
