//! Does the tree keep the rules that a machine can judge?
//!
//! Each module is one rule: a function from a [`Tree`] to its [`Finding`]s, with a small bad example in its
//! unit tests that shows it fail. The test at the end of this file runs every rule over the real tree.

pub mod actors;
pub mod architecture;
pub mod cores;
pub mod errors;
pub mod headers;
pub mod lints;
pub mod manifest;
pub mod metrics;
pub mod paths;
pub mod protos;
pub mod roles;
pub mod settings;
pub mod sizes;
pub mod source;
pub mod todos;
pub mod tree;
pub mod unsafety;

pub use tree::{Finding, Tree};

/// One rule: what it finds wrong in a tree.
pub type Rule = fn(&Tree) -> Vec<Finding>;

/// Every rule by name.
pub const RULES: &[(&str, Rule)] = &[
    ("actix stays in actors/ folders", actors::check),
    ("ARCHITECTURE.md is true to the tree", architecture::check),
    ("cores are pure", cores::check),
    ("docs/errors.md has every code", errors::check),
    ("every .rs file says what question it answers", headers::check),
    ("packages inherit the workspace lints", lints::check),
    (
        "dashboards, alerts and docs name metrics that exist",
        metrics::check,
    ),
    ("no machine's paths", paths::check),
    ("protocol files are documented and regular", protos::check),
    ("roles never import each other", roles::check),
    ("chart and docs name settings that exist", settings::check),
    ("files stay short", sizes::check),
    ("no loose ends without a reference", todos::check),
    ("unsafe stays where it is allowed", unsafety::check),
];

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Root of the repository.
    fn root() -> &'static Path {
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
    }

    #[test]
    fn the_tree_keeps_every_rule() {
        let tree = Tree::load(root()).expect("the tree can be read");
        assert!(tree.texts().count() > 50, "the tree was not found");
        let mut report = String::new();
        for (name, rule) in RULES {
            for finding in rule(&tree) {
                report.push_str(&format!("{finding}   [{name}]\n"));
            }
        }
        assert!(report.is_empty(), "\n{report}");
    }
}
