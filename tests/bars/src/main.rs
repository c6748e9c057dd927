//! Measures every bar that an issue names and prints one line for each:
//! `bar <name> <measured> <required> pass|short|not-run`.
//!
//! Exits with 1 if a bar is short. A bar that cannot run here says why on standard error and counts as neither.

mod counting;
mod kernels;
mod log;
mod report;
mod run;
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
    /// The kernels alone: against their peers (with `--features peers`), and against the memory's bandwidth.
    #[command(hide = true)]
    Kernels,
    /// The log: throughput beside the bare disk, bytes and syncs for what is logged.
    Log(LogArgs),
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
        Slug::Kernels => kernels::measure()?,
        Slug::Log(args) => log::measure(&args)?,
    };
    Ok(if short {
        std::process::ExitCode::FAILURE
    } else {
        std::process::ExitCode::SUCCESS
    })
}
