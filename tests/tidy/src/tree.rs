//! What files does the tree hold, and what is wrong where?

use std::{collections::BTreeMap, fmt, fs, io, path::Path};

/// Folders that hold what tools made, never what people wrote.
const SKIPPED: &[&str] = &[
    "target",
    ".git",
    ".longbow",
    ".venv",
    "__pycache__",
    "node_modules",
];

/// Larger files are data, not text that somebody reads.
const TEXT_BYTES_MAX: u64 = 2 << 20;

/// One breach of a rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// File, relative to the root.
    pub path: String,
    /// Line, from 1; 0 where the whole file is meant.
    pub line: usize,
    /// What is wrong.
    pub text: String,
}

impl Finding {
    /// A breach in a line.
    pub fn at(path: &str, line: usize, text: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            line,
            text: text.into(),
        }
    }

    /// A breach by a file as a whole.
    pub fn file(path: &str, text: impl Into<String>) -> Self {
        Self::at(path, 0, text)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.text),
            line => write!(f, "{}:{line}: {}", self.path, self.text),
        }
    }
}

/// Paths and texts of a source tree. Files that are not text have no text.
#[derive(Debug, Default)]
pub struct Tree {
    files: BTreeMap<String, Option<String>>,
}

impl Tree {
    /// Reads the tree below `root`.
    ///
    /// # Errors
    /// Any error of the file system.
    pub fn load(root: &Path) -> io::Result<Self> {
        let mut tree = Self::default();
        tree.read(root, "")?;
        Ok(tree)
    }

    /// A tree made of texts, for the tests of rules.
    pub fn of(files: &[(&str, &str)]) -> Self {
        let file = |(path, text): &(&str, &str)| ((*path).to_owned(), Some((*text).to_owned()));
        Self {
            files: files.iter().map(file).collect(),
        }
    }

    fn read(&mut self, folder: &Path, prefix: &str) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if SKIPPED.contains(&name.as_str()) {
                continue;
            }
            let path = format!("{prefix}{name}");
            let kind = entry.file_type()?;
            if kind.is_dir() {
                self.read(&entry.path(), &format!("{path}/"))?;
            } else if kind.is_symlink() {
                // The file it points at is read where it stands.
                self.files.insert(path, None);
            } else {
                let small = entry.metadata()?.len() <= TEXT_BYTES_MAX;
                let text = if small {
                    String::from_utf8(fs::read(entry.path())?).ok()
                } else {
                    None
                };
                self.files.insert(path, text);
            }
        }
        Ok(())
    }

    /// Every path, sorted.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// Every text with its path, sorted by path.
    pub fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files
            .iter()
            .filter_map(|(path, text)| Some((path.as_str(), text.as_deref()?)))
    }

    /// Texts of Rust files with their paths.
    pub fn rust(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts().filter(|(path, _)| path.ends_with(".rs"))
    }

    /// The text of one file.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path)?.as_deref()
    }

    /// Whether a file or folder of that path is there.
    pub fn has(&self, path: &str) -> bool {
        let folder = format!("{}/", path.trim_end_matches('/'));
        self.files.contains_key(path) || self.files.keys().any(|file| file.starts_with(&folder))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_found_by_their_files() {
        let tree = Tree::of(&[("crates/types/src/lib.rs", "")]);
        assert!(tree.has("crates/types") && tree.has("crates/") && !tree.has("crates/type"));
    }
}
