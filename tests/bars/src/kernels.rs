//! The bars of the kernels: how fast they are beside their peers, and how near a flat scan comes to the memory.

mod bandwidth;
#[cfg(feature = "peers")]
mod peers;

use std::{
    fs::File,
    io::{BufWriter, Write},
};

use anyhow::Result;

use crate::{
    report::{Report, Required::AtLeast},
    run::root,
};
pub use bandwidth::flat_scan;

/// How one kernel of ours compares with one of a peer.
pub struct Ratio {
    /// Element type, metric and dimension.
    pub kernel: String,
    /// Whose kernel ours was compared with.
    pub peer: &'static str,
    /// The peer's median time by ours: above 1, ours is the faster.
    pub ratio: f64,
    /// Whether the peer's answer is within the error that ours is held to. SimSIMD adds up f16 in f16, for one.
    pub as_exact: bool,
}

/// Compares every kernel of one pair with the same kernel of SimSIMD and NumKong, at every dimension of the bar, hot in
/// cache and interleaved. Raw samples go to `samples` as JSON lines.
#[cfg(feature = "peers")]
pub fn against_peers(samples: &mut dyn Write) -> Result<Vec<Ratio>> {
    peers::compare(samples)
}

/// Says that the peers were not built.
#[cfg(not(feature = "peers"))]
pub fn against_peers(_samples: &mut dyn Write) -> Result<Vec<Ratio>> {
    anyhow::bail!(crate::report::NotRun(
        "needs `--features peers`, which builds SimSIMD and NumKong".to_owned()
    ))
}

/// Measures the bars of the kernels alone; true if one is short.
pub fn measure() -> Result<bool> {
    let folder = root().join("target/bars");
    std::fs::create_dir_all(&folder)?;
    let mut samples = BufWriter::new(File::create(folder.join("kernels.jsonl"))?);
    let mut report = Report::new("");
    let mut worst = [f64::NAN; 2];
    report.bar("index-kernels-vs-peers-as-exact-worst", AtLeast(0.9), || {
        let mut ratios = against_peers(&mut samples)?;
        ratios.sort_by(|a, b| a.ratio.total_cmp(&b.ratio));
        for Ratio {
            kernel,
            peer,
            ratio,
            as_exact,
        } in &ratios
        {
            let note = if *as_exact { "" } else { " (less exact)" };
            eprintln!("{ratio:8.3} {kernel} vs {peer}{note}");
        }
        worst = [true, false].map(|exact| {
            let of_class = ratios.iter().find(|ratio| ratio.as_exact || !exact);
            of_class.map_or(f64::NAN, |ratio| ratio.ratio)
        });
        Ok(worst[0])
    });
    if !worst[1].is_nan() {
        report.bar("index-kernels-vs-all-peers-worst", AtLeast(0.9), || Ok(worst[1]));
    }
    for threads in [1, 2] {
        let name = format!("index-flat-scan-vs-memory-{threads}-cores");
        report.bar(&name, AtLeast(0.8), || flat_scan(threads, &mut samples));
    }
    samples.flush()?;
    Ok(report.short())
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
