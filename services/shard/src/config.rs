//! What can be set about a shard?

use std::num::NonZero;
use std::thread::available_parallelism;

use longbow_kernels::{SIMD_ENV, Simd, UnknownSimd};
use longbow_node::config::{NodeConfig, Setting, Settings};
use longbow_storage::Options;
use longbow_types::{Error, ErrorCode, Result, Role};

use crate::memory;

/// Settings of a shard, besides those that every role has.
pub const SETTINGS: &[Setting] = &[
    Setting::new(
        "hnsw.m",
        "Links of a graph node on upper levels; the base level has twice as many",
    )
    .default("16"),
    Setting::new(
        "hnsw.ef_construction",
        "Candidates examined when a row is linked into the graph",
    )
    .default("200"),
    Setting::new(
        "shard.search_threads",
        "Threads that search; 0: one for each core",
    )
    .default("0"),
    Setting::new(
        "shard.search_queue",
        "Searches that may wait for a thread, and scans that may be under way; more are refused as OVERLOADED",
    )
    .default("1024"),
    Setting::new(
        "shard.build_threads",
        "Threads that link rows into the graph; 0: one for every two cores",
    )
    .default("0"),
    Setting::new(
        "shard.apply_threads",
        "Threads that apply the log; 0: one for each core, at most 4",
    )
    .default("0"),
    Setting::new(
        "shard.compact_threads",
        "Threads that copy columns when small chunks of rows are merged and dead rows are left out; 0: one for every four cores",
    )
    .default("0"),
    Setting::new(
        "shard.snapshot_every",
        "Bytes of writes applied between two snapshots of this node's replicas, more if these are large; 0: none are written, and the keepers' log is never cut",
    )
    .default("268435456"),
    Setting::new(
        "shard.snapshots_kept",
        "Snapshots kept of each replica: the newest, and older ones in case that it is damaged; the keepers' log is kept from the newest but one on, with 1 from the newest",
    )
    .default("2"),
    Setting::new(
        "shard.memory_budget",
        "Bytes of memory that this node may take; when they are taken, rows are refused as MEMORY_FULL. 0: three quarters of what its control group or the machine has",
    )
    .default("0"),
];

/// The smallest budget: less does not hold what a shard takes that has no rows.
const BUDGET_MIN: u64 = 48 << 20;

/// How a shard runs.
#[derive(Debug, Clone)]
pub struct Config {
    /// What every role has.
    pub node: NodeConfig,
    /// How graphs are built. The seed is set for each partition.
    pub hnsw: Options,
    /// Threads that search.
    pub search_threads: usize,
    /// Searches that may wait for a thread, and scans that may be under way.
    pub search_queue: usize,
    /// Threads that link rows.
    pub build_threads: usize,
    /// Threads that apply the log.
    pub apply_threads: usize,
    /// Threads that merge chunks.
    pub compact_threads: NonZero<usize>,
    /// Bytes of writes applied between two snapshots; 0: none are written.
    pub snapshot_every: usize,
    /// Snapshots kept of each replica.
    pub snapshots_kept: usize,
    /// Bytes of memory that this node may take.
    pub memory_budget: u64,
}

impl Config {
    /// Reads and checks the settings.
    pub fn from_settings(settings: &Settings) -> Result<Self> {
        checked(Simd::from_env())?;
        let cores = available_parallelism().map_or(1, NonZero::get);
        let threads = |key: &str, default: usize| {
            let asked = settings.usize(key, 0..=1_024)?;
            Ok(if asked == 0 { default } else { asked })
        };
        Ok(Self {
            node: NodeConfig::from_settings(settings, Role::Shard)?,
            hnsw: Options {
                m: settings.usize("hnsw.m", 2..=128)?,
                ef_construction: settings.usize("hnsw.ef_construction", 8..=4_096)?,
                seed: 0,
            },
            search_threads: threads("shard.search_threads", cores)?,
            search_queue: settings.usize("shard.search_queue", 1..=1_000_000)?,
            build_threads: threads("shard.build_threads", cores.div_ceil(2))?,
            apply_threads: threads("shard.apply_threads", cores.min(4))?,
            compact_threads: NonZero::new(threads("shard.compact_threads", cores.div_ceil(4))?)
                .unwrap_or(NonZero::<usize>::MIN),
            snapshot_every: settings.usize("shard.snapshot_every", 0..=1 << 50)?,
            snapshots_kept: settings.usize("shard.snapshots_kept", 1..=1_000)?,
            memory_budget: budget(settings)?,
        })
    }
}

fn budget(settings: &Settings) -> Result<u64> {
    match settings.u64("shard.memory_budget", 0..=1 << 50)? {
        0 => Ok((memory::limit() / 4 * 3).max(BUDGET_MIN)),
        bytes if bytes < BUDGET_MIN => Err(settings.bad(
            "shard.memory_budget",
            &format!("0, or a whole number from {BUDGET_MIN} to {}", 1_u64 << 50),
        )),
        bytes => Ok(bytes),
    }
}

/// Refuses an instruction set that is not there: the kernels would pass over it without a word.
fn checked(simd: Result<Option<Simd>, UnknownSimd>) -> Result<()> {
    simd.map(drop).map_err(|error| {
        Error::new(ErrorCode::InvalidValue, error.to_string())
            .field(SIMD_ENV)
            .limit(UnknownSimd::accepted())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instruction_set_that_is_not_there_is_refused() {
        let error = checked(Simd::forced("avx1024")).unwrap_err();
        assert_eq!(
            (error.code, error.field.as_deref()),
            (ErrorCode::InvalidValue, Some(SIMD_ENV))
        );
        assert!(error.limit.is_some_and(|limit| limit.contains("scalar")));
        assert!(checked(Simd::forced("scalar")).is_ok() && checked(Ok(None)).is_ok());
    }
}
