//! actix stands in `actors/` folders only; everybody else holds a handle.

use crate::{Finding, Tree, source};

/// Finds code outside `actors/` that names actix.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.rust() {
        if path.contains("/actors/") || path.ends_with("/actors.rs") {
            continue;
        }
        let code = source::code(text);
        for word in ["actix", "actix_rt"] {
            for line in source::lines_with(&code, word) {
                findings.push(Finding::at(path, line, "actix outside an actors/ folder"));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_actor_outside_its_folder_is_found() {
        let text = "use actix::Actor;\n// actix in a comment";
        let tree = Tree::of(&[
            ("services/shard/src/a.rs", text),
            ("services/shard/src/actors/a.rs", text),
        ]);
        assert_eq!(
            check(&tree),
            [Finding::at(
                "services/shard/src/a.rs",
                1,
                "actix outside an actors/ folder"
            )]
        );
    }
}
