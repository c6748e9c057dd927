//! One run of the peers' benchmark with our engine beside them.

use std::fs;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::{curve::Point, ours::Ours, python, results};
use crate::{IndexArgs, report::NotRun, run::run};

/// What a run found, per engine.
#[derive(Debug)]
pub(super) struct Run {
    engines: Vec<Engine>,
}

/// One engine's medians.
#[derive(Debug)]
pub(super) struct Engine {
    pub(super) name: String,
    summary: Value,
}

/// How to run it.
pub(super) struct Setup<'a> {
    /// Name of the run, for its files.
    pub(super) name: &'a str,
    pub(super) dataset: &'a str,
    /// Names as the benchmark knows them, with commas; `all` for all.
    pub(super) peers: &'a str,
    /// Without these the run is worth nothing.
    pub(super) required: &'a [&'a str],
    /// These must have been tried.
    pub(super) tried: &'a [&'a str],
    /// Ours, each with options of this run.
    pub(super) ours: &'a [(&'a Ours, &'a [&'a str])],
    pub(super) threads: &'a str,
    pub(super) ef: &'a [u64],
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
            .map(|(ours, options)| format!("{}={}", ours.name, ours.command(setup.dataset, options)));
        let commands: Vec<String> = commands.collect();
        let efs: Vec<String> = setup.ef.iter().map(u64::to_string).collect();
        let efs = efs.join(",");
        let mut words = vec![
            script.as_str(),
            "--dataset",
            setup.dataset,
            "--peers",
            setup.peers,
            "--threads",
            setup.threads,
            "--ef",
            &efs,
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
        let document: Value = serde_json::from_slice(&fs::read(out)?)?;
        let ours: Vec<&str> = setup.ours.iter().map(|(ours, _)| ours.name).collect();
        Self::read(&document, &[setup.required, &ours].concat(), setup.tried)
    }

    /// Reads what the benchmark wrote. What failed is printed, and an error if it is required; of an engine that failed
    /// half way what it did is kept, because a bar must not get easier by that.
    fn read(document: &Value, required: &[&str], tried: &[&str]) -> Result<Self> {
        let results = document["results"].as_array().context("no results")?;
        let mut engines = Vec::new();
        let (mut names, mut missing) = (Vec::new(), Vec::new());
        for summary in results {
            let name = summary["name"].as_str().context("a result has no name")?;
            names.push(name);
            let searches = summary["search"].as_array().map_or(&[][..], Vec::as_slice);
            let failure = match (summary["error"].as_str(), searches.is_empty()) {
                (Some(error), _) => Some(error),
                (None, true) => Some("it did not search"),
                (None, false) => None,
            };
            if let Some(failure) = failure {
                eprintln!("  {name} failed: {failure}");
                if required.contains(&name) {
                    missing.push(format!("{name} ({failure})"));
                }
            }
            let engine = Engine {
                name: name.to_owned(),
                summary: summary.clone(),
            };
            let has_batches = searches.iter().all(|line| line["batch1_qps"].is_number());
            ensure!(
                engine.is_ours() || has_batches,
                "{name} has no batches of one thread, and its single calls cost a Python call each"
            );
            if !searches.is_empty() {
                engines.push(engine);
            }
        }
        let absent = required.iter().chain(tried).filter(|name| !names.contains(name));
        missing.extend(absent.map(|name| format!("{name} (never tried)")));
        ensure!(
            missing.is_empty(),
            "missing in the comparison: {}",
            missing.join(", ")
        );
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
    /// one thread are what counts, unless they are slower.
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

    /// Mebibytes that a build with so many threads took.
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

    /// The curve under a filter, by ef.
    pub(super) fn filtered(&self, filter: &str) -> Vec<Point> {
        points(&self.summary["filter"], |line| line["filter"] == filter)
    }

    /// A number of the search with an ef.
    pub(super) fn number(&self, ef: u64, key: &str) -> Option<f64> {
        let mut lines = self.summary["search"].as_array()?.iter();
        lines.find(|line| line["ef"] == ef)?[key].as_f64()
    }
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
    let mut points: Vec<Point> = lines.filter_map(point).collect();
    points.sort_by_key(|point| point.ef);
    points
}

/// A script of the peers' benchmark, or why there is none.
pub(super) fn script(args: &IndexArgs, name: &str) -> Result<String> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn engine(name: &str, mut more: Value) -> Value {
        let mut summary = json!({"name": name, "build": [{"threads": 1, "seconds": 7.0, "rss_mb": 9.0}],
            "search": [{"ef": 64, "recall10": 0.97, "qps": 50.0, "batch1_qps": 60.0},
                       {"ef": 16, "recall10": 0.93, "qps": 90.0, "batch1_qps": 80.0}],
            "filter": [{"filter": "f1", "ef": 16, "recall10": 0.9, "qps": 5.0}],
            "at": {"0.95": {"qps": 70.0, "batch1_qps": 75.0}}});
        summary
            .as_object_mut()
            .unwrap()
            .append(more.as_object_mut().unwrap());
        summary
    }

    fn read(engines: &[Value], required: &[&str], tried: &[&str]) -> Result<Run> {
        Run::read(&json!({"results": engines}), required, tried)
    }

    #[test]
    fn a_required_peer_that_failed_is_named() {
        for failure in [
            json!({"search": []}),
            json!({"error": "no module named b", "search": []}),
            json!({"error": "died while searching"}),
        ] {
            let engines = [engine("a", json!({})), engine("b", failure)];
            assert_eq!(read(&engines, &["a"], &["b"]).unwrap().engines[0].name, "a");
            let error = read(&engines, &["a", "b"], &[]).unwrap_err().to_string();
            assert!(error.contains("b (") && !error.contains("a ("), "{error}");
        }
    }

    #[test]
    fn a_peer_that_nobody_tried_is_named() {
        let engines = [engine("a", json!({}))];
        for (required, tried) in [(&["c"][..], &[][..]), (&[], &["c"])] {
            let error = read(&engines, required, tried).unwrap_err().to_string();
            assert!(error.contains("c (never tried)"), "{error}");
        }
    }

    #[test]
    fn what_a_failed_peer_did_still_counts() {
        let failed = engine("a", json!({"error": "out of memory"}));
        assert_eq!(read(&[failed], &[], &[]).unwrap().peers().count(), 1);
    }

    #[test]
    fn a_peer_without_batches_is_an_error_and_ours_needs_none() {
        let search = json!({"search": [{"ef": 16, "recall10": 0.93, "qps": 90.0}]});
        assert!(read(&[engine("a", search.clone())], &[], &[]).is_err());
        let ours = engine("longbow-f32", search);
        assert_eq!(read(&[ours], &[], &[]).unwrap().ours().count(), 1);
    }

    #[test]
    fn peers_count_by_their_better_figure_and_ours_by_single_queries() {
        let engines = [engine("a", json!({})), engine("longbow-f32", json!({}))];
        let run = read(&engines, &[], &[]).unwrap();
        assert_eq!(run.engine("a").unwrap().qps_at(0.95), Some(75.0));
        assert_eq!(run.engine("longbow-f32").unwrap().qps_at(0.95), Some(70.0));
        assert_eq!(run.engine("a").unwrap().qps_at(0.99), None);
        assert!(run.engine("b").is_err());
    }

    #[test]
    fn curves_are_sorted_and_numbers_found() {
        let run = read(&[engine("a", json!({}))], &[], &[]).unwrap();
        let a = run.engine("a").unwrap();
        let efs: Vec<u64> = a.curve().iter().map(|point| point.ef).collect();
        assert_eq!(efs, [16, 64]);
        assert_eq!((a.filtered("f1").len(), a.filtered("f10").len()), (1, 0));
        assert_eq!((a.number(64, "qps"), a.number(65, "qps")), (Some(50.0), None));
        assert_eq!(a.build_mb(1).unwrap(), 9.0);
        assert!(a.build_seconds(2).is_err());
    }
}
