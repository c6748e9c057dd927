//! A loose end names the issue that will tie it up, as in `(#12)`.

use crate::{Finding, Tree, source};

const MARKS: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("HA", "CK"),
];

/// Finds marks of unfinished work that name no issue.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.texts().filter(|(path, _)| *path != "Cargo.lock") {
        for mark in MARKS {
            for number in source::lines_with(text, mark) {
                if !text.lines().nth(number - 1).is_some_and(names_an_issue) {
                    findings.push(Finding::at(
                        path,
                        number,
                        format!("{mark} without an issue such as (#12)"),
                    ));
                }
            }
        }
    }
    findings
}

fn names_an_issue(line: &str) -> bool {
    line.match_indices("(#")
        .any(|(at, _)| line[at + 2..].starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loose_end_is_found() {
        let mark = MARKS[0];
        let text = format!("// {mark}: later\n// {mark}(#12): later\n// {mark} (#x)");
        let lines: Vec<usize> = check(&Tree::of(&[("a.rs", &text)]))
            .iter()
            .map(|finding| finding.line)
            .collect();
        assert_eq!(lines, [1, 3]);
    }
}
