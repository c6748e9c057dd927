//! One run of the peers' benchmark with our engine beside them.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{binary, python, results};
use crate::{IndexArgs, report::NotRun, run::run};

/// What a run found, per engine.
pub(super) struct Run {
    engines: Vec<Engine>,
}

/// One engine's medians.
pub(super) struct Engine {
    pub(super) name: String,
    summary: Value,
}

/// A point of a curve.
#[derive(Debug, Clone, Copy)]
pub(super) struct Point {
    pub(super) ef: u64,
    pub(super) recall: f64,
    pub(super) qps: f64,
}

/// How to run it.
pub(super) struct Setup<'a> {
    /// Name of the run, for its files.
    pub(super) name: &'a str,
    pub(super) dataset: &'a str,
    /// Names as the benchmark knows them, with commas; `all` for all.
    pub(super) peers: &'a str,
    /// Ours: names, and what follows `bench ann`.
    pub(super) ours: &'a [(&'a str, &'a str)],
    pub(super) threads: &'a str,
    pub(super) ef: &'a str,
    pub(super) rounds: &'a str,
    pub(super) filters: bool,
}

impl Run {
    /// Runs the peers and ours in turn.
    pub(super) fn new(args: &IndexArgs, setup: &Setup<'_>) -> Result<Self> {
        let python = python(args)?;
        let script = script(args, "peers.py")?;
        let out = results()
            .join(format!("index-{}.json", setup.name))
            .display()
            .to_string();
        let commands = setup
            .ours
            .iter()
            .map(|(name, options)| format!("{name}={} bench ann --json {options}", binary()));
        let commands: Vec<String> = commands.collect();
        let mut words = vec![
            script.as_str(),
            "--dataset",
            setup.dataset,
            "--peers",
            setup.peers,
            "--threads",
            setup.threads,
            "--ef",
            setup.ef,
            "--rounds",
            setup.rounds,
            "--out",
            &out,
        ];
        for command in &commands {
            words.extend(["--command", command]);
        }
        if setup.filters {
            words.push("--filters");
        }
        run(&python, &words)?;
        Self::read(Path::new(&out))
    }

    fn read(path: &Path) -> Result<Self> {
        let document: Value = serde_json::from_slice(&fs::read(path)?)?;
        let results = document["results"].as_array().context("no results")?;
        let engines: Vec<Engine> = results
            .iter()
            .filter(|summary| !summary["search"].as_array().is_none_or(Vec::is_empty))
            .map(|summary| Engine {
                name: summary["name"].as_str().unwrap_or_default().to_owned(),
                summary: summary.clone(),
            })
            .collect();
        Ok(Self { engines })
    }

    /// An engine by name.
    pub(super) fn engine(&self, name: &str) -> Result<&Engine> {
        let engine = self.engines.iter().find(|engine| engine.name == name);
        engine.with_context(|| format!("{name} did not run"))
    }

    /// The engines that are not ours.
    pub(super) fn peers(&self) -> impl Iterator<Item = &Engine> {
        self.engines.iter().filter(|engine| !engine.is_ours())
    }

    /// Ours.
    pub(super) fn ours(&self) -> impl Iterator<Item = &Engine> {
        self.engines.iter().filter(|engine| engine.is_ours())
    }
}

impl Engine {
    fn is_ours(&self) -> bool {
        self.name.starts_with("longbow-")
    }

    /// Queries a second at a recall, one query for each call. A peer's calls cost a Python call each, so its batches of
    /// one thread are what counts, where it has them.
    pub(super) fn qps_at(&self, recall: f64) -> Option<f64> {
        let at = &self.summary["at"][format!("{recall:.2}")];
        let keys: &[&str] = if self.is_ours() {
            &["qps"]
        } else {
            &["batch1_qps", "qps"]
        };
        let speeds = keys.iter().filter_map(|&key| at[key].as_f64());
        speeds.reduce(f64::max)
    }

    /// Seconds of a build with so many threads.
    pub(super) fn build_seconds(&self, threads: u64) -> Result<f64> {
        self.build(threads, "seconds")
    }

    /// Memory that a build with so many threads took.
    pub(super) fn build_mb(&self, threads: u64) -> Result<f64> {
        self.build(threads, "rss_mb")
    }

    fn build(&self, threads: u64, key: &str) -> Result<f64> {
        let builds = self.summary["build"].as_array().context("no builds")?;
        let build = builds.iter().find(|build| build["threads"] == threads);
        let value = build.and_then(|build| build[key].as_f64());
        value.with_context(|| format!("{} was not built with {threads} threads", self.name))
    }

    /// The curve, by ef.
    pub(super) fn curve(&self) -> Vec<Point> {
        points(&self.summary["search"], |_| true)
    }

    /// The curve under a filter.
    pub(super) fn filtered(&self, filter: &str) -> Vec<Point> {
        points(&self.summary["filter"], |line| line["filter"] == filter)
    }

    /// A number of every search line.
    pub(super) fn searches(&self, key: &str) -> Vec<(f64, f64)> {
        let lines = self.summary["search"].as_array().into_iter().flatten();
        lines
            .filter_map(|line| Some((line["recall10"].as_f64()?, line[key].as_f64()?)))
            .collect()
    }
}

/// The fastest of the points that reach a recall.
pub(super) fn fastest(points: &[Point], recall: f64) -> Option<f64> {
    let reached = points.iter().filter(|point| point.recall >= recall);
    reached.map(|point| point.qps).reduce(f64::max)
}

fn points(lines: &Value, which: impl Fn(&Value) -> bool) -> Vec<Point> {
    let lines = lines.as_array().into_iter().flatten().filter(|line| which(line));
    let point = |line: &Value| {
        Some(Point {
            ef: line["ef"].as_u64()?,
            recall: line["recall10"].as_f64()?,
            qps: line["qps"].as_f64()?,
        })
    };
    lines.filter_map(point).collect()
}

/// Filtered speeds at recall 0.95 of the embedded engine of Qdrant, in the order f1, f10, f50.
pub(super) fn qdrant(args: &IndexArgs, dataset: &str) -> Result<[f64; 3]> {
    let out = results().join("index-qdrant.json").display().to_string();
    let work = tempfile::tempdir()?;
    let (python, script) = (args.e2e_python.display().to_string(), script(args, "e2e.py")?);
    if run(&python, &["-c", "import qdrant_edge"]).is_err() {
        bail!(NotRun(format!(
            "{python} has no qdrant_edge: name one with --e2e-python"
        )));
    }
    let folder = work.path().display().to_string();
    run(
        &python,
        &[
            &script,
            "--dataset",
            dataset,
            "--engines",
            "qdrant",
            "--work",
            &folder,
            "--out",
            &out,
        ],
    )?;
    let document: Value = serde_json::from_slice(&fs::read(&out)?)?;
    let at = &document["qdrant"]["at95"];
    let speed = |filter: &str| {
        at[filter]
            .as_f64()
            .with_context(|| format!("no speed under {filter}"))
    };
    Ok([speed("f1")?, speed("f10")?, speed("f50")?])
}

fn script(args: &IndexArgs, name: &str) -> Result<String> {
    let Some(folder) = &args.peers else {
        bail!(NotRun(
            "the peers' benchmark is elsewhere: name its folder with --peers".to_owned()
        ));
    };
    let script = folder.join(name);
    if !script.exists() {
        bail!(NotRun(format!("no {}", script.display())));
    }
    Ok(script.canonicalize()?.display().to_string())
}
