//! Files stay short enough to be read; the few that are longer give a reason.

use crate::{Finding, Tree};

/// Most lines of a Rust file.
pub const LINES_MAX: usize = 500;

/// Files that may be longer, and why.
const ALLOWED: &[(&str, &str)] = &[];

/// Finds files that are too long, and permissions that nobody needs any more.
pub fn check(tree: &Tree) -> Vec<Finding> {
    check_with(tree, ALLOWED)
}

fn check_with(tree: &Tree, allowed: &[(&str, &str)]) -> Vec<Finding> {
    let long = |text: &str| text.lines().count() > LINES_MAX;
    let is_allowed = |path: &str| allowed.iter().any(|(file, _)| *file == path);
    let mut findings: Vec<_> = tree
        .rust()
        .filter(|(path, text)| long(text) && !is_allowed(path))
        .map(|(path, text)| {
            Finding::file(
                path,
                format!("{} lines, at most {LINES_MAX}", text.lines().count()),
            )
        })
        .collect();
    for (path, _) in allowed {
        if !tree.text(path).is_some_and(long) {
            findings.push(Finding::file(
                path,
                "needs no permission to be long any more: take it from the list",
            ));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_file_is_found() {
        let long = "a\n".repeat(LINES_MAX + 1);
        let tree = Tree::of(&[("a.rs", &long), ("b.rs", "a\n")]);
        assert_eq!(check_with(&tree, &[]).len(), 1);
        assert_eq!(check_with(&tree, &[("a.rs", "a table")]).len(), 0);
        assert_eq!(
            check_with(&tree, &[("a.rs", "a table"), ("b.rs", "stale")]).len(),
            1
        );
    }
}
