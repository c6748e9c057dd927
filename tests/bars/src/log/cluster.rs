//! The bars that need clusters of real processes.

use std::{path::PathBuf, time::Duration};

use anyhow::{Result, ensure};

use super::{
    failover::{self, Going, Outages},
    faults, keep, latch, median, none_measured,
};
use crate::{
    LogArgs,
    report::{NotRun, Report, Required::AtMost},
    run::{root, run},
};

const FAILOVER_TRIALS: usize = 20;
const LATCH_TRIALS: usize = 3;
const FAULT_SEEDS: u64 = 2;
const FAULT_SEEDS_FULL: u64 = 20;

/// Real clusters that are hurt.
pub(super) fn measure(report: &mut Report, args: &LogArgs) {
    report.holds("log-faults-none-lost-2-seeds-per-class", || {
        faults::nothing_is_lost(FAULT_SEEDS)
    });
    report.holds("log-faults-full-20-seeds-per-class", || {
        only_full(args)?;
        faults::nothing_is_lost(FAULT_SEEDS_FULL)
    });
    report.holds("log-mutation-test-per-guard", || {
        only_full(args)?;
        faults::mutants_are_caught()
    });
    failovers(report);
    report.bar("log-latch-eio-to-refusal-ms", AtMost(500.0), || {
        let mut each = Vec::new();
        for _ in 0..LATCH_TRIALS {
            each.push(millis(on_a_runtime(latch::eio_to_refusal())?));
        }
        keep("log-latch-eio-to-refusal-ms.json", &format!("{each:?}\n"))?;
        Ok(each.iter().copied().fold(0.0, f64::max))
    });
    report.bar(
        "log-latch-one-of-three-errors-beyond-one-retry",
        AtMost(0.0),
        || Ok(on_a_runtime(latch::one_of_three())? as f64),
    );
}

fn failovers(report: &mut Report) {
    const KILLED: [&str; 2] = [
        "log-failover-kill-median-timeouts",
        "log-failover-kill-worst-timeouts",
    ];
    const ASKED: &str = "log-failover-sigterm-median-ms";
    const FAILED: &str = "log-failover-errors-beyond-one-retry";
    let mut failed = Ok(0);
    if [KILLED[0], KILLED[1], FAILED]
        .iter()
        .any(|name| report.wants(name))
    {
        match on_a_runtime(failover::outages(Going::Killed, FAILOVER_TRIALS)) {
            Ok(Outages { each, failed_twice }) => {
                let timeouts = |outage: &Duration| outage.div_duration_f64(failover::ELECTION_TIMEOUT);
                let each: Vec<f64> = each.iter().map(timeouts).collect();
                failed =
                    keep("log-failover-kill-timeouts.json", &format!("{each:?}\n")).map(|()| failed_twice);
                report.bar(KILLED[0], AtMost(1.5), || Ok(median(&each)));
                let worst = each.iter().copied().fold(0.0, f64::max);
                report.bar(KILLED[1], AtMost(4.5), || Ok(worst));
            }
            Err(error) => {
                none_measured(report, &KILLED, &error);
                failed = Err(error);
            }
        }
    }
    if report.wants(ASKED) || report.wants(FAILED) {
        match on_a_runtime(failover::outages(Going::Asked, FAILOVER_TRIALS)) {
            Ok(Outages { each, failed_twice }) => {
                let each: Vec<f64> = each.into_iter().map(millis).collect();
                let kept = keep("log-failover-sigterm-ms.json", &format!("{each:?}\n"));
                report.bar(ASKED, AtMost(100.0), || Ok(median(&each)));
                failed = failed.and_then(|failed| kept.map(|()| failed + failed_twice));
            }
            Err(error) => {
                none_measured(report, &[ASKED], &error);
                failed = Err(error);
            }
        }
    }
    report.bar(FAILED, AtMost(0.0), || Ok(failed? as f64));
}

/// Builds the program, unless another is named, and runs what hurts it.
pub(super) fn on_a_runtime<T>(measured: impl Future<Output = Result<T>>) -> Result<T> {
    if std::env::var_os(BINARY).is_none() {
        run("cargo", &["build", "--release", "-p", "longbow"])?;
    }
    tokio::runtime::Runtime::new()?.block_on(measured)
}

/// Names the program to measure, as for the tests of faults.
const BINARY: &str = "FAULTS_BINARY";

pub(super) fn binary() -> PathBuf {
    let built = || root().join("target/release/longbow");
    std::env::var_os(BINARY).map_or_else(built, PathBuf::from)
}

pub(super) fn only_full(args: &LogArgs) -> Result<()> {
    ensure!(args.full, NotRun("takes long: --full".to_owned()));
    Ok(())
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
