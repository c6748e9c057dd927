//! `longbow role ROLE …`: one role of a cluster in this process, as the role's own binary would run it.

use std::{io::Read, process::ExitCode, time::Duration};

use clap::{Args, CommandFactory};
use longbow_node::{
    config::{Loader, Setting, Settings},
    run::run_loaded,
    shutdown::Shutdown,
};
use rustix::process::{Signal, getpid, kill_process};

/// Examples of `longbow role`.
pub const EXAMPLES: &str = "\
Examples:
  longbow role wal-keeper --data-path ./keeper --gossip-seeds 127.0.0.1:7946
  longbow role shard --config shard.toml --print-config
  longbow role router --help                what a router can be told";

/// First argument of a role that ends when its standard input closes, and so with the process that started it.
pub const DIE_WITH_PARENT: &str = "--die-with-parent";
/// Time to stop cleanly after the parent is gone.
const ORPHAN_PATIENCE: Duration = Duration::from_secs(10);
/// Exit code of a role that did not manage.
const ORPHAN_STUCK: i32 = 3;

/// Arguments of `longbow role`.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub struct RoleArgs {
    /// End when standard input closes.
    #[arg(long, hide = true)]
    pub die_with_parent: bool,
    /// wal-keeper, shard or router, and its own arguments; `longbow role shard --help` lists them.
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "ROLE ARGS"
    )]
    pub line: Vec<String>,
}

/// Runs the role; starts a runtime of its own.
pub fn run(args: RoleArgs) -> ExitCode {
    if args.die_with_parent {
        std::thread::spawn(end_with_parent);
    }
    let mut line = args.line.into_iter();
    let name = line.next().unwrap_or_default();
    let rest: Vec<String> = line.collect();
    match name.as_str() {
        "wal-keeper" => {
            let loader = keeper_loader();
            run_role(&loader, "longbow role wal-keeper", rest, keeper)
        }
        "shard" => run_role(&shard_loader(), "longbow role shard", rest, shard),
        "router" => run_role(&router_loader(), "longbow role router", rest, router),
        // The flags behind a role are the role's own, so clap answers to none.
        "--help" | "-h" => {
            println!("{}", help());
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("error: there is no role {name:?}\n  accepted: wal-keeper, shard or router");
            ExitCode::from(2)
        }
    }
}

/// What `longbow help role` prints.
fn help() -> String {
    let mut line = crate::args::Cli::command();
    line.build();
    let role = line.find_subcommand_mut("role");
    role.map(|role| role.render_help().to_string())
        .unwrap_or_default()
}

fn run_role<F, Fut>(loader: &Loader, name: &str, rest: Vec<String>, role: F) -> ExitCode
where
    F: FnOnce(Settings, Shutdown) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    let lossy = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    let env = std::env::vars_os().map(|(name, value)| (lossy(name), lossy(value)));
    let args = std::iter::once(name.to_owned()).chain(rest);
    run_loaded(loader.load_from(args, env), role)
}

/// Loads the settings of a wal-keeper.
pub fn keeper_loader() -> Loader {
    loader(
        "longbow role wal-keeper",
        "Orders every write and makes it durable",
        longbow_wal_keeper::SETTINGS,
    )
    .check(|settings| longbow_wal_keeper::Config::from_settings(settings).map(drop))
}

/// Loads the settings of a shard.
pub fn shard_loader() -> Loader {
    loader(
        "longbow role shard",
        "Holds replicas and searches them",
        longbow_shard::SETTINGS,
    )
    .check(|settings| longbow_shard::Config::from_settings(settings).map(drop))
}

/// Loads the settings of a router.
pub fn router_loader() -> Loader {
    loader("longbow role router", "Takes requests", longbow_router::SETTINGS)
        .check(|settings| longbow_router::Config::from_settings(settings).map(drop))
}

fn loader(name: &'static str, about: &'static str, settings: &[Setting]) -> Loader {
    Loader::new(name, about, &[settings])
}

async fn keeper(settings: Settings, shutdown: Shutdown) -> anyhow::Result<()> {
    let config = longbow_wal_keeper::Config::from_settings(&settings)?;
    longbow_wal_keeper::start(config, shutdown).await?.wait().await?;
    Ok(())
}

async fn shard(settings: Settings, shutdown: Shutdown) -> anyhow::Result<()> {
    let config = longbow_shard::Config::from_settings(&settings)?;
    longbow_shard::start(config, shutdown).await?.wait().await?;
    Ok(())
}

async fn router(settings: Settings, shutdown: Shutdown) -> anyhow::Result<()> {
    let config = longbow_router::Config::from_settings(&settings)?;
    longbow_router::start(config, shutdown).await?.wait().await?;
    Ok(())
}

/// Waits until standard input closes, then stops this process, cleanly if it can.
fn end_with_parent() {
    let mut input = std::io::stdin().lock();
    let mut byte = [0; 64];
    while matches!(input.read(&mut byte), Ok(1..)) {}
    eprintln!("the process that started this one is gone: stopping");
    if kill_process(getpid(), Signal::TERM).is_ok() {
        std::thread::sleep(ORPHAN_PATIENCE);
    }
    std::process::exit(ORPHAN_STUCK);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_has_examples_for_every_role() {
        let help = help();
        for role in ["wal-keeper", "shard", "router"] {
            assert!(help.contains(&format!("longbow role {role} ")), "{help}");
        }
    }
}
