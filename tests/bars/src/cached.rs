//! What several bars are read from, measured when the first of them asks.

use std::cell::OnceCell;

use anyhow::{Result, anyhow};

use crate::report::NotRun;

/// A measurement that is made once, whether it succeeds or not.
pub struct Cached<T>(OnceCell<Result<T, Failure>>);

/// Why it failed, to be told to every bar.
struct Failure {
    not_run: bool,
    text: String,
}

impl<T> Cached<T> {
    /// Nothing measured yet.
    pub fn new() -> Self {
        Self(OnceCell::new())
    }

    /// The measurement.
    pub fn get(&self, measure: impl FnOnce() -> Result<T>) -> Result<&T> {
        let measured = self.0.get_or_init(|| {
            measure().map_err(|error| Failure {
                not_run: error.is::<NotRun>(),
                text: format!("{error:#}"),
            })
        });
        measured.as_ref().map_err(|failure| {
            if failure.not_run {
                NotRun(failure.text.clone()).into()
            } else {
                anyhow!("{}", failure.text)
            }
        })
    }
}
