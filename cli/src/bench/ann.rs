//! `longbow bench ann`: recall and speed of the vector index on a data set with known answers.

use std::{path::PathBuf, time::Duration};

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};
use longbow_index::{Bitset, Element, Metric, Mode, Params, Quantization, VectorIndex};
use longbow_kernels::Simd;

use super::{
    churn::churn,
    dataset::Dataset,
    measure::{batch, build, search},
    report::Report,
    shares::filters,
};

/// Measure recall and speed of the vector index on one thread.
#[derive(Debug, Clone, Args)]
pub struct AnnArgs {
    /// Folder with base.f32.npy or base.f16.npy, queries and exact answers.
    #[arg(value_name = "DATASET_DIR")]
    pub dataset: PathBuf,
    /// Links of a node.
    #[arg(value_name = "M", default_value_t = 16, value_parser = clap::value_parser!(u16).range(2..=128))]
    pub m: u16,
    /// Candidates examined when a node is linked.
    #[arg(value_name = "EF_CONSTRUCTION", default_value_t = 200)]
    pub ef_construction: usize,
    /// Beam widths to search with; 0 is the default of a search that names none.
    #[arg(value_name = "EF", default_values_t = [0, 16, 32, 64, 128, 256])]
    pub ef: Vec<usize>,
    /// Element type of the index; the data set's own if not given.
    #[arg(long, value_enum)]
    pub element: Option<BenchElement>,
    /// Codes to traverse; answers are refined on the vectors.
    #[arg(long, value_enum, default_value_t = BenchCodes::None)]
    pub codes: BenchCodes,
    /// Also search with the data set's filters.
    #[arg(long)]
    pub filters: bool,
    /// Also search with filters that match such a share of the rows at random.
    #[arg(long, value_name = "SHARE", value_delimiter = ',')]
    pub share: Vec<f64>,
    /// Also delete and insert a fifth of the rows so many times, and compare with what was there before.
    #[arg(long, value_name = "ROUNDS", default_value_t = 0)]
    pub churn: u32,
    /// Neighbours wanted.
    #[arg(short, default_value_t = 10)]
    pub k: usize,
    /// Compare every row instead of traversing.
    #[arg(long)]
    pub exact: bool,
    /// Builder threads, one build for each; the first is searched.
    #[arg(long, env = "PEERS_THREADS", value_delimiter = ',', default_value = "1")]
    pub threads: Vec<usize>,
    /// Seconds to search for with each ef, at least.
    #[arg(long, default_value_t = 0.4)]
    pub seconds: f64,
    /// Number of this round: rounds after the first build once.
    #[arg(long, env = "PEERS_ROUND", hide = true)]
    pub round: Option<u32>,
    /// Print JSON lines; also when a round is given.
    #[arg(skip)]
    pub json: bool,
}

/// Element types to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BenchElement {
    /// 16-bit floats.
    F16,
    /// 32-bit floats.
    F32,
}

/// Codes to traverse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BenchCodes {
    /// The vectors themselves.
    None,
    /// 8 bits per dimension.
    Sq8,
    /// 4 bits per dimension.
    Sq4,
    /// 1 bit per dimension.
    Bit1,
}

/// Runs the benchmark and prints what it measured.
pub fn run(args: AnnArgs) -> Result<()> {
    ensure!(
        args.threads.iter().all(|&threads| (1..=1024).contains(&threads)),
        "1 to 1024 builder threads"
    );
    ensure!(
        (0.0..=3600.0).contains(&args.seconds),
        "--seconds takes 0 to 3600"
    );
    ensure!(
        args.share.iter().all(|share| (0.0..=1.0).contains(share)),
        "--share takes 0 to 1"
    );
    ensure!(args.k > 0, "-k must be at least 1");
    Simd::from_env()?;
    let report = Report::new(args.json || args.round.is_some());
    let dataset = Dataset::open(&args.dataset)?;
    let own = if dataset.half {
        BenchElement::F16
    } else {
        BenchElement::F32
    };
    let (element, vectors) = match args.element.unwrap_or(own) {
        BenchElement::F16 => (Element::F16, "f16"),
        BenchElement::F32 => (Element::F32, "f32"),
    };
    let (quantization, codes) = match args.codes {
        BenchCodes::None => (Quantization::None, ""),
        BenchCodes::Sq8 => (Quantization::Sq8, "sq8 + "),
        BenchCodes::Sq4 => (Quantization::Sq4, "sq4 + "),
        BenchCodes::Bit1 => (Quantization::Bit1, "bit1 + "),
    };
    let name = format!("{codes}{vectors}");
    let (rows, queries) = (dataset.rows(), dataset.queries.len());
    report.dataset(rows, dataset.dimension, queries, Simd::active().as_str(), &name);
    let params = Params {
        m: usize::from(args.m),
        ef_construction: args.ef_construction,
        ..Params::new(element, Metric::Cosine, dataset.dimension)
    };
    let builds = if args.round.unwrap_or(0) == 0 {
        args.threads.len()
    } else {
        1
    };
    let mut first = None;
    for &threads in &args.threads[..builds] {
        let built = build(&dataset, params, quantization, threads)?;
        report.build(threads, rows, built.seconds, built.rss_mb);
        first.get_or_insert(built.index);
    }
    match first {
        Some(index) => {
            measure_all(&args, &dataset, &index, &report)?;
            if args.churn > 0 {
                let again = build(&dataset, params, quantization, args.threads[0])?;
                let how = (args.k, &args.ef[..]);
                report.churn(&churn(&index, &again.index, &dataset, args.churn, how)?);
            }
            Ok(())
        }
        None => Ok(()),
    }
}

fn measure_all(args: &AnnArgs, dataset: &Dataset, index: &VectorIndex, report: &Report) -> Result<()> {
    let mode = if args.exact { Mode::Exact } else { Mode::Auto };
    let time = Duration::from_secs_f64(args.seconds);
    let everything = Bitset::full(dataset.rows());
    report.heading();
    for &ef in &args.ef {
        let how = (args.k, ef, mode);
        let timing = search(index, dataset, &everything, &dataset.truth, how, time)?;
        let batches = args.threads.iter().map(|&threads| {
            (
                format!("batch{threads}_qps"),
                batch(index, dataset, &everything, how, threads),
            )
        });
        let batches: Vec<_> = batches.collect();
        report.search(None, args.k, ef, &timing, &batches);
    }
    let random = filters(index, dataset, args.k, &args.share)?;
    let named = dataset.filters.iter().filter(|_| args.filters);
    for filter in named.chain(&random) {
        for &ef in &args.ef {
            let timing = search(
                index,
                dataset,
                &filter.allow,
                &filter.truth,
                (args.k, ef, mode),
                time,
            )?;
            report.search(Some(&filter.name), args.k, ef, &timing, &[]);
        }
    }
    Ok(())
}
