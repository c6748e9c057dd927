//! Roles meet only in the protocol: no service depends on another, and nothing below them depends on a service.

use crate::{Finding, Tree, manifest, source};

/// Packages of roles, as manifests and as code name them.
const ROLES: &[(&str, &str)] = &[
    ("longbow-router", "longbow_router"),
    ("longbow-shard", "longbow_shard"),
    ("longbow-wal-keeper", "longbow_wal_keeper"),
];

/// Finds packages that know a role they may not know. `cli/`, `tests/` and `bench/` put roles together, and the
/// integration tests of a service may start the others; its own code may not name them, not even in its unit tests.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in manifest::all(tree) {
        let service = package.folder.starts_with("services/");
        if !service
            && !["crates/", "clients/"]
                .iter()
                .any(|room| package.folder.starts_with(room))
        {
            continue;
        }
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            if service && kind == "dev-dependencies" {
                continue;
            }
            let names = package.dependencies(kind);
            for name in names
                .keys()
                .filter(|name| ROLES.iter().any(|(role, _)| role == name))
            {
                findings.push(Finding::file(
                    package.path,
                    format!("{kind} name {name}: roles meet in proto/"),
                ));
            }
        }
    }
    for (path, text) in tree
        .rust()
        .filter(|(path, _)| path.starts_with("services/") && path.contains("/src/"))
    {
        let code = source::code(text);
        let own = path.split('/').nth(1).unwrap_or_default().replace('-', "_");
        for (_, role) in ROLES
            .iter()
            .filter(|(_, role)| role.strip_prefix("longbow_") != Some(&own))
        {
            for line in source::lines_with(&code, role) {
                findings.push(Finding::at(
                    path,
                    line,
                    format!("names {role}: roles meet in proto/"),
                ));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_that_imports_another_is_found() {
        let import = "[dependencies]\nlongbow-shard.workspace = true";
        let found = check(&Tree::of(&[
            ("services/router/Cargo.toml", import),
            ("cli/Cargo.toml", import),
        ]));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].path, "services/router/Cargo.toml");
    }

    #[test]
    fn only_integration_tests_of_a_service_start_the_others() {
        let import = "[dev-dependencies]\nlongbow-shard.workspace = true";
        let code = "use longbow_router as own;\n#[cfg(test)] mod tests { use longbow_shard::start; }";
        let tree = Tree::of(&[
            ("services/router/Cargo.toml", import),
            ("services/router/tests/it/main.rs", code),
            ("services/router/src/a.rs", code),
        ]);
        assert_eq!(
            check(&tree),
            [Finding::at(
                "services/router/src/a.rs",
                2,
                "names longbow_shard: roles meet in proto/"
            )]
        );
    }

    #[test]
    fn a_crate_that_imports_a_role_is_found() {
        let import = "[dev-dependencies]\nlongbow-router = { workspace = true }";
        assert_eq!(check(&Tree::of(&[("crates/node/Cargo.toml", import)])).len(), 1);
    }
}
