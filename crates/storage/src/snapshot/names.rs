//! What are the files of a snapshot called?
//!
//! Every name begins with the generation that wrote the file: the first one is 1, each is above all whose files are in
//! the directory. So no name is given twice, and no file that a manifest lists is ever written again.

use std::fmt;

/// A file of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    pub(super) generation: u64,
    pub(super) part: Part,
}

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// What the snapshot is made of.
    Manifest,
    /// The vector index.
    Index,
    /// That of a further vector column, by the number of the dataset's column.
    Further(u32),
    /// Which rows are live.
    Live,
    /// A chunk of the columns, and the slot of its first row.
    Columns(u32),
}

const TEMPORARY: &str = ".tmp";

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let generation = self.generation;
        match self.part {
            Part::Manifest => write!(f, "{generation:020}.manifest"),
            Part::Index => write!(f, "{generation:020}-index.image"),
            Part::Further(column) => write!(f, "{generation:020}-vectors-{column:010}.image"),
            Part::Live => write!(f, "{generation:020}-live.arrow"),
            Part::Columns(slot) => write!(f, "{generation:020}-columns-{slot:010}.arrow"),
        }
    }
}

impl Name {
    pub(super) fn manifest(generation: u64) -> Self {
        let part = Part::Manifest;
        Self { generation, part }
    }

    /// The name the file has until it is whole.
    pub(super) fn temporary(self) -> String {
        format!("{self}{TEMPORARY}")
    }

    /// Nothing for files that are not ours.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (digits, rest) = text.split_at_checked(20)?;
        let part = match rest {
            ".manifest" => Part::Manifest,
            "-index.image" => Part::Index,
            "-live.arrow" => Part::Live,
            _ => match rest.strip_prefix("-columns-") {
                Some(slot) => Part::Columns(slot.strip_suffix(".arrow")?.parse().ok()?),
                None => {
                    let column = rest.strip_prefix("-vectors-")?.strip_suffix(".image")?;
                    Part::Further(column.parse().ok()?)
                }
            },
        };
        let name = Self {
            generation: digits.parse().ok()?,
            part,
        };
        // Signs and missing zeros are not ours.
        (name.to_string() == text).then_some(name)
    }

    /// As [`Name::parse`], of a file that may not be whole.
    pub(super) fn parse_temporary(text: &str) -> Option<Self> {
        Self::parse(text.strip_suffix(TEMPORARY)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        let parts = [
            Part::Manifest,
            Part::Index,
            Part::Further(7),
            Part::Live,
            Part::Columns(u32::MAX),
        ];
        for part in parts {
            for generation in [1, u64::MAX] {
                let name = Name { generation, part };
                assert_eq!(Name::parse(&name.to_string()), Some(name));
                assert_eq!(Name::parse_temporary(&name.temporary()), Some(name));
                assert_eq!(Name::parse(&name.temporary()), None);
            }
        }
    }

    #[test]
    fn other_files_are_left_alone() {
        for text in [
            "",
            "lost+found",
            "1.manifest",
            "+0000000000000000001.manifest",
            "00000000000000000001-columns-1.arrow",
            "00000000000000000001-vectors-1.image",
            "00000000000000000001-vectors-0000000001.arrow",
            "99999999999999999999.manifest",
            "ééééééééééééééééééé.manifest",
        ] {
            assert_eq!(Name::parse(text), None, "{text}");
        }
    }
}
