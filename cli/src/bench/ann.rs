//! `longbow bench ann`: recall and speed of the vector index on a data set with known answers.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use longbow_index::{Bitset, Element, Metric, Mode, Params, Quantization, VectorIndex};
use longbow_kernels::Simd;
use longbow_types::limits::{EF_MAX, K_MAX};

use crate::commands::dataset::QuantizationArg;

use super::{
    bounds::{self, Peers, whole},
    churn::churn,
    dataset::{Dataset, Filter},
    measure::{batch, build, search},
    report::Report,
    saved,
    shares::filters,
};

/// Measure recall and speed of the vector index on one thread.
#[derive(Debug, Clone, Args)]
pub struct AnnArgs {
    /// Folder with base.f32.npy or base.f16.npy, queries and exact answers; `--help` says how they are laid out.
    #[arg(value_name = "DATASET_DIR")]
    pub dataset: PathBuf,
    /// Links of a node.
    #[arg(value_name = "M", default_value_t = 16, value_parser = clap::value_parser!(u16).range(2..=128))]
    pub m: u16,
    /// Candidates examined when a node is linked.
    #[arg(value_name = "EF_CONSTRUCTION", default_value_t = 200)]
    pub ef_construction: usize,
    /// Beam widths to search with; 0 is the default of a search that names none.
    #[arg(value_name = "EF", default_values_t = [0, 16, 32, 64, 128, 256], value_parser = whole(0..=EF_MAX as u64))]
    pub ef: Vec<usize>,
    /// Element type of the index; the data set's own if not given.
    #[arg(long, value_enum)]
    pub element: Option<BenchElement>,
    /// Codes to traverse; answers are refined on the vectors.
    #[arg(long, value_enum, default_value_t = QuantizationArg::None)]
    pub codes: QuantizationArg,
    /// Also search with the data set's filters.
    #[arg(long)]
    pub filters: bool,
    /// Beam widths to search with under filters; those of unfiltered searches if none is given.
    #[arg(long, value_name = "EF", value_delimiter = ',', value_parser = whole(0..=EF_MAX as u64))]
    pub filter_ef: Vec<usize>,
    /// Also search with filters that match such a share of the rows at random, above 0.
    #[arg(long, value_name = "SHARE", value_delimiter = ',', value_parser = bounds::share)]
    pub share: Vec<f64>,
    /// Also delete and insert a fifth of the rows so many times, and compare with what was there before.
    #[arg(long, value_name = "ROUNDS", default_value_t = 0)]
    pub churn: u32,
    /// Neighbours wanted.
    #[arg(short, default_value_t = 10, value_parser = whole(1..=K_MAX as u64))]
    pub k: usize,
    /// Compare every row instead of traversing.
    #[arg(long)]
    pub exact: bool,
    /// Builder threads, one build for each; the first is searched [default: PEERS_THREADS of the environment, else 1].
    #[arg(long, value_delimiter = ',', value_parser = whole(bounds::THREADS))]
    pub threads: Vec<usize>,
    /// Seconds to search for with each ef, at least.
    #[arg(long, default_value_t = 0.4, value_parser = bounds::seconds)]
    pub seconds: f64,
    /// File to keep the index in: it is read from there instead of built, except in round 0, and written if it was built.
    /// One that holds the index of other vectors or options is refused.
    #[arg(long, value_name = "FILE")]
    pub image: Option<PathBuf>,
    /// Number of this round: rounds after the first build at most once, and without threads to compare.
    #[arg(skip)]
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

/// Runs the benchmark and prints what it measured.
pub fn run(mut args: AnnArgs) -> Result<()> {
    let peers = Peers::from_env()?;
    args.round = peers.round;
    if args.threads.is_empty() {
        args.threads = peers.threads.unwrap_or_else(|| vec![1]);
    }
    Simd::from_env()?;
    let report = Report::new(args.json || args.round.is_some());
    let dataset = Dataset::open(&args.dataset, args.k, args.filters)?;
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
        QuantizationArg::None => (Quantization::None, ""),
        QuantizationArg::Sq8 => (Quantization::Sq8, "sq8 + "),
        QuantizationArg::Sq4 => (Quantization::Sq4, "sq4 + "),
        QuantizationArg::Bit1 => (Quantization::Bit1, "bit1 + "),
    };
    let name = format!("{codes}{vectors}");
    let (rows, queries) = (dataset.rows(), dataset.queries.len());
    report.dataset(rows, dataset.dimension, queries, Simd::active().as_str(), &name);
    let params = Params {
        m: usize::from(args.m),
        ef_construction: args.ef_construction,
        ..Params::new(element, Metric::Cosine, dataset.dimension)
    };
    let random = filters(&dataset, args.k, &args.share)?;
    let first = obtain(&args, &dataset, (params, quantization), &report)?;
    measure_all(&args, &dataset, &random, &first.index, &report)?;
    if let Some(path) = args.image.as_ref().filter(|_| first.is_new) {
        saved::write(&first.index, path)?;
    }
    if args.churn > 0 {
        let again = match &args.image {
            Some(path) => saved::read(path, &params, quantization, &dataset)?,
            None => build(&dataset, params, quantization, args.threads[0])?.index,
        };
        let how = (args.k, &args.ef[..]);
        let threads = args.threads[0];
        report.churn(&churn(&first.index, &again, &dataset, args.churn, threads, how)?);
    }
    Ok(())
}

/// The index that is searched.
struct Obtained {
    index: VectorIndex,
    /// Built just now, not read from a file.
    is_new: bool,
}

/// Reads the index, or builds it with every number of threads and keeps the first.
fn obtain(
    args: &AnnArgs,
    dataset: &Dataset,
    (params, quantization): (Params, Quantization),
    report: &Report,
) -> Result<Obtained> {
    let rows = dataset.rows();
    let kept = args.image.as_ref().filter(|_| args.round != Some(0));
    if let Some(path) = kept.filter(|path| path.exists()) {
        let start = Instant::now();
        let index = saved::read(path, &params, quantization, dataset)?;
        report.load(start.elapsed().as_secs_f64());
        return Ok(Obtained { index, is_new: false });
    }
    if let Some(path) = &args.image {
        saved::prepare(path)?;
    }
    let mut first = None;
    let later = args.round.unwrap_or(0) > 0;
    for &threads in args.threads.iter().take(if later { 1 } else { usize::MAX }) {
        let built = build(dataset, params, quantization, threads)?;
        report.build(threads, rows, built.seconds, built.rss_mb);
        first.get_or_insert(built.index);
    }
    let index = first.context("--threads takes one number at least")?;
    Ok(Obtained { index, is_new: true })
}

fn measure_all(
    args: &AnnArgs,
    dataset: &Dataset,
    random: &[Filter],
    index: &VectorIndex,
    report: &Report,
) -> Result<()> {
    let mode = if args.exact { Mode::Exact } else { Mode::Auto };
    let time = Duration::from_secs_f64(args.seconds);
    let everything = Bitset::full(dataset.rows());
    report.heading();
    for &ef in &args.ef {
        let how = (args.k, ef, mode);
        let timing = search(index, dataset, &everything, &dataset.truth, how, time)?;
        let batches = args.threads.iter().map(|&threads| {
            let qps = batch(index, dataset, &everything, how, threads)?;
            Ok((format!("batch{threads}_qps"), qps))
        });
        let batches = batches.collect::<Result<Vec<_>>>()?;
        report.search(None, args.k, ef, &timing, &batches);
    }
    let widths = if args.filter_ef.is_empty() {
        &args.ef
    } else {
        &args.filter_ef
    };
    for filter in dataset.filters.iter().chain(random) {
        for &ef in widths {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        args::{BenchCommand, Cli, Command},
        bench::made::Folder,
    };
    use clap::Parser;

    #[test]
    fn an_index_is_built_once_for_a_data_set_and_refused_for_another() {
        let folder = Folder::new();
        let image = folder.path().join("kept/image");
        let bench = || {
            let (dataset, image) = (folder.path().to_str().unwrap(), image.to_str().unwrap());
            let options = ["-k3", "--filters", "--share=0.5", "--seconds=0", "--image", image];
            let graph = [dataset, "16", "5000000000", "0"];
            let line = [&["longbow", "bench", "ann"][..], &options[..], &graph[..]].concat();
            match Cli::try_parse_from(line).unwrap().command {
                Command::Bench(BenchCommand::Ann(args)) => run(args),
                _ => panic!("not a benchmark"),
            }
        };
        bench().unwrap();
        let written = std::fs::metadata(&image).unwrap().modified().unwrap();
        bench().unwrap();
        assert_eq!(std::fs::metadata(&image).unwrap().modified().unwrap(), written);
        let others: Vec<f32> = (0..20).map(|x| x as f32 + 0.5).collect();
        folder.vectors("base.f32.npy", &others, 2);
        let error = bench().unwrap_err();
        let ours = crate::error::find(&error).unwrap();
        assert!(ours.message.contains("other vectors"), "{ours}");
    }
}
