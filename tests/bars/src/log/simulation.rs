//! How many seeds the simulation of the group survives.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::run::run_tests;

const SEEDS: u64 = 1_000;

/// Seeds that ran without a fault of the group.
pub(super) fn seeds() -> Result<f64> {
    let seeds = format!("LONGBOW_SIMULATION_SEEDS={SEEDS}");
    let words = [
        seeds.as_str(),
        "cargo",
        "test",
        "--release",
        "-p",
        "longbow-cluster",
        "--lib",
        "nothing_committed_is_lost",
        "--",
        "--nocapture",
    ];
    let stdout = run_tests("env", &words)?.stdout;
    // The line stands behind the test's name.
    let mut lines = stdout
        .lines()
        .filter_map(|line| line.find('{').map(|at| &line[at..]));
    let seeds = lines.find_map(|line| serde_json::from_str::<Value>(line).ok()?["simulated_seeds"].as_f64());
    seeds.context("the simulation did not say how many seeds it ran")
}
