//! The bars of the shard. What nothing measures yet is named and not run.

mod apply;
mod blocks;
mod churn;
mod data;
mod filters;
mod ingest;
mod process;

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
    filters::bars(&mut report, args);
    ingest::bars(&mut report, args);
    process::bars(&mut report, args);
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

const TESTED: &str =
    "tests decide it and do not count: `cargo test -p longbow-storage`, `cargo test -p longbow-query`";

/// Bars of the issue that nothing measures yet.
const NOT_RUN: &[(&str, Required, &str)] = &[
    ("shard-model-sequences", AtLeast(10_000.0), TESTED),
    ("shard-digests-equal-whatever-the-timing", AtLeast(1.0), TESTED),
    ("shard-filter-cases", AtLeast(100_000.0), TESTED),
    (
        "shard-rss-over-accounted",
        AtMost(1.15),
        "a test holds it for little data, and with an allocator that gives back what was freed; not measured at size",
    ),
];

/// The middle one.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
