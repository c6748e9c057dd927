//! One line for each bar, and whether any of them is short.

use std::{fmt::Display, time::Instant};

use anyhow::Result;

/// Times below are not printed.
const WORTH_SAYING_SECONDS: f64 = 1.0;

/// What a measurement must be.
#[derive(Debug, Clone, Copy)]
pub enum Required {
    /// At least this.
    AtLeast(f64),
    /// At most this.
    AtMost(f64),
}

/// Prints bars as they are measured.
pub struct Report {
    only: String,
    short: bool,
}

impl Report {
    /// A report of the bars whose name contains `only`.
    pub fn new(only: &str) -> Self {
        Self {
            only: only.to_owned(),
            short: false,
        }
    }

    /// Whether a bar of this name is to be measured.
    pub fn wants(&self, name: &str) -> bool {
        name.contains(&self.only)
    }

    /// Measures one bar. An error of the measurement is a short bar, printed with its reason on standard error.
    pub fn bar(&mut self, name: &str, required: Required, measure: impl FnOnce() -> Result<f64>) {
        if !self.wants(name) {
            return;
        }
        eprintln!("measuring {name} …");
        let started = Instant::now();
        let measured = measure();
        let seconds = started.elapsed().as_secs_f64();
        // Of several bars read from one measurement, the first pays for it.
        if seconds >= WORTH_SAYING_SECONDS {
            eprintln!("  took {seconds:.0} s");
        }
        match measured {
            Ok(value) => {
                let met = match required {
                    Required::AtLeast(bound) => value >= bound,
                    Required::AtMost(bound) => value <= bound,
                };
                self.line(
                    name,
                    &round(value),
                    &bound_text(required),
                    if met { "pass" } else { "short" },
                );
                self.short |= !met;
            }
            Err(error) if error.is::<NotRun>() => {
                eprintln!("{name}: {error:#}");
                self.line(name, "-", &bound_text(required), "not-run");
            }
            Err(error) => {
                eprintln!("{name}: {error:#}");
                self.line(name, "failed", &bound_text(required), "short");
                self.short = true;
            }
        }
    }

    /// Whether any bar was short.
    pub fn short(&self) -> bool {
        self.short
    }

    fn line(&self, name: &str, measured: &str, required: &str, verdict: &str) {
        println!("bar {name} {measured} {required} {verdict}");
    }
}

impl Report {
    /// Like [`Report::bar`] for something that either holds or does not: 1 must be measured.
    pub fn holds(&mut self, name: &str, check: impl FnOnce() -> Result<()>) {
        self.bar(name, Required::AtLeast(1.0), || check().map(|()| 1.0));
    }
}

fn round(value: f64) -> String {
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn bound_text(required: Required) -> String {
    match required {
        Required::AtLeast(bound) => format!(">={bound}"),
        Required::AtMost(bound) => format!("<={bound}"),
    }
}

/// A bar that cannot be measured here, and why.
#[derive(Debug)]
pub struct NotRun(pub String);

impl Display for NotRun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "not run: {}", self.0)
    }
}

impl std::error::Error for NotRun {}
