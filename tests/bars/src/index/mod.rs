//! The bars of the index: beside its peers, and by itself.

mod alone;
mod beside;
mod curve;
mod filters;
mod generated;
mod mapped;
mod memory;
mod ours;
mod peers;
mod qdrant;
mod scale;

use std::{
    fs::{create_dir_all, remove_dir_all, write},
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, Result, bail};

use crate::{
    IndexArgs, kernels,
    npy::Matrix,
    report::{NotRun, Report},
    run::{root, run},
};
pub use mapped::print_resident;

/// Measures all bars; true if one is short.
pub fn measure(args: &IndexArgs) -> Result<bool> {
    let started = Instant::now();
    let mut report = Report::new(&args.only);
    run("cargo", &["build", "--release", "-p", "longbow"])?;
    stage("building longbow", started);
    // Indexes that an earlier run left are those of another build.
    clear_images()?;
    create_dir_all(images())?;
    let measured = Instant::now();
    let mut samples = Vec::new();
    kernels::bars(&mut report, &mut samples);
    // What an earlier run wrote stays where nothing takes its place.
    if !samples.is_empty() {
        write(results().join("index-kernels.jsonl"), samples)?;
    }
    stage("kernels", measured);
    let measured = Instant::now();
    beside::bars(&mut report, args);
    stage("beside the peers", measured);
    let measured = Instant::now();
    alone::bars(&mut report, args);
    stage("without peers", measured);
    let measured = Instant::now();
    scale::bars(&mut report, args);
    stage("scale and other data", measured);
    clear_images()?;
    stage("all bars", started);
    Ok(report.short())
}

/// Says how long a stage took, which is what the limit on the whole run is kept by.
fn stage(name: &str, started: Instant) {
    eprintln!("{name}: {:.0} s in all", started.elapsed().as_secs_f64());
}

fn clear_images() -> Result<()> {
    if images().exists() {
        remove_dir_all(images()).context("removing indexes of an earlier run")?;
    }
    Ok(())
}

/// Where indexes are kept during a run.
fn images() -> PathBuf {
    results().join("images")
}

/// Where raw samples go.
fn results() -> PathBuf {
    root().join("target/bars")
}

fn binary() -> String {
    root().join("target/release/longbow").display().to_string()
}

/// The full data set, or why the bar cannot run.
fn dataset(args: &IndexArgs) -> Result<String> {
    if !args.dataset.join("query.f16.npy").exists() {
        bail!(NotRun(format!("no data set in {}", args.dataset.display())));
    }
    Ok(args.dataset.canonicalize()?.display().to_string())
}

/// Bytes of the vectors of a data set in 32 bits, whatever it stores.
fn vectors_bytes(dataset: &str) -> Result<f64> {
    let folder = Path::new(dataset);
    let base = ["base.f32.npy", "base.f16.npy"].map(|name| folder.join(name));
    let base = base.iter().find(|path| path.exists());
    let matrix = Matrix::open(base.with_context(|| format!("no vectors in {dataset}"))?)?;
    Ok((matrix.rows * matrix.columns * size_of::<f32>()) as f64)
}

/// A Python with numpy, or why there is none.
fn python(args: &IndexArgs) -> Result<String> {
    let python = args.python.display().to_string();
    match run(&python, &["-c", "import numpy"]) {
        Ok(_) => Ok(python),
        Err(_) => bail!(NotRun(format!("{python} has no numpy: name one with --python"))),
    }
}

/// Of long measurements, why they are left out.
fn only_full(args: &IndexArgs) -> Result<()> {
    if !args.full {
        bail!(NotRun("takes long: give --full".to_owned()));
    }
    Ok(())
}
