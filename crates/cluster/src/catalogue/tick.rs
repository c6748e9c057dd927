//! Time goes on. Log time is the highest that any tick told: a clock that is behind changes nothing.

use longbow_wire::internal::{TickCommand, Verdict};

use super::Catalogue;

impl Catalogue {
    pub(super) fn apply_tick(&mut self, command: &TickCommand) -> Result<(), Verdict> {
        self.log_time_ms = self.log_time_ms.max(command.time_ms);
        Ok(())
    }

    /// Log time in milliseconds since the Unix epoch; 0 before the first tick.
    pub fn log_time_ms(&self) -> u64 {
        self.log_time_ms
    }

    /// Whether rows of any dataset go by themselves, so that there must be ticks.
    pub fn rows_expire(&self) -> bool {
        self.datasets.values().any(|dataset| dataset.rows_expire)
    }
}
