//! The bars of the kernels: how fast they are beside their peers, and how near a flat scan comes to the memory.

mod bandwidth;
#[cfg(feature = "peers")]
mod peers;

use std::io::Write;

use anyhow::{Context, Result};

use crate::{
    cached::Cached,
    report::{Report, Required::AtLeast},
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

/// Measures the bars; raw samples go to `samples`.
pub fn bars(report: &mut Report, samples: &mut dyn Write) {
    let ratios = Cached::new();
    for (name, also_less_exact) in [
        ("kernels-worst-vs-peers-as-exact", false),
        ("kernels-worst-vs-all-peers", true),
    ] {
        report.bar(name, AtLeast(0.9), || {
            let ratios = ratios.get(|| against_peers(samples))?;
            let counted = ratios.iter().filter(|ratio| ratio.as_exact || also_less_exact);
            let worst = counted
                .min_by(|a, b| a.ratio.total_cmp(&b.ratio))
                .context("no kernel")?;
            eprintln!("  {} beside {}", worst.kernel, worst.peer);
            Ok(worst.ratio)
        });
    }
    for threads in [1, 2] {
        let name = format!("flat-scan-over-memory-bandwidth-{threads}-cores");
        report.bar(&name, AtLeast(0.8), || flat_scan(threads, samples));
    }
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
