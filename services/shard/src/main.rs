//! The shard as a process: settings, start, wait.

use std::process::ExitCode;

use longbow_node::{config::Loader, run::run};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let about = "Holds replicas of partitions and answers searches";
    let loader = Loader::new("longbow-shard", about, &[longbow_shard::SETTINGS])
        .check(|settings| longbow_shard::Config::from_settings(settings).map(drop));
    run(&loader, |settings, shutdown| async move {
        let config = longbow_shard::Config::from_settings(&settings)?;
        match shutdown
            .unless(longbow_shard::start(config, shutdown.clone()))
            .await
        {
            Some(started) => started?.wait().await,
            None => Ok(()),
        }
    })
}
