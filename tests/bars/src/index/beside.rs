//! Speed, build, memory and filters beside the peers, on one data set in one run.

use anyhow::{Context, Result};

use super::{
    curve::under_filters,
    dataset, filters, memory, only_full,
    ours::{BIT1_F16, F32, Ours, SQ4_F16, SQ8_F16, SQ8_F32},
    peers::{Engine, Run, Setup},
    qdrant::Qdrant,
};
use crate::{
    IndexArgs,
    cached::Cached,
    report::{
        Report,
        Required::{AtLeast, AtMost},
    },
};

pub(super) const RECALLS: [f64; 3] = [0.90, 0.95, 0.99];
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
/// What the short run takes: the classic, the fastest under filters that builds in a minute, and exact search.
const SHORT_PEERS: [&str; 3] = ["hnswlib", "faiss-hnsw-sq8", "faiss-flat"];
/// Without these there is no telling who is the best of all.
const BEST_PEERS: [&str; 8] = [
    "hnswlib",
    "faiss-flat",
    "faiss-hnsw",
    "faiss-hnsw-fp16",
    "faiss-hnsw-sq8",
    "faiss-ivf-pqfs",
    "svs-f32",
    "svs-f16",
];
/// What else the bars are about; some do not install everywhere.
const OTHER_PEERS: [&str; 5] = ["usearch-f32", "usearch-f16", "usearch-i8", "ngt", "voyager"];

// In an order that puts those for filtered searches where the peers' benchmark takes them from: 16 and 64 in the short
// run, where hnswlib takes half a minute for each; 16, 48 and 128 in the full one.
const SHORT_EF: [u64; 7] = [10, 24, 32, 16, 48, 128, 64];
const FULL_EF: [u64; 11] = [10, 24, 32, 16, 64, 96, 48, 192, 256, 128, 400];

/// Runs everything once, when the first bar asks for it.
pub(super) struct Lazy<'a> {
    pub(super) args: &'a IndexArgs,
    run: Cached<Run>,
    on_two_threads: Cached<Run>,
    qdrant: Cached<Qdrant>,
}

impl Lazy<'_> {
    /// The efs of the run.
    pub(super) fn efs(&self) -> &'static [u64] {
        efs(self.args.full)
    }

    pub(super) fn run(&self) -> Result<&Run> {
        let dataset = dataset(self.args)?;
        self.run.get(|| self.measure(&dataset, self.args.full))
    }

    /// A run in which hnswlib and ours are built on one thread and on two.
    fn on_two_threads(&self) -> Result<&Run> {
        only_full(self.args)?;
        let dataset = dataset(self.args)?;
        let setup = Setup {
            name: "peers-on-two-threads",
            dataset: &dataset,
            peers: "hnswlib",
            required: &["hnswlib"],
            tried: &[],
            ours: &[(&F32, &[])],
            threads: "1,2",
            ef: &SHORT_EF[..1],
            rounds: "1",
            filters: false,
        };
        self.on_two_threads.get(|| Run::new(self.args, &setup))
    }

    fn measure(&self, dataset: &str, full: bool) -> Result<Run> {
        let efs = efs(full);
        let filtered = under_filters(efs);
        let filtered: Vec<String> = filtered.iter().map(u64::to_string).collect();
        // 0 is the width of a search that names none.
        let filtered = format!("0,{}", filtered.join(","));
        let with_filters = ["--threads", "1", "--filters", "--filter-ef", &filtered];
        let one_thread = &with_filters[..2];
        let ours: [(&Ours, &[&str]); 5] = [
            (&F32, one_thread),
            (&SQ4_F16, &with_filters),
            (&SQ8_F32, one_thread),
            (&SQ8_F16, one_thread),
            (&BIT1_F16, one_thread),
        ];
        let setup = Setup {
            name: if full { "peers-full" } else { "peers" },
            dataset,
            peers: if full { "all" } else { &SHORT_PEERS.join(",") },
            required: if full { &BEST_PEERS } else { &SHORT_PEERS },
            tried: if full { &OTHER_PEERS } else { &[] },
            // The other modes of ours only count where the best of all is looked for.
            ours: &ours[..if full { 5 } else { 2 }],
            threads: "1",
            ef: efs,
            rounds: if full { "3" } else { "2" },
            filters: true,
        };
        Run::new(self.args, &setup)
    }

    pub(super) fn qdrant(&self) -> Result<&Qdrant> {
        let dataset = dataset(self.args)?;
        self.qdrant.get(|| Qdrant::new(self.args, &dataset))
    }
}

fn efs(full: bool) -> &'static [u64] {
    if full { &FULL_EF } else { &SHORT_EF }
}

/// Measures the bars.
pub(super) fn bars(report: &mut Report, args: &IndexArgs) {
    let lazy = Lazy {
        args,
        run: Cached::new(),
        on_two_threads: Cached::new(),
        qdrant: Cached::new(),
    };
    speed(report, &lazy);
    build(report, &lazy);
    memory::bars(report, &lazy);
    filters::bars(report, &lazy);
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
            let ours = best([run.engine(F32.name)?].into_iter(), recall)?;
            Ok(ours / best([run.engine("hnswlib")?].into_iter(), recall)?)
        });
        report.bar(&format!("qps{at}-f32-vs-best-f32-peer"), AtLeast(1.0), || {
            only_full(lazy.args)?;
            let run = lazy.run()?;
            let ours = best([run.engine(F32.name)?].into_iter(), recall)?;
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
            let of = |ours: &Ours| spread(run.engine(ours.name)?, recall);
            Ok(of(&F32)?.max(of(&SQ4_F16)?))
        });
    }
}

/// How many times the median of distances for a query the 99th percentile is, at the first ef that reaches a recall.
fn spread(engine: &Engine, recall: f64) -> Result<f64> {
    let curve = engine.curve();
    let reached = curve.iter().find(|point| point.recall >= recall);
    let ef = reached.context("recall not reached")?.ef;
    let number = |key| {
        engine
            .number(ef, key)
            .with_context(|| format!("no {key} at {ef}"))
    };
    Ok(number("distances_p99")? / number("distances_p50")?)
}

fn build(report: &mut Report, lazy: &Lazy<'_>) {
    for (bar, ours, least) in [
        ("build-f32-vs-hnswlib", F32, 1.5),
        ("build-quantized-vs-hnswlib", SQ4_F16, 2.0),
    ] {
        report.bar(bar, AtLeast(least), || {
            let run = lazy.run()?;
            Ok(run.engine("hnswlib")?.build_seconds(1)? / run.engine(ours.name)?.build_seconds(1)?)
        });
    }
    report.bar("build-two-threads-scaling-vs-hnswlib", AtLeast(1.0), || {
        let run = lazy.on_two_threads()?;
        let scaling = |name| -> Result<f64> {
            let engine = run.engine(name)?;
            let scaling = engine.build_seconds(1)? / engine.build_seconds(2)?;
            eprintln!("  {name:24} {scaling:.3} times faster with two threads");
            Ok(scaling)
        };
        Ok(scaling(F32.name)? / scaling("hnswlib")?)
    });
    report.bar("build-recall-minus-hnswlib-at-equal-ef", AtLeast(0.0), || {
        let run = lazy.run()?;
        let (ours, theirs) = (run.engine(F32.name)?.curve(), run.engine("hnswlib")?.curve());
        let differences = ours.iter().filter_map(|point| {
            let other = theirs.iter().find(|other| other.ef == point.ef)?;
            Some(point.recall - other.recall)
        });
        differences.reduce(f64::min).context("no ef in common")
    });
}
