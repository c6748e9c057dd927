//! Every Rust file begins by saying what question the room answers.

use crate::{Finding, Tree};

/// Finds Rust files that do not begin with a `//!` header.
pub fn check(tree: &Tree) -> Vec<Finding> {
    tree.rust()
        .filter(|(_, text)| !text.starts_with("//! ") && !text.starts_with("#!/"))
        .map(|(path, _)| Finding::at(path, 1, "the file does not begin with a //! header"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_header_is_found() {
        let tree = Tree::of(&[
            ("a.rs", "use b;\n//! late"),
            ("b.rs", "//! What is b?"),
            ("c.py", ""),
        ]);
        assert_eq!(check(&tree).len(), 1);
    }
}
