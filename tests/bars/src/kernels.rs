//! The bars of the kernels: how fast they are beside their peers, and how near a flat scan comes to the memory.

mod bandwidth;
#[cfg(feature = "peers")]
mod peers;

use std::{
    fs::File,
    io::{BufWriter, Write},
    time::Instant,
};

use anyhow::Result;
use serde_json::json;

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
    report.bar("index-kernels-vs-peers-worst", AtLeast(0.9), || {
        let mut ratios = against_peers(&mut samples)?;
        ratios.sort_by(|a, b| a.ratio.total_cmp(&b.ratio));
        for Ratio { kernel, peer, ratio } in &ratios {
            eprintln!("{ratio:8.3} {kernel} vs {peer}");
        }
        Ok(ratios.first().map_or(f64::NAN, |worst| worst.ratio))
    });
    for threads in [1, 2] {
        let name = format!("index-flat-scan-vs-memory-{threads}-cores");
        report.bar(&name, AtLeast(0.8), || flat_scan(threads, &mut samples));
    }
    samples.flush()?;
    Ok(report.short())
}

/// Rounds of an interleaved comparison.
const ROUNDS: usize = 41;

/// Times the contestants in turn, `ROUNDS` times after one to warm up, and gives the median of each. A contestant runs
/// `calls` calls and a sample is the nanoseconds of one.
fn interleaved(
    name: &str,
    calls: usize,
    contestants: &mut [(&'static str, Box<dyn FnMut(usize) + '_>)],
    samples: &mut dyn Write,
) -> Result<Vec<f64>> {
    let mut times = vec![Vec::with_capacity(ROUNDS); contestants.len()];
    for round in 0..=ROUNDS {
        for turn in 0..contestants.len() {
            // Whoever follows whom changes with the round.
            let index = (turn + round) % contestants.len();
            let started = Instant::now();
            (contestants[index].1)(calls);
            if round > 0 {
                times[index].push(started.elapsed().as_secs_f64() * 1e9 / calls as f64);
            }
        }
    }
    for ((contestant, _), times) in contestants.iter().zip(&times) {
        let line = json!({"kernel": name, "by": contestant, "calls": calls, "ns": times});
        writeln!(samples, "{line}")?;
    }
    Ok(times.into_iter().map(median).collect())
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
