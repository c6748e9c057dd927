//! Running commands and measuring what they cost.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::report::NotRun;

/// What a suite of foreign tools exits with when it cannot run here.
const EXIT_NOT_RUN: i32 = 77;

/// Wall and CPU time of a finished command, and what it printed.
pub struct Cost {
    /// Wall time.
    pub wall: Duration,
    /// User and system time of it and its children.
    pub cpu: Duration,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// Top of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Runs a command at the top of the repository; fails with its standard error if it fails.
pub fn run(program: &str, args: &[&str]) -> Result<Cost> {
    let before = children_cpu();
    let started = Instant::now();
    let output = Command::new(program)
        .args(args)
        .current_dir(root())
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("starting {program}"))?;
    let wall = started.elapsed();
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.code() == Some(EXIT_NOT_RUN) {
        bail!(NotRun(tail(&stdout)));
    }
    ensure!(
        output.status.success(),
        "{program} {args:?} ended with {}:\n{}\n{}",
        output.status,
        tail(&stdout),
        tail(&stderr)
    );
    Ok(Cost {
        wall,
        cpu: children_cpu() - before,
        stdout,
        stderr,
    })
}

/// As [`run`], for a command that runs Rust tests. That none ran is a failure: a filter that matches nothing would pass.
pub fn run_tests(program: &str, args: &[&str]) -> Result<Cost> {
    let cost = run(program, args)?;
    let passed = tests_passed(&cost.stdout);
    ensure!(passed > 0, "{program} {args:?}: no test ran");
    eprintln!("  {passed} tests passed");
    Ok(cost)
}

/// Tests that passed, of all the harnesses that printed a result.
fn tests_passed(stdout: &str) -> u64 {
    let results = stdout.lines().filter_map(|line| {
        let counts = line.trim_start().strip_prefix("test result: ok. ")?;
        counts.split_once(" passed")?.0.parse::<u64>().ok()
    });
    results.sum()
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

fn children_cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<u64> = stat
        .rsplit_once(')')
        .map(|(_, rest)| {
            rest.split_whitespace()
                .map(|word| word.parse().unwrap_or(0))
                .collect()
        })
        .unwrap_or_default();
    let ticks = fields.get(13).copied().unwrap_or(0) + fields.get(14).copied().unwrap_or(0);
    Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// The JSON values among the lines of a text.
pub fn json_lines(text: &str) -> Vec<Value> {
    text.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passed_tests_are_counted_over_all_harnesses() {
        let none = "running 0 tests\n\ntest result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 12 filtered out; finished in 0.00s";
        assert_eq!(tests_passed(none), 0);
        let some =
            "test result: ok. 10 passed; 0 failed; 0 ignored; 0 measured; 2 filtered out; finished in 0.00s";
        assert_eq!(tests_passed(&format!("{none}\n{some}\n{some}")), 20);
        assert_eq!(tests_passed("test result: FAILED. 3 passed; 1 failed"), 0);
        assert_eq!(tests_passed(""), 0);
    }

    #[test]
    fn a_command_without_tests_fails() {
        let one = "echo 'test result: ok. 1 passed; 0 failed'";
        assert!(run_tests("sh", &["-c", one]).is_ok());
        assert!(run_tests("sh", &["-c", "true"]).is_err());
    }
}
