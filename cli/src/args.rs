//! What can be said on the command line.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};

use crate::{commands, demo, import, role, up};

const EXAMPLES: &str = "\
Examples:
  longbow demo                              a whole cluster in this process, with data to search
  longbow up --keepers 3 --shards 2         a cluster of real processes on this machine
  longbow status                            nodes, leader, partitions of the cluster at port 3000
  longbow import words.parquet --dataset words --create
  longbow search words --id 10734 -k 5 --filter \"pos = 'noun'\" --columns lemmas,gloss

Exit codes: 0 done, 1 failed, 2 the command line is wrong.";

const DATASET_EXAMPLES: &str = "\
Examples:
  longbow dataset create words --dimension 384
  longbow dataset list";
const LATCH_EXAMPLES: &str = "Example:\n  longbow latch reset --reason 'the disk of keeper-0 is a new one'";
const KEEPER_EXAMPLES: &str = "Examples:\n  longbow keeper list\n  longbow keeper add keeper-3";
const WAL_EXAMPLES: &str = "Example:\n  longbow wal verify /var/lib/longbow/wal-keeper";
const BENCH_EXAMPLES: &str = "\
Examples:
  longbow bench ann DIR                     DIR: base vectors, queries and exact answers
  longbow bench ann --help                  what DIR must hold, and what is printed";

const ANN_HELP: &str = include_str!("bench/ann-help.txt");
const ANN_EXAMPLE: &str = "\
Example:
  longbow bench ann DIR 16 200 32 64 128

`--help` describes what DIR must hold, the output, and how other benchmarks run this.";

/// Longbow: a distributed vector database.
#[derive(Debug, Parser)]
#[command(name = "longbow", version, propagate_version = true, after_help = EXAMPLES, max_term_width = 110)]
pub struct Cli {
    /// Where the cluster is and how to talk about it.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Where the cluster is and how to talk about it.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// A router of the cluster; several, separated by commas, take over for each other.
    #[arg(
        long,
        global = true,
        env = "LONGBOW_ENDPOINT",
        value_delimiter = ',',
        default_value = "http://127.0.0.1:3000",
        value_name = "URL"
    )]
    pub endpoint: Vec<String>,
    /// Key, if the routers ask for one.
    #[arg(
        long,
        global = true,
        env = "LONGBOW_API_KEY",
        hide_env_values = true,
        value_name = "KEY"
    )]
    pub api_key: Option<String>,
    /// Print JSON for machines instead of tables; errors, too.
    #[arg(long, global = true)]
    pub json: bool,
    /// Time for one request, retries included: 500ms, 30s, 2m.
    #[arg(long, global = true, default_value = "30s", value_parser = duration, value_name = "TIME")]
    pub timeout: Duration,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a whole cluster in this process, load WordNet words into it, search them, measure.
    Demo(demo::DemoArgs),
    /// Run a cluster of real processes on this machine.
    Up(up::UpArgs),
    /// Show nodes, leader, partitions and the latch.
    Status(commands::status::StatusArgs),
    /// Create, list, describe and drop datasets.
    #[command(subcommand, after_help = DATASET_EXAMPLES)]
    Dataset(commands::dataset::DatasetCommand),
    /// Load a Parquet file or a NumPy array.
    Import(import::ImportArgs),
    /// Find the rows nearest to a vector or to a row.
    Search(commands::search::SearchArgs),
    /// Fetch rows by id.
    Get(commands::get::GetArgs),
    /// Delete rows by id or by a filter.
    Delete(commands::delete::DeleteArgs),
    /// Show whether writes are refused, and let them be accepted again.
    #[command(subcommand, after_help = LATCH_EXAMPLES)]
    Latch(commands::latch::LatchCommand),
    /// Show and change who is in the wal-keepers' group.
    #[command(subcommand, after_help = KEEPER_EXAMPLES)]
    Keeper(commands::keeper::KeeperCommand),
    /// Look at the log of a keeper that is stopped; nothing is changed.
    #[command(subcommand, after_help = WAL_EXAMPLES)]
    Wal(commands::wal::WalCommand),
    /// Measure parts of Longbow.
    #[command(subcommand, after_help = BENCH_EXAMPLES)]
    Bench(BenchCommand),
    /// Run one role of a cluster; what `up` starts.
    #[command(hide = true, after_help = role::EXAMPLES)]
    Role(role::RoleArgs),
}

/// What to measure.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// The vector index alone, on a data set with known answers.
    #[command(after_long_help = ANN_HELP, after_help = ANN_EXAMPLE)]
    Ann(crate::bench::ann::AnnArgs),
}

/// Reads `500ms`, `30s`, `2m`, `1h`, `7d`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a time: write 500ms, 30s, 2m or 7d");
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let millis = match unit {
        "ms" => Some(number),
        "s" => number.checked_mul(1_000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        "d" => number.checked_mul(86_400_000),
        _ => None,
    };
    match millis {
        Some(millis) if millis > 0 => Ok(Duration::from_millis(millis)),
        _ => Err(wrong()),
    }
}

/// A folder that does not exist is fine; its parent may not be a file.
pub fn folder(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    match path.metadata() {
        Ok(found) if !found.is_dir() => Err(format!("{text} is a file, not a folder")),
        _ => Ok(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_examples() {
        fn check(command: &clap::Command) {
            for sub in command.get_subcommands() {
                let help = sub.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.contains("longbow "), "{} has no examples", sub.get_name());
                check(sub);
            }
        }
        check(&Cli::command());
    }

    #[test]
    fn numbers_that_a_benchmark_cannot_use_are_usage_errors() {
        let exit = |line: &[&str]| {
            let whole = [&["longbow", "bench", "ann", "DIR"], line].concat();
            Cli::try_parse_from(whole)
                .err()
                .map_or(0, |error| error.exit_code())
        };
        assert_eq!(
            exit(&["16", "200", "0", "--threads=1,2", "--share=0.1,1", "-k5"]),
            0
        );
        for bad in [
            "--threads=0",
            "--threads=1,1025",
            "--share=2",
            "--share=0",
            "-k0",
            "-k10001",
            "--seconds=nan",
            "--filter-ef=100001",
        ] {
            assert_eq!(exit(&[bad]), 2, "{bad}");
        }
    }

    #[test]
    fn times_are_read() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("7d"), Ok(Duration::from_secs(7 * 86_400)));
        for bad in [
            "",
            "5",
            "s",
            "0s",
            "-1s",
            "1.5s",
            "5 s",
            "99999999999999999999s",
            "5w",
        ] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn global_options_may_follow_the_command() {
        let line = [
            "longbow",
            "status",
            "--json",
            "--endpoint",
            "http://a:1,http://b:2",
            "--timeout",
            "5s",
        ];
        let cli = Cli::try_parse_from(line).unwrap();
        assert!(cli.global.json);
        assert_eq!(cli.global.endpoint, ["http://a:1", "http://b:2"]);
        assert_eq!(cli.global.timeout, Duration::from_secs(5));
    }

    #[test]
    fn a_role_takes_its_own_flags() {
        let cli = Cli::try_parse_from([
            "longbow",
            "role",
            "shard",
            "--json-ish",
            "--node-id",
            "x",
            "--help",
        ])
        .unwrap();
        let Command::Role(role) = cli.command else {
            panic!("not a role")
        };
        assert_eq!(role.line.len(), 5);
    }
}
