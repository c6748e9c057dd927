//! Filtered searches beside the peers.

use anyhow::{Context, Result, ensure};

use super::{
    beside::Lazy,
    curve::{common, qps_at, under_filters},
    only_full,
    ours::SQ4_F16,
    peers::Run,
};
use crate::report::{Report, Required::AtLeast};

const FILTERS: [&str; 3] = ["f1", "f10", "f50"];
const RECALL: f64 = 0.95;
/// Peers that filter; without them there is nothing to compare with.
const FILTERING: [&str; 3] = ["hnswlib", "faiss-hnsw-sq8", "faiss-flat"];

/// Measures the bars.
pub(super) fn bars(report: &mut Report, lazy: &Lazy<'_>) {
    for filter in FILTERS {
        let ratio = |also: Option<f64>| -> Result<f64> {
            let run = lazy.run()?;
            let ours = ours(run, filter, lazy.efs())?;
            let peers = libraries(run, filter)?.into_iter().chain(also);
            Ok(ours / peers.reduce(f64::max).context("no peer reached the recall")?)
        };
        // The short run asks few.
        let libraries = if lazy.args.full {
            "best-library"
        } else {
            "three-libraries"
        };
        report.bar(
            &format!("filter-{filter}-qps95-vs-{libraries}"),
            AtLeast(1.5),
            || ratio(None),
        );
        report.bar(
            &format!("filter-{filter}-qps95-vs-best-peer"),
            AtLeast(1.5),
            || {
                only_full(lazy.args)?;
                let qdrant = lazy.qdrant()?.qps_at_95(filter)?;
                say("qdrant", filter, qdrant);
                ratio(qdrant)
            },
        );
        report.bar(&format!("filter-{filter}-recall10"), AtLeast(0.95), || {
            let points = lazy.run()?.engine(SQ4_F16.name)?.filtered(filter);
            // 0 is the width of a search that names none.
            let default = points.iter().find(|point| point.ef == 0);
            Ok(default.context("no search at the default width")?.recall)
        });
    }
}

/// Ours, read between the same efs as the peers.
fn ours(run: &Run, filter: &str, efs: &[u64]) -> Result<f64> {
    let points = run.engine(SQ4_F16.name)?.filtered(filter);
    let qps = qps_at(&common(&points, &under_filters(efs)), RECALL);
    say(SQ4_F16.name, filter, qps);
    qps.with_context(|| format!("{} does not reach {RECALL}", SQ4_F16.name))
}

/// All peers that reach the recall.
fn libraries(run: &Run, filter: &str) -> Result<Vec<f64>> {
    for name in FILTERING {
        let points = run.engine(name)?.filtered(filter);
        ensure!(!points.is_empty(), "{name} did not search under {filter}");
    }
    let mut speeds = Vec::new();
    for peer in run.peers() {
        let points = peer.filtered(filter);
        if !points.is_empty() {
            let qps = qps_at(&points, RECALL);
            say(&peer.name, filter, qps);
            speeds.extend(qps);
        }
    }
    Ok(speeds)
}

fn say(name: &str, filter: &str, qps: Option<f64>) {
    match qps {
        Some(qps) => eprintln!("  {name:24} {qps:8.0} QPS at {RECALL} under {filter}"),
        None => eprintln!("  {name:24} does not reach {RECALL} under {filter}"),
    }
}
