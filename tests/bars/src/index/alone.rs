//! What needs no peer: filters of any share, churn, concurrency.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{binary, dataset, only_full};
use crate::{
    IndexArgs,
    cached::Cached,
    report::{
        Report,
        Required::{AtLeast, AtMost},
    },
    run::{json_lines, run},
};

const STRESS_SECONDS: &str = "120";
const STRESS_SECONDS_SHORT: &str = "20";
const RACE_SECONDS: &str = "600";

/// Measures the bars.
pub(super) fn bars(report: &mut Report, args: &IndexArgs) {
    shares(report, args);
    churn(report, args);
    concurrency(report, args);
}

/// Recall under random filters.
fn shares(report: &mut Report, args: &IndexArgs) {
    for share in ["0.001", "0.9"] {
        report.bar(&format!("filter-share-{share}-recall10"), AtLeast(0.95), || {
            let words = [
                "bench",
                "ann",
                "--json",
                "--element",
                "f16",
                "--codes",
                "sq4",
                "--share",
                share,
            ];
            let cost = run(
                &binary(),
                &[&words[..], &[&dataset(args)?, "16", "200", "0"]].concat(),
            )?;
            let lines = json_lines(&cost.stdout);
            let line = lines.iter().find(|line| line["phase"] == "filter");
            line.and_then(|line| line["recall10"].as_f64())
                .context("no filtered search")
        });
    }
}

/// Ten times a fifth of the rows goes and comes back.
fn churn(report: &mut Report, args: &IndexArgs) {
    let churned = Cached::new();
    let line = || -> Result<&Value> {
        churned.get(|| {
            let words = [
                "bench",
                "ann",
                "--json",
                "--element",
                "f16",
                "--codes",
                "sq4",
                "--churn",
                "10",
            ];
            let cost = run(
                &binary(),
                &[&words[..], &[&dataset(args)?, "16", "200", "32", "64"]].concat(),
            )?;
            let lines = json_lines(&cost.stdout).into_iter();
            lines
                .rev()
                .find(|line| line["phase"] == "churn")
                .context("no churn")
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
        let cost = run("env", &[&[seconds.as_str(), "cargo"], &words[..]].concat())?;
        // The line stands behind the test's name.
        let lines = cost
            .stdout
            .lines()
            .filter_map(|line| Some(&line[line.find('{')?..]));
        let shares = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok()?["found"].as_f64());
        shares
            .reduce(f64::min)
            .context("the stress test printed no share")
    });
    report.holds("models-of-lock-free-parts", || {
        run(
            "cargo",
            &[
                "test",
                "-p",
                "longbow-index",
                "--features",
                "loom",
                "--lib",
                "models",
            ],
        )
        .map(drop)
    });
    report.holds("thread-sanitizer-10-minutes", || {
        only_full(args)?;
        let seconds = format!("LONGBOW_STRESS_SECONDS={RACE_SECONDS}");
        let cost = run("env", &[&seconds, "tests/sanitizers/run", "tsan"])?;
        ensure!(!cost.stdout.contains("WARNING: ThreadSanitizer"), "a data race");
        Ok(())
    });
}
