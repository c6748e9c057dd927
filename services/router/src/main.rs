//! The router as a process: settings, start, wait.

use std::process::ExitCode;

use longbow_node::{config::Loader, run::run};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let about = "Takes requests: validates, partitions, appends, scatters, gathers";
    let loader = Loader::new("longbow-router", about, &[longbow_router::SETTINGS])
        .check(|settings| longbow_router::Config::from_settings(settings).map(drop));
    run(&loader, |settings, shutdown| async move {
        let config = longbow_router::Config::from_settings(&settings)?;
        match shutdown
            .unless(longbow_router::start(config, shutdown.clone()))
            .await
        {
            Some(started) => started?.wait().await,
            None => Ok(()),
        }
    })
}
