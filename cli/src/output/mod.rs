//! How results reach a person or a machine.

pub mod json;
pub mod table;

use std::io::{self, Write};

use serde::Serialize;

/// Where results go.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    /// JSON instead of text.
    pub json: bool,
}

impl Output {
    /// Prints a result: its JSON on one line, or the text.
    pub fn result<T: Serialize>(self, value: &T, text: impl FnOnce() -> String) -> io::Result<()> {
        if self.json {
            let line = serde_json::to_string(value).map_err(io::Error::other)?;
            say(&line)
        } else {
            say(&text())
        }
    }

    /// Prints a line for people only.
    pub fn note(self, text: &str) -> io::Result<()> {
        if self.json { Ok(()) } else { say(text) }
    }
}

/// Prints a line to stdout, at once, and to a pipe, too. A reader that has left is an error of kind `BrokenPipe`,
/// which `main` takes for the wish to stop.
pub fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    out.flush()
}
