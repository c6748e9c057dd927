//! Speed, build, memory and filters beside the peers, on one data set in one run.

use anyhow::{Context, Result, bail, ensure};

use super::{
    dataset, only_full,
    peers::{Engine, Run, Setup, fastest, qdrant},
};
use crate::{
    IndexArgs,
    cached::Cached,
    report::{
        Report,
        Required::{AtLeast, AtMost},
    },
};

const RECALLS: [f64; 3] = [0.90, 0.95, 0.99];
/// Ours: the vectors themselves in 32 bits, codes over such vectors, and the modes with 16 bits.
const OURS: [(&str, &str); 5] = [
    ("longbow-f32", "--element f32"),
    ("longbow-sq8-f32", "--element f32 --codes sq8"),
    ("longbow-sq8-f16", "--element f16 --codes sq8"),
    ("longbow-sq4-f16", "--element f16 --codes sq4 --filters"),
    ("longbow-bit1-f16", "--element f16 --codes bit1"),
];
const F32: &str = "longbow-f32";
const QUANTIZED: &str = "longbow-sq4-f16";
/// Peers that store 32-bit floats.
const F32_PEERS: [&str; 7] = [
    "hnswlib",
    "usearch-f32",
    "faiss-hnsw",
    "svs-f32",
    "ngt",
    "voyager",
    "faiss-flat",
];
/// What the short run takes: the classic, and the fastest that builds in a minute.
const SHORT_PEERS: &str = "hnswlib,faiss-hnsw-sq8,faiss-flat";
const FILTERS: [&str; 3] = ["f1", "f10", "f50"];
/// Bytes of the vectors in 32 bits.
const VECTORS_MB: f64 = 116_659.0 * 384.0 * 4.0 / 1048576.0;

/// Runs everything once, when the first bar asks for it.
struct Lazy<'a> {
    args: &'a IndexArgs,
    run: Cached<Run>,
    qdrant: Cached<[f64; 3]>,
}

impl Lazy<'_> {
    fn run(&self) -> Result<&Run> {
        let dataset = dataset(self.args)?;
        let full = self.args.full;
        self.run.get(|| {
            let setup = Setup {
                name: if full { "peers-full" } else { "peers" },
                dataset: &dataset,
                peers: if full { "all" } else { SHORT_PEERS },
                ours: &OURS,
                threads: "1,2",
                ef: if full {
                    "10,16,24,32,48,64,96,128,192,256,400"
                } else {
                    "10,16,24,32,48,64,96,128"
                },
                rounds: if full { "3" } else { "2" },
                filters: full,
            };
            Run::new(self.args, &setup)
        })
    }

    fn qdrant(&self) -> Result<[f64; 3]> {
        only_full(self.args)?;
        let dataset = dataset(self.args)?;
        self.qdrant.get(|| qdrant(self.args, &dataset)).copied()
    }
}

/// Measures the bars.
pub(super) fn bars(report: &mut Report, args: &IndexArgs) {
    let lazy = Lazy {
        args,
        run: Cached::new(),
        qdrant: Cached::new(),
    };
    speed(report, &lazy);
    build(report, &lazy);
    memory(report, &lazy);
    filters(report, &lazy);
}

/// The largest speed of some engines at a recall.
fn best<'a>(engines: impl Iterator<Item = &'a Engine>, recall: f64) -> Result<f64> {
    let speeds = engines.filter_map(|engine| {
        let qps = engine.qps_at(recall)?;
        eprintln!("  {:24} {qps:8.0} QPS at {recall}", engine.name);
        Some(qps)
    });
    speeds
        .reduce(f64::max)
        .with_context(|| format!("nobody reached {recall}"))
}

fn speed(report: &mut Report, lazy: &Lazy<'_>) {
    for recall in RECALLS {
        let at = (recall * 100.0) as u32;
        report.bar(&format!("qps{at}-f32-vs-hnswlib"), AtLeast(1.3), || {
            let run = lazy.run()?;
            let ours = best([run.engine(F32)?].into_iter(), recall)?;
            Ok(ours / best([run.engine("hnswlib")?].into_iter(), recall)?)
        });
        report.bar(&format!("qps{at}-f32-vs-best-f32-peer"), AtLeast(1.0), || {
            only_full(lazy.args)?;
            let run = lazy.run()?;
            let ours = best([run.engine(F32)?].into_iter(), recall)?;
            let peers = run.peers().filter(|peer| F32_PEERS.contains(&peer.name.as_str()));
            Ok(ours / best(peers, recall)?)
        });
        report.bar(
            &format!("qps{at}-best-vs-best-of-all-peers"),
            AtLeast(1.3),
            || {
                only_full(lazy.args)?;
                let run = lazy.run()?;
                Ok(best(run.ours(), recall)? / best(run.peers(), recall)?)
            },
        );
        report.bar(&format!("distances{at}-p99-over-p50"), AtMost(2.5), || {
            let run = lazy.run()?;
            let of = |name| spread(run.engine(name)?, recall);
            Ok(of(F32)?.max(of(QUANTIZED)?))
        });
    }
}

/// How many times the median of distances for a query the 99th percentile is, at the first ef that reaches a recall.
fn spread(engine: &Engine, recall: f64) -> Result<f64> {
    let (p50, p99) = (engine.searches("distances_p50"), engine.searches("distances_p99"));
    let at = p50
        .iter()
        .position(|point| point.0 >= recall)
        .context("recall not reached")?;
    Ok(p99[at].1 / p50[at].1)
}

fn build(report: &mut Report, lazy: &Lazy<'_>) {
    for (bar, ours, least) in [
        ("build-f32-vs-hnswlib", F32, 1.5),
        ("build-quantized-vs-hnswlib", QUANTIZED, 2.0),
    ] {
        report.bar(bar, AtLeast(least), || {
            let run = lazy.run()?;
            Ok(run.engine("hnswlib")?.build_seconds(1)? / run.engine(ours)?.build_seconds(1)?)
        });
    }
    report.bar("build-two-threads-scaling-vs-hnswlib", AtLeast(1.0), || {
        let run = lazy.run()?;
        let scaling = |name| -> Result<f64> {
            let engine = run.engine(name)?;
            let scaling = engine.build_seconds(1)? / engine.build_seconds(2)?;
            eprintln!("  {name:24} {scaling:.3} times faster with two threads");
            Ok(scaling)
        };
        Ok(scaling(F32)? / scaling("hnswlib")?)
    });
    report.bar("build-recall-minus-hnswlib-at-equal-ef", AtLeast(0.0), || {
        let run = lazy.run()?;
        let (ours, theirs) = (run.engine(F32)?.curve(), run.engine("hnswlib")?.curve());
        let differences = ours.iter().filter_map(|point| {
            let other = theirs.iter().find(|other| other.ef == point.ef)?;
            Some(point.recall - other.recall)
        });
        differences.reduce(f64::min).context("no ef in common")
    });
}

fn memory(report: &mut Report, lazy: &Lazy<'_>) {
    report.bar("memory-f32-over-vectors", AtMost(1.15), || {
        Ok(lazy.run()?.engine(F32)?.build_mb(1)? / VECTORS_MB)
    });
    report.bar("memory-sq8-f16-over-hnswlib", AtMost(0.85), || {
        let run = lazy.run()?;
        Ok(run.engine("longbow-sq8-f16")?.build_mb(1)? / run.engine("hnswlib")?.build_mb(1)?)
    });
    report.bar("memory-bit1-resident-over-f32-vectors", AtMost(0.25), || {
        let with_vectors = lazy.run()?.engine("longbow-bit1-f16")?.build_mb(1)?;
        // The vectors in 16 bits are what need not be resident.
        Ok((with_vectors - VECTORS_MB / 2.0) / VECTORS_MB)
    });
}

fn filters(report: &mut Report, lazy: &Lazy<'_>) {
    for (at, filter) in FILTERS.into_iter().enumerate() {
        report.bar(
            &format!("filter-{filter}-qps95-vs-best-peer"),
            AtLeast(1.5),
            || {
                let run = lazy.run()?;
                let ours =
                    fastest(&run.engine(QUANTIZED)?.filtered(filter), 0.95).context("0.95 not reached")?;
                eprintln!("  {QUANTIZED:24} {ours:8.0} QPS under {filter}");
                let qdrant = lazy.qdrant()?[at];
                eprintln!("  {:24} {qdrant:8.0} QPS under {filter}", "qdrant");
                let peers = run.peers().filter_map(|peer| {
                    let qps = fastest(&peer.filtered(filter), 0.95)?;
                    eprintln!("  {:24} {qps:8.0} QPS under {filter}", peer.name);
                    Some(qps)
                });
                Ok(ours / peers.fold(qdrant, f64::max))
            },
        );
        report.bar(&format!("filter-{filter}-recall10"), AtLeast(0.95), || {
            let points = lazy.run()?.engine(QUANTIZED)?.filtered(filter);
            ensure!(!points.is_empty(), "no filtered searches");
            let best = points.iter().map(|point| point.recall).reduce(f64::max);
            match best {
                Some(best) => Ok(best),
                None => bail!("no filtered searches"),
            }
        });
    }
}
