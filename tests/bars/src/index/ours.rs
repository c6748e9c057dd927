//! Our engine in its modes, as `longbow bench ann` measures it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{binary, images};
use crate::run::{json_lines, run};

/// Where only the index counts, not how long it takes to build: two threads, and hardly a search.
const QUICKLY: [&str; 4] = ["--threads", "2", "--seconds", "0"];

/// Width of the graph and of what is looked at for it, the same for all engines.
const GRAPH: [&str; 2] = ["16", "200"];

/// A mode of ours.
#[derive(Debug)]
pub(super) struct Ours {
    /// As it is called among the peers.
    pub(super) name: &'static str,
    /// What makes it so.
    options: &'static [&'static str],
}

/// The vectors themselves in 32 bits.
pub(super) const F32: Ours = Ours {
    name: "longbow-f32",
    options: &["--element", "f32"],
};
/// Codes over such vectors.
pub(super) const SQ8_F32: Ours = Ours {
    name: "longbow-sq8-f32",
    options: &["--element", "f32", "--codes", "sq8"],
};
/// Codes over vectors in 16 bits.
pub(super) const SQ8_F16: Ours = Ours {
    name: "longbow-sq8-f16",
    options: &["--element", "f16", "--codes", "sq8"],
};
/// The fastest.
pub(super) const SQ4_F16: Ours = Ours {
    name: "longbow-sq4-f16",
    options: &["--element", "f16", "--codes", "sq4"],
};
/// For vectors that do not stay in memory.
pub(super) const BIT1_F16: Ours = Ours {
    name: "longbow-bit1-f16",
    options: &["--element", "f16", "--codes", "bit1"],
};

impl Ours {
    /// Where its index of a data set is kept during a run of the bars: what one bar built the others read.
    pub(super) fn image(&self, dataset: &str) -> PathBuf {
        let folder = Path::new(dataset).file_name().unwrap_or_default();
        images().join(format!("{}-{}", folder.display(), self.name))
    }

    /// The command that a benchmark of several engines runs in each round, as a shell would read it.
    pub(super) fn command(&self, dataset: &str, options: &[&str]) -> String {
        let image = self.image(dataset).display().to_string();
        let binary = binary();
        let words = [&binary, "bench", "ann", "--json", "--image", &image];
        let words = words.iter().chain(self.options).chain(options);
        let words: Vec<String> = words.map(|word| quoted(word)).collect();
        words.join(" ")
    }

    /// What a run by itself prints, on an index that is built if no other bar has.
    pub(super) fn bench(&self, dataset: &str, options: &[&str], efs: &[&str]) -> Result<Vec<Value>> {
        let image = self.image(dataset).display().to_string();
        self.run(dataset, &[&["--image", &image], options].concat(), efs)
    }

    /// Mebibytes that the process grows by while the index is built.
    pub(super) fn build_mb(&self, dataset: &str) -> Result<f64> {
        let lines = self.run(dataset, &QUICKLY, &["64"])?;
        let build = lines.iter().find(|line| line["phase"] == "build");
        build
            .and_then(|line| line["rss_mb"].as_f64())
            .context("nothing was built")
    }

    /// The image of its index, built if no other bar has.
    pub(super) fn built_image(&self, dataset: &str) -> Result<PathBuf> {
        let image = self.image(dataset);
        if !image.exists() {
            self.bench(dataset, &QUICKLY, &["64"])?;
            ensure!(image.exists(), "no {}", image.display());
        }
        Ok(image)
    }

    fn run(&self, dataset: &str, options: &[&str], efs: &[&str]) -> Result<Vec<Value>> {
        let words = [
            &["bench", "ann", "--json"],
            self.options,
            options,
            &[dataset],
            &GRAPH,
            efs,
        ];
        Ok(json_lines(&run(&binary(), &words.concat())?.stdout))
    }
}

/// A word that a shell takes as it is.
fn quoted(word: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./,".contains(letter);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_survive_a_shell() {
        assert_eq!(quoted("--threads"), "--threads");
        assert_eq!(quoted("0,16"), "0,16");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
