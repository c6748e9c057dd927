//! The bars of the shard.

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
    report::{NotRun, Report, Required::AtLeast},
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
    Ok(report.short())
}

/// Bars that a test decides; they build what is tested first.
fn tested(report: &mut Report, args: &ShardArgs) {
    let tests = |package: &str, filter: &str| {
        if !args.full {
            bail!(NotRun("builds and runs tests: with --full".to_owned()));
        }
        let words = ["test", "-p", package, "--test", "it", "--", "--nocapture", filter];
        run_tests("cargo", &words)
    };
    for (name, package, filter) in [
        ("shard-corrupt-any-byte-typed", "longbow-storage", "damage"),
        ("shard-filters-vs-naive", "longbow-query", "cases"),
        (
            "shard-digests-equal-whatever-the-timing",
            "longbow-storage",
            "a_replica_that_was_restarted_answers_as_one_that_was_not",
        ),
    ] {
        report.holds(name, || tests(package, filter).map(drop));
    }
    for (name, required, package, what) in [
        ("shard-model-sequences", 10_000.0, "longbow-storage", "sequences"),
        ("shard-filter-cases", 100_000.0, "longbow-query", "filters"),
    ] {
        report.bar(name, AtLeast(required), || {
            Ok(told(&tests(package, "")?.stdout, what) as f64)
        });
    }
}

/// How many of something tests say that they held.
fn told(stdout: &str, what: &str) -> u64 {
    // A harness begins the line with the name of the test.
    let told = format!("random {what}: ");
    let counts = stdout
        .lines()
        .filter_map(|line| line.split_once(&told)?.1.trim().parse::<u64>().ok());
    counts.sum()
}

/// The middle one.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::told;

    #[test]
    fn what_tests_tell_is_added_up() {
        let printed =
            "running 2 tests\ntest a ... random sequences: 40\nrandom sequences: 2\nok\nrandom filters: 7\n";
        assert_eq!(told(printed, "sequences"), 42);
        assert_eq!(told(printed, "values"), 0);
    }
}
