//! `longbow bench ann` alone, without building the rest of Longbow.

#[path = "../../../cli/src/bench/mod.rs"]
mod bench;

use clap::Parser;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    ann: bench::ann::AnnArgs,
    /// Print JSON lines.
    #[arg(long)]
    json: bool,
}

fn main() -> anyhow::Result<()> {
    let mut cli = Cli::parse();
    cli.ann.json |= cli.json;
    bench::ann::run(cli.ann)
}
