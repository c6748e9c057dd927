//! Filtered searches of a shard's index at its defaults, beside unfiltered ones and an exact scan of what matches.

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{
    ShardArgs,
    cached::Cached,
    report::{NotRun, Report, Required::AtLeast},
    run::{json_lines, root, run},
};

/// Filters of the data set, and a random one that matches one row of a thousand.
const FILTERS: [(&str, &str); 4] = [
    ("f1", "f1"),
    ("f10", "f10"),
    ("f50", "f50"),
    ("one-of-1000", "0.001"),
];
/// What two runs of the benchmark printed: searches as a planner chooses, and exact scans.
struct Lines {
    planned: Vec<Value>,
    exact: Vec<Value>,
}

pub(super) fn bars(report: &mut Report, args: &ShardArgs) {
    let measured = Cached::new();
    let lines = || measured.get(|| measure(args));
    for (name, filter) in FILTERS {
        report.bar(&format!("shard-filtered-recall10-{name}"), AtLeast(0.95), || {
            number(&lines()?.planned, Some(filter), "recall10")
        });
    }
    for (filter, least) in [("f50", 0.5), ("f10", 0.3)] {
        let name = format!("shard-filtered-qps-{filter}-over-unfiltered");
        report.bar(&name, AtLeast(least), || {
            let planned = &lines()?.planned;
            Ok(number(planned, Some(filter), "qps")? / number(planned, None, "qps")?)
        });
    }
    report.bar("shard-filtered-qps-over-exact-scan-worst", AtLeast(1.0), || {
        let Lines { planned, exact } = lines()?;
        let ratios = FILTERS.iter().map(|(name, filter)| {
            let qps = |lines| number(lines, Some(filter), "qps");
            let ratio = qps(planned)? / qps(exact)?;
            eprintln!("  {name:12} {ratio:.2} times an exact scan's searches");
            Ok(ratio)
        });
        let ratios = ratios.collect::<Result<Vec<f64>>>()?;
        ratios.into_iter().reduce(f64::min).context("no filter")
    });
}

fn measure(args: &ShardArgs) -> Result<Lines> {
    if !args.dataset.join("query.f16.npy").exists() {
        bail!(NotRun(format!("no data set in {}", args.dataset.display())));
    }
    run("cargo", &["build", "--release", "-p", "longbow"])?;
    let dataset = args.dataset.canonicalize()?.display().to_string();
    let binary = root().join("target/release/longbow").display().to_string();
    let folder = tempfile::tempdir_in(root().join("target"))?;
    let image = folder.path().join("image").display().to_string();
    let bench = |more: &[&str]| -> Result<Vec<Value>> {
        let words = [
            "bench",
            "ann",
            "--json",
            "--codes",
            "sq8",
            "--threads",
            "2",
            "--filters",
            "--share",
            "0.001",
            "--image",
            &image,
        ];
        let place = [dataset.as_str(), "16", "200", "0"];
        let printed = run(&binary, &[&words, more, &place].concat())?;
        Ok(json_lines(&printed.stdout))
    };
    Ok(Lines {
        planned: bench(&[])?,
        exact: bench(&["--exact"])?,
    })
}

/// A number of a search, of an unfiltered one if no filter is named.
fn number(lines: &[Value], filter: Option<&str>, key: &str) -> Result<f64> {
    let phase = if filter.is_some() { "filter" } else { "search" };
    let is_it =
        |line: &&Value| line["phase"] == phase && filter.is_none_or(|filter| line["filter"] == filter);
    let line = lines.iter().find(is_it).with_context(|| format!("no {phase}"))?;
    line[key].as_f64().with_context(|| format!("no {key}"))
}
