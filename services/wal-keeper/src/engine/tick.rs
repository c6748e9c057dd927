//! Log time: the keeper that leads says now and then what time it is, while there are rows that go by it.
//!
//! What it says is decided in `longbow_cluster::log_time`; here stands when, and what the clocks are.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use longbow_cluster::log_time;
use longbow_wire::{
    entry,
    internal::{EntryHeader, TickCommand, entry_header::Command},
};
use prost::Message;

use super::Engine;

/// By how much the leader's clock is ahead of log time; below 0, behind it.
const LAG: &str = "longbow_wal_log_time_lag_seconds";
/// A leap of log time that is told in the log of this process.
const LEAP: Duration = Duration::from_secs(3_600);

/// Ticks, as this keeper knows of them.
pub(super) struct Ticks {
    interval: Duration,
    /// When this keeper proposed one last.
    proposed: Option<Instant>,
    /// When it last applied one that was not replayed.
    applied: Option<Instant>,
}

impl Ticks {
    pub fn new(interval: Duration) -> Self {
        Self {
            interval,
            proposed: None,
            applied: None,
        }
    }
}

impl Engine {
    /// Proposes a tick when it is time. Only one who knows all of the log does, and only while writes are taken.
    pub(super) fn tick_log_time(&mut self, now: Instant) {
        if !self.core.leads_knowingly() {
            // Another tells it now, and how far its clock is from that.
            if self.ticks.proposed.take().is_some() {
                metrics::gauge!(LAG).set(0.0);
            }
            return;
        }
        let waits = |at: Instant| now.saturating_duration_since(at) < self.ticks.interval;
        if self.stopping.is_some()
            || self.ticks.proposed.is_some_and(waits)
            || !self.parts.state.catalogue.rows_expire()
            || self.parts.latch.refusal().is_some()
        {
            return;
        }
        self.ticks.proposed = Some(now);
        let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let clock_ms = u64::try_from(clock.as_millis()).unwrap_or(u64::MAX);
        let log_time_ms = self.parts.state.catalogue.log_time_ms();
        let since = self.ticks.applied.map(|at| now.saturating_duration_since(at));
        let time_ms = log_time::next(log_time_ms, clock_ms, since);
        metrics::gauge!(LAG).set((clock_ms as f64 - time_ms as f64) / 1_000.0);
        let leap = Duration::from_millis(time_ms - log_time_ms);
        if log_time_ms > 0 && since.is_none() && leap >= LEAP {
            tracing::info!(
                ?leap,
                "log time goes on with this keeper's clock, it knows of no other"
            );
        }
        let header = EntryHeader {
            command: Some(Command::Tick(TickCommand { time_ms })),
            ..EntryHeader::default()
        };
        if self.no_room(&header).is_some() {
            return;
        }
        let data = entry::join(&header.encode_to_vec(), &[]);
        self.retention.appended += data.len() as u64;
        // One that is not taken now is proposed again after the interval, with another time.
        if let Err(error) = self.core.propose(data) {
            tracing::debug!(%error, "a tick was not proposed");
        }
    }

    /// An entry was applied.
    pub(super) fn note_tick(&mut self, index: u64, header: &EntryHeader) {
        if matches!(header.command, Some(Command::Tick(_))) && index > self.ready_at {
            self.ticks.applied = Some(Instant::now());
        }
    }
}
