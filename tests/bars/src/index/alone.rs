//! What needs no peer: filters of any share, churn, concurrency.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{dataset, only_full, ours::SQ4_F16};
use crate::{
    IndexArgs,
    cached::Cached,
    report::{
        Report,
        Required::{AtLeast, AtMost},
    },
    run::run_tests,
};

/// Shares of the rows that random filters match.
const SHARES: [&str; 2] = ["0.001", "0.9"];
const STRESS_SECONDS: &str = "120";
const STRESS_SECONDS_SHORT: &str = "20";
const RACE_SECONDS: f64 = 600.0;

/// Measures the bars.
pub(super) fn bars(report: &mut Report, args: &IndexArgs) {
    shares(report, args);
    churn(report, args);
    concurrency(report, args);
}

/// Recall under random filters, at the width of a search that names none.
fn shares(report: &mut Report, args: &IndexArgs) {
    let searched = Cached::new();
    for share in SHARES {
        report.bar(&format!("filter-share-{share}-recall10"), AtLeast(0.95), || {
            let lines = searched.get(|| {
                let shares = SHARES.join(",");
                SQ4_F16.bench(&dataset(args)?, &["--threads", "1", "--share", &shares], &["0"])
            })?;
            let line = lines.iter().find(|line| line["filter"] == share);
            line.and_then(|line| line["recall10"].as_f64())
                .context("no filtered search")
        });
    }
}

/// Ten times a fifth of the rows goes and comes back, linked by two threads.
fn churn(report: &mut Report, args: &IndexArgs) {
    let churned = Cached::new();
    let line = || -> Result<&Value> {
        churned.get(|| {
            // What the searches before it take counts for nothing.
            let options = ["--threads", "2", "--seconds", "0", "--churn", "10"];
            let lines = SQ4_F16.bench(&dataset(args)?, &options, &["32", "64"])?;
            let mut lines = lines.into_iter().rev();
            lines.find(|line| line["phase"] == "churn").context("no churn")
        })
    };
    report.bar("churn-recall-lost", AtMost(0.01), || {
        line()?["recall_lost"].as_f64().context("no recall")
    });
    report.bar("churn-qps-over-fresh", AtLeast(0.9), || {
        line()?["qps_over_fresh"].as_f64().context("no speed")
    });
}

fn concurrency(report: &mut Report, args: &IndexArgs) {
    report.bar("stress-8-threads-live-rows-found", AtLeast(0.999), || {
        let seconds = if args.full {
            STRESS_SECONDS
        } else {
            STRESS_SECONDS_SHORT
        };
        let seconds = format!("LONGBOW_STRESS_SECONDS={seconds}");
        let words = [
            "test",
            "--release",
            "-p",
            "longbow-index",
            "--test",
            "it",
            "--",
            "stress",
            "--nocapture",
        ];
        let cost = run_tests("env", &[&[seconds.as_str(), "cargo"], &words[..]].concat())?;
        of_stress(&cost.stdout, "found")
    });
    report.holds("models-of-lock-free-parts", || {
        let words = [
            "test",
            "-p",
            "longbow-index",
            "--features",
            "loom",
            "--lib",
            "models",
        ];
        run_tests("cargo", &words).map(drop)
    });
    report.holds("thread-sanitizer-10-minutes", || {
        only_full(args)?;
        let seconds = format!("LONGBOW_STRESS_SECONDS={RACE_SECONDS}");
        let cost = run_tests("env", &[&seconds, "tests/sanitizers/run", "tsan"])?;
        // The sanitizer writes to standard error, the tests to standard output.
        for text in [&cost.stderr, &cost.stdout] {
            ensure!(!text.contains("WARNING: ThreadSanitizer"), "a data race");
        }
        let seconds = of_stress(&cost.stdout, "seconds")?;
        ensure!(seconds >= RACE_SECONDS, "the stress test took {seconds} s");
        Ok(())
    });
}

/// A number that the stress test printed, the smallest if it ran more than once.
fn of_stress(stdout: &str, key: &str) -> Result<f64> {
    // The line stands behind the test's name.
    let lines = stdout.lines().filter_map(|line| Some(&line[line.find('{')?..]));
    let numbers = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok()?[key].as_f64());
    numbers
        .reduce(f64::min)
        .with_context(|| format!("the stress test did not print {key}"))
}
