//! What do operators see of the replicas? Gauges, brought up to date now and then.
//!
//! Several shards may live in one process and share its recorder, so gauges are moved by differences: each reads as the
//! sum over the process.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use longbow_node::shutdown::Shutdown;

use crate::memory::Account;
use crate::state::State;

/// Live rows held here, by dataset.
const INDEX_SIZE: &str = "longbow_vector_index_size";
/// Rows applied but not yet linked into a graph, by dataset.
const QUEUE_DEPTH: &str = "longbow_index_queue_depth";
/// Dead rows that still take room in the columns, by dataset.
const TOMBSTONES: &str = "longbow_tombstones";
/// Chunks that rows stand in, by dataset.
const CHUNKS: &str = "longbow_chunks";
/// Committed entries not yet applied.
const APPLY_LAG: &str = "longbow_apply_lag_entries";
/// Replicas that stopped applying.
const STOPPED: &str = "longbow_replicas_stopped";

/// Replicas that this node should have and has lost.
const LOST: &str = "longbow_replicas_lost";

/// Bytes of memory that this node takes, by what for.
const MEMORY: &str = "longbow_shard_memory_bytes";
/// Bytes of memory that this node may take.
const MEMORY_BUDGET: &str = "longbow_shard_memory_budget_bytes";
/// Bytes of memory that each replica takes.
const PARTITION_MEMORY: &str = "longbow_partition_memory_bytes";

const EVERY: Duration = Duration::from_secs(1);

/// A metric and its labels.
type Series = (&'static str, Vec<(&'static str, String)>);

/// What was reported last.
#[derive(Default)]
struct Reported(BTreeMap<Series, f64>);

/// Keeps the gauges up to date until the shutdown, then takes back what they say.
pub(crate) async fn report(state: Arc<State>, shutdown: Shutdown) {
    let mut reported = Reported::default();
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => reported.update(measure(&state)),
            () = shutdown.wait() => break,
        }
    }
    reported.update(BTreeMap::new());
}

fn measure(state: &State) -> BTreeMap<Series, f64> {
    let mut values: BTreeMap<Series, f64> = BTreeMap::new();
    let mut add_to = |metric, labels: &[(&'static str, &str)], value: f64| {
        let labels = labels.iter().map(|&(label, value)| (label, value.to_owned()));
        *values.entry((metric, labels.collect())).or_default() += value;
    };
    let mut account = Account::begin(state);
    for partition in state.partitions().values() {
        let memory = partition.reader.memory();
        account.replicas += memory;
        let labels = [
            ("dataset", partition.dataset.as_str()),
            ("partition", &partition.key.ordinal.to_string()),
        ];
        add_to(PARTITION_MEMORY, &labels, memory.total() as f64);
    }
    for (part, bytes) in account.named() {
        add_to(MEMORY, &[("component", part)], bytes as f64);
    }
    add_to(MEMORY_BUDGET, &[], state.memory_budget as f64);
    let mut add = |metric, dataset: &str, value: f64| match dataset {
        "" => add_to(metric, &[], value),
        dataset => add_to(metric, &[("dataset", dataset)], value),
    };
    let lag = state
        .committed
        .load(Ordering::Relaxed)
        .saturating_sub(state.routed());
    add(APPLY_LAG, "", lag as f64);
    add(STOPPED, "", 0.0);
    add(LOST, "", state.lost().len() as f64);
    for partition in state.partitions().values() {
        let view = partition.reader.view();
        add(INDEX_SIZE, &partition.dataset, view.rows() as f64);
        let dead = view.rows_stored().saturating_sub(view.rows());
        add(TOMBSTONES, &partition.dataset, dead as f64);
        add(CHUNKS, &partition.dataset, view.chunks() as f64);
        add(
            QUEUE_DEPTH,
            &partition.dataset,
            partition.reader.unlinked() as f64,
        );
        if partition.stopped().is_some() {
            add(STOPPED, "", 1.0);
        }
    }
    values
}

impl Reported {
    fn update(&mut self, mut now: BTreeMap<Series, f64>) {
        for series in self.0.keys() {
            now.entry(series.clone()).or_insert(0.0);
        }
        for (series, value) in &now {
            let before = self.0.get(series).copied().unwrap_or(0.0);
            let (metric, labels) = series;
            metrics::gauge!(*metric, labels).increment(value - before);
        }
        now.retain(|(_, labels), value| labels.is_empty() || *value != 0.0);
        self.0 = now;
    }
}
