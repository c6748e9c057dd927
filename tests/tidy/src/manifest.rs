//! What do the packages of the workspace say of themselves?

use toml::Table;

use crate::Tree;

/// The manifest of a package.
#[derive(Debug)]
pub struct Manifest<'a> {
    /// Path of its Cargo.toml.
    pub path: &'a str,
    /// Folder of the package.
    pub folder: &'a str,
    /// The parsed manifest; empty if it does not parse.
    pub table: Table,
}

impl Manifest<'_> {
    /// Names and specifications of dependencies of a kind: `dependencies`, `dev-dependencies`, `build-dependencies`.
    pub fn dependencies(&self, kind: &str) -> Table {
        self.table
            .get(kind)
            .and_then(|value| value.as_table())
            .cloned()
            .unwrap_or_default()
    }
}

/// Every package of the tree, the workspace's root left out.
pub fn all(tree: &Tree) -> Vec<Manifest<'_>> {
    tree.texts()
        .filter_map(|(path, text)| {
            let folder = path.strip_suffix("/Cargo.toml")?;
            Some(Manifest {
                path,
                folder,
                table: text.parse().unwrap_or_default(),
            })
        })
        .collect()
}
