//! The `longbow` command: a whole cluster in one process or many, administration, import and search.
//!
//! Everything that talks to a cluster goes through its public API, by way of the Rust SDK. Deliberately not here: any
//! knowledge of how a role works inside, and an allocator of our own (`docs/adr/004-system-allocator.md`).

mod args;
mod bench;
mod column_text;
mod commands;
mod connect;
mod demo;
mod error;
mod filter_text;
mod import;
mod output;
mod role;
mod time_text;
mod up;
mod usage;
mod vector_text;

use std::process::ExitCode;

use clap::Parser;

use args::{BenchCommand, Cli, Command, Global};

fn main() -> ExitCode {
    let line: Vec<_> = std::env::args_os().collect();
    let Cli { global, command } = match Cli::try_parse_from(&line) {
        Ok(cli) => cli,
        Err(error) => return usage::report(&error, &line),
    };
    let outcome = match command {
        // Roles and measurements choose their own threads.
        Command::Role(args) => return role::run(args),
        Command::Bench(BenchCommand::Ann(mut args)) => {
            args.json = global.json;
            bench::ann::run(args)
        }
        Command::Wal(command) => commands::wal::run(&command, &global),
        command => on_runtime(command, &global),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => ExitCode::from(error::report(&error, global.json)),
    }
}

fn on_runtime(command: Command, global: &Global) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    // The main task stays on this thread, so processes started by it live as long as this one.
    let outcome = runtime.block_on(run(command, global));
    // Nothing that still reads a file or waits for a disk may hold the process back.
    runtime.shutdown_background();
    outcome
}

async fn run(command: Command, global: &Global) -> anyhow::Result<()> {
    match command {
        Command::Demo(args) => demo::run(&args, global).await,
        Command::Up(args) => up::run(&args, global).await,
        Command::Status(args) => commands::status::run(&args, global).await,
        Command::Dataset(command) => commands::dataset::run(&command, global).await,
        Command::Import(args) => import::run(&args, global).await,
        Command::Search(args) => commands::search::run(&args, global).await,
        Command::Get(args) => commands::get::run(&args, global).await,
        Command::Delete(args) => commands::delete::run(&args, global).await,
        Command::Keeper(command) => commands::keeper::run(&command, global).await,
        Command::Latch(command) => commands::latch::run(&command, global).await,
        Command::Bench(_) | Command::Role(_) | Command::Wal(_) => {
            unreachable!("main runs these without a runtime")
        }
    }
}
