//! Ten times the rows, and other data.

use anyhow::{Context, Result};

use super::{
    generated, only_full,
    peers::{Run, Setup},
};
use crate::{
    IndexArgs,
    cached::Cached,
    report::{
        Report,
        Required::{AtLeast, AtMost},
    },
};

const EF: &str = "10,16,24,32,48,64,96,128,192,256,400";
const OURS: &[(&str, &str)] = &[
    ("longbow-f32", "--element f32"),
    ("longbow-sq4-f16", "--element f16 --codes sq4"),
];
/// The fastest peers on the data set of the other bars.
const OTHER_PEERS: &str = "hnswlib,faiss-hnsw-sq8,svs-f16";

/// Measures the bars.
pub(super) fn bars(report: &mut Report, args: &IndexArgs) {
    let falls = Cached::new();
    let of = |engine: usize| -> Result<f64> {
        only_full(args)?;
        falls.get(|| fall(args)).map(|falls| falls[engine])
    };
    report.bar("scale-100k-to-1m-fall-of-qps95", AtMost(2.2), || of(0));
    report.bar("scale-100k-to-1m-fall-beside-hnswlib", AtMost(1.0), || {
        Ok(of(0)? / of(1)?)
    });
    others(report, args);
}

/// How many times slower searches at recall 0.95 are on a million rows than on a tenth: ours, then hnswlib's.
fn fall(args: &IndexArgs) -> Result<[f64; 2]> {
    let mut speeds = Vec::new();
    for (name, rows) in [("clustered-100k", "100000"), ("clustered-1m", "1000000")] {
        let dataset = generated(args, name, &["--rows", rows, "--dimension", "96", "--seed", "1"])?;
        let setup = Setup {
            name,
            dataset: &dataset,
            peers: "hnswlib",
            ours: OURS,
            threads: "2",
            ef: EF,
            rounds: "3",
            filters: false,
        };
        let run = Run::new(args, &setup)?;
        let speed = |name| -> Result<f64> {
            let qps = run.engine(name)?.qps_at(0.95).context("0.95 not reached")?;
            eprintln!("  {name:24} {qps:8.0} QPS on {rows} rows");
            Ok(qps)
        };
        speed("longbow-f32")?;
        speeds.push([speed("longbow-sq4-f16")?, speed("hnswlib")?]);
    }
    Ok([speeds[0][0] / speeds[1][0], speeds[0][1] / speeds[1][1]])
}

/// The ratio to the best peer on data that nothing was tuned to, within a fifth of what is asked of the main data set.
fn others(report: &mut Report, args: &IndexArgs) {
    for (name, options) in [
        (
            "mean-200",
            &[
                "--rows",
                "50000",
                "--dimension",
                "200",
                "--seed",
                "2",
                "--mean",
                "1.0",
            ][..],
        ),
        (
            "tails-768",
            &[
                "--rows",
                "30000",
                "--dimension",
                "768",
                "--seed",
                "3",
                "--tail",
                "3",
            ],
        ),
    ] {
        report.bar(
            &format!("other-data-{name}-qps95-vs-best-peer"),
            AtLeast(1.3 * 0.8),
            || {
                only_full(args)?;
                let dataset = generated(args, name, options)?;
                let setup = Setup {
                    name,
                    dataset: &dataset,
                    peers: OTHER_PEERS,
                    ours: OURS,
                    threads: "2",
                    ef: EF,
                    rounds: "3",
                    filters: false,
                };
                let run = Run::new(args, &setup)?;
                let ours = run.ours().filter_map(|engine| engine.qps_at(0.95));
                let ours = ours.reduce(f64::max).context("0.95 not reached")?;
                let peers = run.peers().filter_map(|peer| peer.qps_at(0.95));
                Ok(ours / peers.reduce(f64::max).context("no peer reached 0.95")?)
            },
        );
    }
}
