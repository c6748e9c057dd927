//! The bars of the first slice.

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use longbow_harness::{
    process::{Process, cpu_time, resident_bytes},
    slaughter,
};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    SliceArgs,
    report::{NotRun, Report, Required::AtLeast, Required::AtMost},
    run::{json_lines, root, run, run_tests},
};

const SLAUGHTER_ROWS: u64 = 100_000;
const SLAUGHTER_SEEDS: u64 = 5;
const IDLE: Duration = Duration::from_secs(20);

/// Measures all bars; true if one is short.
pub fn measure(args: &SliceArgs) -> Result<bool> {
    let mut report = Report::new(&args.only);
    run("cargo", &["build", "--release", "-p", "longbow"])?;
    durability(&mut report);
    recall(&mut report, args);
    bad_input(&mut report);
    footprint(&mut report);
    clients(&mut report);
    builds(&mut report);
    Ok(report.short())
}

fn binary() -> PathBuf {
    root().join("target/release/longbow")
}

fn durability(report: &mut Report) {
    for seed in 1..=SLAUGHTER_SEEDS {
        report.holds(&format!("kill9-{SLAUGHTER_ROWS}-rows-seed-{seed}"), || {
            let runtime = tokio::runtime::Runtime::new()?;
            let verdict = runtime.block_on(slaughter::run(&binary(), SLAUGHTER_ROWS, seed))?;
            eprintln!("seed {seed}: {verdict:?}");
            Ok(())
        });
    }
}

fn recall(report: &mut Report, args: &SliceArgs) {
    for element in ["f16", "f32"] {
        report.bar(
            &format!("recall10-wordnet-{element}-defaults"),
            AtLeast(0.95),
            || {
                if !args.dataset.join("query.f16.npy").exists() {
                    bail!(NotRun(format!("no data set in {}", args.dataset.display())));
                }
                let dataset = args.dataset.display().to_string();
                let binary = binary().display().to_string();
                let cost = run(
                    &binary,
                    &["bench", "ann", &dataset, "--json", "--element", element],
                )?;
                // `ef` 0 is the width of a search that names none.
                let lines = json_lines(&cost.stdout);
                let default = lines
                    .iter()
                    .find(|line| line["phase"] == "search" && line["ef"] == 0);
                default
                    .and_then(|line| line["recall10"].as_f64())
                    .context("no search at default settings")
            },
        );
    }
}

fn bad_input(report: &mut Report) {
    report.holds("bad-input-typed-quick-harmless", || {
        integration(&["bad_input", "garbage"])
    });
    report.holds("config-typo-typed", || integration(&["config"]));
}

/// Runs integration tests by name.
fn integration(names: &[&str]) -> Result<()> {
    let mut args = vec!["test", "-p", "longbow", "--test", "integration", "--"];
    args.extend(names);
    run_tests("cargo", &args).map(drop)
}

fn footprint(report: &mut Report) {
    if !["idle-cpu-percent-of-a-core", "idle-rss-mb", "ready-seconds"]
        .iter()
        .any(|name| report.wants(name))
    {
        return;
    }
    let measured = match idle() {
        Ok(measured) => measured,
        Err(error) => return report.holds("idle-demo", || Err(error)),
    };
    report.bar("idle-cpu-percent-of-a-core", AtMost(2.0), || {
        Ok(measured.cpu_percent)
    });
    report.bar("idle-rss-mb", AtMost(150.0), || Ok(measured.rss_mb));
    report.bar("ready-seconds", AtMost(2.0), || Ok(measured.ready_seconds));
}

struct Idle {
    cpu_percent: f64,
    rss_mb: f64,
    ready_seconds: f64,
}

/// Starts the demo on an empty directory, lets it do its checks, and watches it do nothing.
fn idle() -> Result<Idle> {
    let dir = TempDir::new()?;
    let argv = [
        binary().display().to_string(),
        "demo".into(),
        "--json".into(),
        "--data-dir".into(),
        dir.path().join("data").display().to_string(),
    ];
    let started = Instant::now();
    let mut demo = Process::start(&argv, &[], &dir.path().join("log"))?;
    let mut ready_seconds = None;
    for line in BufReader::new(demo.stdout().context("standard output is piped")?).lines() {
        let event: Value = serde_json::from_str(&line?)?;
        match event["event"].as_str() {
            Some("ready") => ready_seconds = Some(started.elapsed().as_secs_f64()),
            Some("serving") => break,
            _ => {}
        }
    }
    let ready_seconds = ready_seconds.with_context(|| format!("never ready:\n{}", demo.log()))?;
    std::thread::sleep(Duration::from_secs(5));
    let (before, from) = (cpu_time(demo.pid())?, Instant::now());
    std::thread::sleep(IDLE);
    let used = cpu_time(demo.pid())? - before;
    let cpu_percent = 100.0 * used.as_secs_f64() / from.elapsed().as_secs_f64();
    let rss_mb = resident_bytes(demo.pid())? as f64 / 1e6;
    let status = demo.terminate(Duration::from_secs(20))?;
    ensure!(status.success(), "the demo ended with {status} after SIGTERM");
    Ok(Idle {
        cpu_percent,
        rss_mb,
        ready_seconds,
    })
}

fn clients(report: &mut Report) {
    let binary = binary().display().to_string();
    for (suite, name) in [
        ("flight", "pyarrow-put-search-fetch-10000-rows"),
        ("grpc", "grpcio-stubs-write-and-search"),
        ("prometheus", "promtool-metrics-alert-unit-test"),
        ("helm", "helm-lint-template-schema"),
    ] {
        report.holds(name, || run("tests/foreign/run", &[&binary, suite]).map(drop));
    }
}

fn builds(report: &mut Report) {
    report.bar("cold-release-build-cpu-minutes", AtMost(25.0), || {
        let dir = root().join("target/bars/cold");
        let _ = std::fs::remove_dir_all(&dir);
        let target = dir.display().to_string();
        let cost = run("cargo", &["build", "--release", "--target-dir", &target])?;
        let _ = std::fs::remove_dir_all(&dir);
        Ok(cost.cpu.as_secs_f64() / 60.0)
    });
    report.bar("touch-leaf-test-build-seconds", AtMost(60.0), || {
        run("cargo", &["test", "--workspace", "--no-run"])?;
        let leaf = root().join("crates/types/src/lib.rs");
        std::fs::File::options()
            .append(true)
            .open(leaf)?
            .set_modified(std::time::SystemTime::now())?;
        Ok(run("cargo", &["test", "--workspace", "--no-run"])?
            .wall
            .as_secs_f64())
    });
    report.bar("test-suite-minutes", AtMost(10.0), || {
        Ok(run("cargo", &["test", "--workspace"])?.wall.as_secs_f64() / 60.0)
    });
}
