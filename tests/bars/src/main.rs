//! Measures every bar that an issue names and prints one line for each:
//! `bar <name> <measured> <required> pass|short|not-run`.
//!
//! Exits with 1 if a bar is short. A bar that cannot run here says why on standard error and counts as neither.

mod cached;
mod counting;
mod index;
mod kernels;
mod log;
mod npy;
mod report;
mod run;
mod shard;
mod slice;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Measure the bars of an issue.
#[derive(Parser)]
#[command(
    name = "bar",
    after_help = "Example:\n  cargo run --release -p longbow-bars -- slice --dataset path/to/wordnet\n  cargo run --release -p longbow-bars -- log"
)]
struct Args {
    #[command(subcommand)]
    slug: Slug,
}

#[derive(Subcommand)]
enum Slug {
    /// The first slice: durability under kill -9, recall, bad input, footprint, clients, builds.
    Slice(SliceArgs),
    /// The log: throughput beside the bare disk, bytes and syncs for what is logged.
    Log(LogArgs),
    /// The index: speed, build, memory and filters beside its peers, scale, churn, concurrency.
    Index(IndexArgs),
    /// The shard: compaction, churn, apply.
    Shard(ShardArgs),
    /// Replaces rows of a replica and prints how good it is then; run by a bar.
    #[command(hide = true)]
    Churned {
        /// Rows.
        rows: usize,
        /// Rounds in which a fifth of them is replaced; 0: builds it of the rows that there would be after the bar's.
        rounds: usize,
    },
    /// Maps the image of an index and prints what of it is in memory after searches; run by a bar.
    #[command(hide = true)]
    Resident {
        /// File of the image.
        image: PathBuf,
    },
}

/// How the log's bars are measured.
#[derive(clap::Args)]
pub struct LogArgs {
    /// Folder on the disk to measure [default: target/bars].
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Measure only bars whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// Take more samples.
    #[arg(long)]
    full: bool,
}

/// How the index's bars are measured.
#[derive(clap::Args)]
pub struct IndexArgs {
    /// Folder of the full WordNet data set; most bars do not run without it.
    #[arg(long, env = "LONGBOW_WORDNET", default_value = "data/wordnet-full")]
    dataset: PathBuf,
    /// Folder with peers.py and e2e.py; bars beside peers do not run without it.
    #[arg(long, env = "LONGBOW_PEERS")]
    peers: Option<PathBuf>,
    /// Python with numpy and the peers.
    #[arg(long, env = "LONGBOW_PEERS_PYTHON", default_value = "python3")]
    python: PathBuf,
    /// Python with qdrant-edge-py.
    #[arg(long, env = "LONGBOW_E2E_PYTHON", default_value = "python3")]
    e2e_python: PathBuf,
    /// Measure only bars whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// All peers, a million rows, other data, and long runs: takes hours.
    #[arg(long)]
    full: bool,
}

/// How the shard's bars are measured.
#[derive(clap::Args)]
pub struct ShardArgs {
    /// Folder of the full WordNet data set; bars of filters do not run without it.
    #[arg(long, env = "LONGBOW_WORDNET", default_value = "data/wordnet-full")]
    dataset: PathBuf,
    /// Measure only bars whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// More rows, more samples, and bars that build and run tests.
    #[arg(long)]
    full: bool,
}

/// How the slice's bars are measured.
#[derive(clap::Args)]
pub struct SliceArgs {
    /// Folder of the full WordNet data set; recall bars do not run without it.
    #[arg(long, env = "LONGBOW_WORDNET", default_value = "data/wordnet-full")]
    dataset: PathBuf,
    /// Measure only bars whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
}

fn main() -> Result<std::process::ExitCode> {
    let args = Args::parse();
    let short = match args.slug {
        Slug::Slice(args) => slice::measure(&args)?,
        Slug::Log(args) => log::measure(&args)?,
        Slug::Index(args) => index::measure(&args)?,
        Slug::Shard(args) => shard::measure(&args)?,
        Slug::Churned { rows, rounds } => {
            shard::print_churned(rows, rounds)?;
            false
        }
        Slug::Resident { image } => {
            index::print_resident(&image)?;
            false
        }
    };
    Ok(if short {
        std::process::ExitCode::FAILURE
    } else {
        std::process::ExitCode::SUCCESS
    })
}
