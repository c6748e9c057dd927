//! Every package inherits the workspace's lints, licence and edition.

use crate::{Finding, Tree, manifest};

/// Finds packages that set themselves apart.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in manifest::all(tree) {
        let Some(about) = package.table.get("package") else {
            findings.push(Finding::file(
                package.path,
                "does not parse as the manifest of a package",
            ));
            continue;
        };
        if !inherits(package.table.get("lints")) {
            findings.push(Finding::file(
                package.path,
                "does not inherit the workspace's lints",
            ));
        }
        for key in ["edition", "license", "rust-version", "version"] {
            if !inherits(about.get(key)) {
                findings.push(Finding::file(
                    package.path,
                    format!("does not inherit the workspace's {key}"),
                ));
            }
        }
    }
    findings
}

fn inherits(value: Option<&toml::Value>) -> bool {
    value
        .and_then(|table| table.get("workspace"))
        .and_then(|flag| flag.as_bool())
        == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "[package]\nname = \"a\"\nversion.workspace = true\nedition.workspace = true\n\
        license.workspace = true\nrust-version.workspace = true\n[lints]\nworkspace = true\n";

    #[test]
    fn a_package_with_lints_of_its_own_is_found() {
        let bad = GOOD.replace("[lints]\nworkspace = true", "[lints.clippy]\nall = \"allow\"");
        assert_eq!(check(&Tree::of(&[("crates/a/Cargo.toml", GOOD)])), []);
        assert_eq!(check(&Tree::of(&[("crates/a/Cargo.toml", &bad)])).len(), 1);
        assert_eq!(check(&Tree::of(&[("crates/a/Cargo.toml", "[package")])).len(), 1);
    }

    #[test]
    fn a_package_with_an_edition_of_its_own_is_found() {
        let bad = GOOD.replace("edition.workspace = true", "edition = \"2021\"");
        assert_eq!(check(&Tree::of(&[("crates/a/Cargo.toml", &bad)])).len(), 1);
    }
}
