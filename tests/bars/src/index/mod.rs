//! The bars of the index: beside its peers, and by itself.

mod alone;
mod beside;
mod peers;
mod scale;

use std::{
    fs::{File, create_dir_all},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use anyhow::{Result, bail, ensure};

use crate::{
    IndexArgs, kernels,
    report::{NotRun, Report},
    run::{root, run},
};

/// Measures all bars; true if one is short.
pub fn measure(args: &IndexArgs) -> Result<bool> {
    let mut report = Report::new(&args.only);
    run("cargo", &["build", "--release", "-p", "longbow"])?;
    create_dir_all(results())?;
    let mut samples = BufWriter::new(File::create(results().join("index-kernels.jsonl"))?);
    kernels::bars(&mut report, &mut samples);
    samples.flush()?;
    beside::bars(&mut report, args);
    alone::bars(&mut report, args);
    scale::bars(&mut report, args);
    Ok(report.short())
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

/// A generated data set, made when it is first asked for.
fn generated(args: &IndexArgs, name: &str, options: &[&str]) -> Result<String> {
    let folder = results().join("data").join(name);
    if !folder.join("gt.npz").exists() {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/generate.py");
        let (python, script, out) = (
            python(args)?,
            script.display().to_string(),
            folder.display().to_string(),
        );
        run(&python, &[&[script.as_str(), out.as_str()], options].concat())?;
        ensure!(folder.join("gt.npz").exists(), "{script} made no answers");
    }
    Ok(folder.canonicalize()?.display().to_string())
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
