//! Dashboards and alerts ask only for metrics that the code has, and the operators' list names all of those.

use std::collections::BTreeSet;

use crate::{Finding, Tree, source};

const PREFIX: &str = "longbow_";
const LIST: &str = "docs/operations/metrics.md";

/// Folders whose files ask Prometheus for metrics.
const ASKING: &[&str] = &["deploy/grafana/", "deploy/prometheus/"];

/// What a histogram or its quantiles are called when asked for.
const SUFFIXES: &[&str] = &["_bucket", "_sum", "_count"];

/// Finds metrics that are asked for or listed but not made, and those made but not listed.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let made = made(tree);
    let mut findings = Vec::new();
    for (path, text) in tree.texts() {
        if !(path == LIST || ASKING.iter().any(|folder| path.starts_with(folder))) {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            for name in source::words_with_prefix(line, PREFIX) {
                if !made.contains(name) && !made.contains(base(name)) {
                    findings.push(Finding::at(
                        path,
                        number + 1,
                        format!("{name}: no code makes this metric"),
                    ));
                }
            }
        }
    }
    let listed = tree.text(LIST).unwrap_or_default();
    let listed: BTreeSet<&str> = source::words_with_prefix(listed, PREFIX).into_iter().collect();
    for name in made.iter().filter(|name| !listed.contains(*name)) {
        findings.push(Finding::file(
            LIST,
            format!("{name} is made by the code and not listed"),
        ));
    }
    findings
}

/// Metrics made by code that is not a test: every string that is a metric's name and nothing else.
fn made(tree: &Tree) -> BTreeSet<&str> {
    let mut made = BTreeSet::new();
    for (path, text) in tree.rust() {
        if source::is_test(path) || !(path.starts_with("crates/") || path.starts_with("services/")) {
            continue;
        }
        let product = text.split("#[cfg(test)]\nmod ").next().unwrap_or(text);
        let strings = product
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        for part in strings.flat_map(|line| line.split('"').skip(1).step_by(2)) {
            if source::words_with_prefix(part, PREFIX) == [part] {
                made.insert(part);
            }
        }
    }
    made
}

fn base(name: &str) -> &str {
    SUFFIXES
        .iter()
        .find_map(|suffix| name.strip_suffix(suffix))
        .unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: (&str, &str) = (
        "services/router/src/a.rs",
        "counter!(\"longbow_a_total\"); histogram!(\"longbow_b_seconds\")",
    );
    const DOCS: (&str, &str) = (LIST, "longbow_a_total longbow_b_seconds");

    #[test]
    fn a_metric_that_nobody_makes_is_found() {
        let good = (
            "deploy/grafana/a.json",
            "rate(longbow_a_total[1m]) + longbow_b_seconds_bucket",
        );
        let bad = ("deploy/prometheus/a.yml", "longbow_a_totals > 0");
        assert_eq!(check(&Tree::of(&[CODE, DOCS, good])), []);
        assert_eq!(check(&Tree::of(&[CODE, DOCS, bad])).len(), 1);
    }

    #[test]
    fn a_metric_of_a_test_or_comment_is_not_made() {
        let test = (
            "services/router/src/b.rs",
            "#[cfg(test)]\nmod tests { const A: &str = \"longbow_c\"; }",
        );
        let comment = ("services/router/src/c.rs", "// \"longbow_d\"");
        assert_eq!(check(&Tree::of(&[CODE, DOCS, test, comment])), []);
    }

    #[test]
    fn a_metric_that_is_not_listed_is_found() {
        assert_eq!(check(&Tree::of(&[CODE, (LIST, "longbow_a_total")])).len(), 1);
    }
}
