//! `unsafe` stands in kernels, index arenas and mapped readers, nowhere else.

use crate::{Finding, Tree, source};

/// Where `unsafe` may stand, and why.
const ALLOWED: &[(&str, &str)] = &[
    ("crates/kernels/", "SIMD intrinsics and their dispatch"),
    ("crates/index/", "arenas that are read while they grow"),
    (
        "crates/storage/src/snapshot/fs.rs",
        "the index of a snapshot, used where it lies",
    ),
    ("crates/wal/tests/it/allocations.rs", "an allocator that counts"),
    (
        "bench/benches/kernels.rs",
        "row kernels, called as an index calls them",
    ),
    (
        "tests/bars/src/kernels/",
        "a probe of the memory with the registers that kernels use, and peers' views of numbers",
    ),
    (
        "tests/bars/src/index/mapped.rs",
        "a mapped index, to see which of its pages are in memory",
    ),
];

/// Finds `unsafe` in files that have no reason to use it.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.rust() {
        if ALLOWED.iter().any(|(room, _)| path.starts_with(room)) {
            continue;
        }
        for line in source::lines_with(&source::code(text), "unsafe") {
            findings.push(Finding::at(
                path,
                line,
                "unsafe outside kernels, index arenas and mapped readers",
            ));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_in_the_wrong_room_is_found() {
        let text = "// unsafe in words is fine\nfn f() { unsafe { g() } }";
        let found = check(&Tree::of(&[
            ("crates/wal/src/a.rs", text),
            ("crates/kernels/src/a.rs", text),
        ]));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].line, 2);
    }
}
