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
    if output.status.code() == Some(EXIT_NOT_RUN) {
        bail!(NotRun(tail(&stdout)));
    }
    ensure!(
        output.status.success(),
        "{program} {args:?} ended with {}:\n{}\n{}",
        output.status,
        tail(&stdout),
        tail(&String::from_utf8_lossy(&output.stderr))
    );
    Ok(Cost {
        wall,
        cpu: children_cpu() - before,
        stdout,
    })
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
