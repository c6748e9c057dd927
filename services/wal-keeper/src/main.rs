//! The longbow-wal-keeper process.

use std::process::ExitCode;

use longbow_node::{
    config::{COMMON, Loader},
    run,
};
use longbow_wal_keeper::{Config, SETTINGS, start};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let about = "Orders every write of a Longbow cluster and makes it durable on a quorum of disks";
    let loader = Loader::new("longbow-wal-keeper", about, &[COMMON, SETTINGS])
        .check(|settings| Config::from_settings(settings).map(drop));
    run::run(&loader, async |settings, shutdown| {
        let config = Config::from_settings(&settings)?;
        match shutdown.unless(start(config, shutdown.clone())).await {
            Some(started) => started?.wait().await,
            None => Ok(()),
        }
    })
}
