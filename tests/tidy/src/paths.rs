//! Nothing in the tree knows the machine it was written on.

use crate::{Finding, Tree, source};

/// Folders of somebody's machine.
const ANYWHERE: &[&str] = &[
    concat!("/", "work/"),
    concat!("/", "home/"),
    concat!("/", "root/"),
    concat!("/", "Users/"),
    concat!("../", "shared"),
];

/// Folders that tests may name, product code may not: it asks for a directory or makes one.
const NOT_IN_PRODUCT: &[&str] = &[concat!("/", "tmp/")];

/// Files that describe containers, where these paths are the image's own.
const IMAGES: &[&str] = &["deploy/docker/"];

/// Finds paths of a machine.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree
        .texts()
        .filter(|(path, _)| !IMAGES.iter().any(|image| path.starts_with(image)))
    {
        let product = path.ends_with(".rs") && !source::is_test(path);
        let code = if product {
            text.split("#[cfg(test)]").next().unwrap_or(text)
        } else {
            ""
        };
        let marks = ANYWHERE.iter().map(|mark| (mark, text));
        for (mark, text) in marks.chain(NOT_IN_PRODUCT.iter().map(|mark| (mark, code))) {
            for (number, line) in text.lines().enumerate() {
                if line.match_indices(mark).any(|(at, _)| starts_a_path(&line[..at])) {
                    findings.push(Finding::at(
                        path,
                        number + 1,
                        format!("names a machine's path: {mark}"),
                    ));
                }
            }
        }
    }
    findings
}

/// In `https://example.org/home/x` the mark is a part of something longer.
fn starts_a_path(before: &str) -> bool {
    !before.ends_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '}' | ')' | '/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_a_machine_is_found() {
        let bad = format!("see {}x\nhttps://a.org{}x", ANYWHERE[1], ANYWHERE[1]);
        let found = check(&Tree::of(&[("docs/a.md", &bad)]));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].line, 1);
    }

    #[test]
    fn a_temporary_folder_in_the_product_is_found() {
        let bad = format!("const A: &str = \"{}a\";", NOT_IN_PRODUCT[0]);
        let tested = format!("#[cfg(test)] mod tests {{ {bad} }}");
        let tree = Tree::of(&[
            ("cli/src/a.rs", &bad),
            ("tests/a/a.rs", &bad),
            ("cli/src/b.rs", &tested),
        ]);
        assert_eq!(check(&tree).len(), 1);
    }
}
