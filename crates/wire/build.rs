//! Compiles the protocol definitions in `proto/` without protoc.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message;

const FILES: [&str; 8] = [
    "longbow/v1/common.proto",
    "longbow/v1/dataset.proto",
    "longbow/v1/write.proto",
    "longbow/v1/search.proto",
    "longbow/v1/cluster.proto",
    "longbow/internal/v1/log.proto",
    "longbow/internal/v1/keeper.proto",
    "longbow/internal/v1/shard.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    println!("cargo::rerun-if-changed={}", root.display());

    let descriptors = protox::compile(FILES, [&root])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("longbow.bin"), descriptors.encode_to_vec())?;

    tonic_prost_build::configure()
        .client_mod_attribute(".", "#[cfg(feature = \"rpc\")]")
        .server_mod_attribute(".", "#[cfg(feature = \"rpc\")]")
        .bytes(".longbow")
        .btree_map(".longbow")
        .compile_fds(descriptors)?;
    Ok(())
}
