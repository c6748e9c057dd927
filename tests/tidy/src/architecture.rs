//! ARCHITECTURE.md has a line for every room, and names no room that is not there.

use crate::{Finding, Tree, manifest};

const MAP: &str = "ARCHITECTURE.md";

/// Rooms of the repository: a path in backticks that begins with one of these must exist.
const ROOMS: &[&str] = &[
    "bench/",
    "cli/",
    "clients/",
    "crates/",
    "deploy/",
    "docs/",
    "proto/",
    "services/",
    "tests/",
    ".ci/",
];

/// Finds packages that the map leaves out, and paths on the map that lead nowhere.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let Some(map) = tree.text(MAP) else {
        return vec![Finding::file(MAP, "is missing")];
    };
    let mut findings = Vec::new();
    let named: Vec<(usize, &str)> = map
        .lines()
        .enumerate()
        .flat_map(|(number, line)| {
            line.split('`')
                .skip(1)
                .step_by(2)
                .map(move |text| (number + 1, text))
        })
        .collect();
    for package in manifest::all(tree) {
        if !named
            .iter()
            .any(|(_, text)| text.trim_end_matches('/') == package.folder)
        {
            findings.push(Finding::file(
                MAP,
                format!("says nothing of `{}`", package.folder),
            ));
        }
    }
    for (line, text) in named {
        let is_path = ROOMS.iter().any(|room| text.starts_with(room)) && !text.contains(['<', '*', ' ']);
        if is_path && !tree.has(text.trim_end_matches('/')) {
            findings.push(Finding::at(
                MAP,
                line,
                format!("names `{text}`, which is not there"),
            ));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_without_a_line_is_found() {
        let tree = Tree::of(&[
            ("crates/a/Cargo.toml", ""),
            ("crates/b/Cargo.toml", ""),
            (MAP, "`crates/a/`: what is a?"),
        ]);
        assert_eq!(check(&tree), [Finding::file(MAP, "says nothing of `crates/b`")]);
    }

    #[test]
    fn a_line_without_a_room_is_found() {
        let tree = Tree::of(&[
            ("crates/a/Cargo.toml", ""),
            (MAP, "`crates/a`\n`crates/gone`, `crates/<any>`, `cargo`"),
        ]);
        assert_eq!(
            check(&tree),
            [Finding::at(MAP, 2, "names `crates/gone`, which is not there")]
        );
    }

    #[test]
    fn a_missing_map_is_found() {
        assert_eq!(check(&Tree::of(&[])).len(), 1);
    }
}
