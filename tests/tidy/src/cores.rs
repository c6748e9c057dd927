//! Cores are event in, effects out: no runtime, no clock, no socket, no random source of their own.

use toml::Value;

use crate::{Finding, Tree, manifest, source};

/// Crates that hold only pure state machines and data structures.
pub const CORES: &[&str] = &["types", "kernels", "index", "query", "storage", "wal", "cluster"];

/// Packages that bring a runtime or a network.
const SHELLS: &[&str] = &[
    "tokio",
    "tokio-stream",
    "tokio-util",
    "tonic",
    "actix",
    "actix-rt",
    "axum",
    "hyper",
    "tower",
    "longbow-node",
];

/// Words of code that ask the world something.
const WORLD: &[(&str, &str)] = &[
    ("tokio", "a runtime"),
    ("tonic", "a network"),
    ("actix", "actors"),
    ("axum", "a network"),
    ("Instant::now", "a clock"),
    ("SystemTime::now", "a clock"),
    ("UdpSocket", "a socket"),
    ("TcpStream", "a socket"),
    ("TcpListener", "a socket"),
    ("thread_rng", "a random source"),
    ("from_os_rng", "a random source"),
    ("rand::rng", "a random source"),
    ("rand::random", "a random source"),
];

/// Finds dependencies and uses that a core may not have. Tests of cores may do as they like.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in manifest::all(tree) {
        if core_of(package.folder).is_none() {
            continue;
        }
        for (name, spec) in package.dependencies("dependencies") {
            if SHELLS.contains(&name.as_str()) {
                findings.push(Finding::file(package.path, format!("a core depends on {name}")));
            }
            if name == "longbow-wire" && asks_for_rpc(&spec) {
                findings.push(Finding::file(
                    package.path,
                    "a core takes longbow-wire without \"rpc\"",
                ));
            }
        }
    }
    for (path, text) in tree.rust() {
        if core_of(path).is_none() || source::is_test(path) {
            continue;
        }
        let code = source::without_tests(&source::code(text));
        for (word, what) in WORLD {
            for line in source::lines_with(&code, word) {
                findings.push(Finding::at(
                    path,
                    line,
                    format!("a core has {what} of its own: {word}"),
                ));
            }
        }
    }
    findings
}

fn core_of(path: &str) -> Option<&'static str> {
    let name = path.strip_prefix("crates/")?.split('/').next()?;
    CORES.iter().copied().find(|core| *core == name)
}

fn asks_for_rpc(spec: &Value) -> bool {
    let Some(spec) = spec.as_table() else { return true };
    let rpc = |features: &Value| {
        features
            .as_array()
            .is_some_and(|list| list.contains(&Value::from("rpc")))
    };
    spec.get("features").is_some_and(rpc) || spec.get("default-features") == Some(&Value::from(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_with_a_runtime_is_found() {
        let tree = Tree::of(&[
            (
                "crates/wal/Cargo.toml",
                "[dependencies]\ntokio.workspace = true\n[dev-dependencies]\ntonic = \"1\"",
            ),
            ("crates/node/Cargo.toml", "[dependencies]\ntokio.workspace = true"),
        ]);
        let found = check(&tree);
        assert_eq!(
            found,
            [Finding::file("crates/wal/Cargo.toml", "a core depends on tokio")]
        );
    }

    #[test]
    fn a_core_with_rpc_is_found() {
        let with = "[dependencies]\nlongbow-wire = { workspace = true, features = [\"rpc\"] }";
        let without = "[dependencies]\nlongbow-wire.workspace = true";
        assert_eq!(check(&Tree::of(&[("crates/cluster/Cargo.toml", with)])).len(), 1);
        assert_eq!(
            check(&Tree::of(&[("crates/cluster/Cargo.toml", without)])).len(),
            0
        );
    }

    #[test]
    fn a_core_that_asks_the_time_is_found() {
        let bad =
            "fn f() { std::time::Instant::now(); }\n#[cfg(test)] mod tests { fn g() { Instant::now(); } }";
        let found = check(&Tree::of(&[
            ("crates/query/src/a.rs", bad),
            ("crates/node/src/a.rs", bad),
        ]));
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].path.as_str(), found[0].line),
            ("crates/query/src/a.rs", 1)
        );
    }
}
