//! The chart and the operators' list name settings that the code has; the list has all of them.

use std::collections::BTreeSet;

use crate::{Finding, Tree, source};

const LIST: &str = "docs/operations/settings.md";
const CHART: &str = "deploy/helm/longbow/templates/";

/// Finds settings that are named and not there, and settings that the list leaves out.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let declared = declared(tree);
    let env: BTreeSet<String> = declared.iter().map(|key| env_of(key)).collect();
    let mut findings = Vec::new();
    for (path, text) in tree.texts().filter(|(path, _)| path.starts_with(CHART)) {
        for (number, line) in text.lines().enumerate() {
            let name = line
                .trim_start()
                .strip_prefix("- name: ")
                .filter(|name| name.starts_with("LONGBOW_"));
            if let Some(name) = name.filter(|name| !env.contains(name.trim())) {
                findings.push(Finding::at(
                    path,
                    number + 1,
                    format!("{name}: the code has no such setting"),
                ));
            }
            for key in quoted(line).filter(|key| is_dotted(key) && !declared.contains(key)) {
                findings.push(Finding::at(
                    path,
                    number + 1,
                    format!("{key}: the code has no such setting"),
                ));
            }
        }
    }
    let list = tree.text(LIST).unwrap_or_default();
    let rows = || {
        list.lines()
            .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
    };
    for key in declared.iter().filter(|key| !rows().any(|row| row == **key)) {
        findings.push(Finding::file(LIST, format!("does not list {key}")));
    }
    for row in rows().filter(|row| !declared.contains(row)) {
        findings.push(Finding::file(
            LIST,
            format!("lists {row}: the code has no such setting"),
        ));
    }
    findings
}

/// Keys of every `Setting` of the product, read from its source so that no role needs to be linked here.
fn declared(tree: &Tree) -> BTreeSet<&str> {
    let mut keys = BTreeSet::new();
    let product = |path: &str| path.starts_with("crates/node/src/config") || path.starts_with("services/");
    for (_, text) in tree
        .rust()
        .filter(|(path, _)| product(path) && !source::is_test(path))
    {
        let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or(text);
        let mut expected = false;
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with("//")) {
            // The key stands behind the parenthesis, or on the next line.
            let behind = line.split("Setting::new(").nth(1);
            let key = behind
                .unwrap_or(if expected { line } else { "" })
                .strip_prefix('"');
            keys.extend(key.and_then(|rest| rest.split('"').next()));
            expected = behind == Some("");
        }
    }
    keys
}

/// `gossip.advertise_addr` is LONGBOW_GOSSIP_ADVERTISE_ADDR.
fn env_of(key: &str) -> String {
    format!("LONGBOW_{}", key.replace('.', "_").to_uppercase())
}

fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('"').skip(1).step_by(2)
}

/// `a.b_c`: what a key of the settings file looks like; `longbow.x` is a template of the chart.
fn is_dotted(text: &str) -> bool {
    let part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_lowercase())
            && part
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    text.contains('.') && !text.starts_with("longbow.") && text.split('.').all(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: (&str, &str) = (
        "crates/node/src/config/common.rs",
        "/// `Setting::new(\"a.b\")`\n&[Setting::new(\n    \"gossip.seeds\",\n    \"where\",\n), Setting::new(\"c\", \"d\")]",
    );
    const DOCS: (&str, &str) = (LIST, "| key |\n| `gossip.seeds` | where |\n| `c` | d |");

    fn findings(files: &[(&str, &str)]) -> Vec<String> {
        check(&Tree::of(files))
            .into_iter()
            .map(|finding| finding.text)
            .collect()
    }

    #[test]
    fn a_chart_that_sets_what_is_not_there_is_found() {
        let good = format!("{CHART}a.tpl");
        let text =
            "- name: LONGBOW_GOSSIP_SEEDS\n\"gossip.seeds\" (\"a.b:1\" \"Chart.Name\")\n- name: POD_IP";
        assert_eq!(findings(&[CODE, DOCS, (&good, text)]), [""; 0]);
        assert_eq!(
            findings(&[CODE, DOCS, (&good, "- name: LONGBOW_GOSIP_SEEDS")]).len(),
            1
        );
        assert_eq!(
            findings(&[CODE, DOCS, (&good, "dict \"gossip.seed\" 1")]).len(),
            1
        );
    }

    #[test]
    fn a_list_that_is_not_the_code_is_found() {
        assert_eq!(
            findings(&[CODE, (LIST, "")]),
            ["does not list c", "does not list gossip.seeds"]
        );
        assert_eq!(findings(&[DOCS]).len(), 2);
    }
}
