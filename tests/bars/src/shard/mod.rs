//! The bars of the shard. What nothing measures yet is named and not run.

mod apply;
mod blocks;
mod churn;

use anyhow::{Result, bail};

use crate::{
    ShardArgs,
    report::{
        NotRun, Report,
        Required::{self, AtLeast, AtMost},
    },
    run::run_tests,
};

pub use churn::print as print_churned;

/// Measures all bars; true if one is short.
pub fn measure(args: &ShardArgs) -> Result<bool> {
    let mut report = Report::new(&args.only);
    blocks::bars(&mut report, args)?;
    churn::bars(&mut report, args);
    apply::bars(&mut report, args);
    tested(&mut report, args);
    for (name, required, why) in NOT_RUN {
        report.bar(name, *required, || bail!(NotRun((*why).to_owned())));
    }
    Ok(report.short())
}

/// Bars that a test decides; they build what is tested first.
fn tested(report: &mut Report, args: &ShardArgs) {
    for (name, package, filter) in [
        ("shard-corrupt-any-byte-typed", "longbow-storage", "damage"),
        ("shard-filters-vs-naive", "longbow-query", "filter"),
    ] {
        report.holds(name, || {
            if !args.full {
                bail!(NotRun("builds and runs tests: with --full".to_owned()));
            }
            run_tests("cargo", &["test", "-p", package, filter]).map(drop)
        });
    }
}

const WRITES: &str = "the model has upserts, deletes, compaction, snapshots, restarts and filters, but no conditional or partial writes \
     and no schema changes yet";
const DIGEST: &str = "replicas keep no digest yet";
const INDEX: &str = "measured at the index: `just bar index --only filter`";
const INGEST: &str = "needs an open-loop driver of searches beside paced ingest";
const PROCESS: &str = "needs a driver that starts a shard with the data set";

/// Bars of the issue that nothing measures yet.
const NOT_RUN: &[(&str, Required, &str)] = &[
    ("shard-model-sequences", AtLeast(10_000.0), WRITES),
    ("shard-digests-equal-whatever-the-timing", AtLeast(1.0), DIGEST),
    (
        "shard-filter-cases",
        AtLeast(100_000.0),
        "its cases are run by `cargo test -p longbow-query`, which does not count them",
    ),
    ("shard-filtered-recall10-f1", AtLeast(0.95), INDEX),
    ("shard-filtered-recall10-f10", AtLeast(0.95), INDEX),
    ("shard-filtered-recall10-f50", AtLeast(0.95), INDEX),
    ("shard-filtered-recall10-one-of-1000", AtLeast(0.95), INDEX),
    ("shard-filtered-qps-f50-over-unfiltered", AtLeast(0.5), INDEX),
    ("shard-filtered-qps-f10-over-unfiltered", AtLeast(0.3), INDEX),
    ("shard-filtered-over-exact-scan-worst", AtLeast(1.0), INDEX),
    ("shard-ingest-search-p99-over-idle", AtMost(2.0), INGEST),
    ("shard-ingest-lock-waits-over-1ms", AtMost(0.0), INGEST),
    ("shard-ingest-recall-lost", AtMost(0.0), INGEST),
    ("shard-logged-to-applied-p99-ms", AtMost(10.0), INGEST),
    ("shard-restart-116659-rows-seconds", AtMost(1.0), PROCESS),
    ("shard-snapshot-longest-search-lock-ms", AtMost(1.0), PROCESS),
    (
        "shard-rss-over-accounted",
        AtMost(1.15),
        "memory is not accounted by component yet",
    ),
];

/// The middle one.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
