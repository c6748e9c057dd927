//! Nothing is lost under faults, and a program that lacks a guard is caught.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::run::{root, run, run_tests};

/// The tests of faults in `tests/integration/faults`, so many seeds for each class.
pub(super) fn nothing_is_lost(seeds: u64) -> Result<()> {
    let seeds = format!("FAULTS_SEEDS={seeds}");
    let words = [seeds.as_str(), "cargo"];
    run_tests("env", &[&words[..], &TESTS].concat()).map(drop)
}

/// Of the whole workspace, so that features are those of `cargo test --workspace` and little is built anew.
const TESTS: [&str; 6] = ["test", "--workspace", "--test", "integration", "--", "faults::"];

/// A guard, how its absence is written, and the test that must see it.
struct Mutant {
    guard: &'static str,
    file: &'static str,
    from: &'static str,
    to: &'static str,
    test: &'static str,
}

/// Those that real processes can show. That a read asks whether the leader still leads is not among them: routers stay with
/// a leader until it refuses them, so that two of them never answer at once for long enough. The simulation of the group
/// takes that guard away, and three others, in `crates/cluster/src/raft_core/simulation/guards.rs`.
const MUTANTS: &[Mutant] = &[
    Mutant {
        guard: "what is written is synced",
        file: "crates/wal/src/fs.rs",
        from: "        self.0.sync_data()\n",
        to: "        Ok(())\n",
        test: "faults::disk::the_power_is_cut",
    },
    Mutant {
        guard: "a failed sync is final",
        file: "crates/wal/src/fs.rs",
        from: "        self.0.sync_data()\n",
        to: "        self.0.sync_data().or(Ok(()))\n",
        test: "faults::disk::a_sync_fails",
    },
    Mutant {
        guard: "an answer waits for the quorum",
        file: "services/wal-keeper/src/engine/append.rs",
        from: "                self.pending.insert(proposed.index, pending);\n",
        to: "                let (verdict, index) = (Default::default(), proposed.index);\n                answer(pending.reply, &Applied { verdict, index, duplicate: false }, 1);\n",
        test: "faults::network::the_leader_is_isolated",
    },
    Mutant {
        guard: "a checksum is looked at",
        file: "crates/wal/src/format.rs",
        from: "    u32_at(record, 4) == checksum(record, salt)\n",
        to: "    u32_at(record, 4) == checksum(record, salt) || record.len() > 60\n",
        test: "faults::disk::a_bit_flips_in_an_old_segment",
    },
    Mutant {
        guard: "a lost disk takes no part",
        file: "services/wal-keeper/src/forming.rs",
        from: "        Some(Some(_)) | None => Step::Refuse(lost(own.node_id, keeper, answer)),\n",
        to: "        Some(Some(member)) => Step::Join(member.raft_id),\n        None => Step::Refuse(lost(own.node_id, keeper, answer)),\n",
        test: "faults::process::a_disk_is_lost",
    },
];

/// Builds the program without each guard in turn, in a copy of the sources, and has a test look at it, which must fail.
pub(super) fn mutants_are_caught() -> Result<()> {
    run("cargo", &[&TESTS[..4], &["--no-run"]].concat())?;
    let tree = root().join("target/mutants");
    for mutant in MUTANTS {
        copy_sources(&tree)?;
        let path = tree.join(mutant.file);
        let source = fs::read_to_string(&path)?;
        ensure!(
            source.matches(mutant.from).count() == 1,
            "{}: {} does not have the line once",
            mutant.guard,
            mutant.file
        );
        fs::write(&path, source.replace(mutant.from, mutant.to))?;
        let manifest = tree.join("Cargo.toml").display().to_string();
        run("cargo", &["build", "-p", "longbow", "--manifest-path", &manifest])?;
        is_caught(mutant, &tree.join("target/debug/longbow"))?;
    }
    Ok(())
}

fn is_caught(mutant: &Mutant, binary: &Path) -> Result<()> {
    let output = Command::new("cargo")
        .args(&TESTS[..5])
        .args(["--exact", mutant.test])
        .env("FAULTS_BINARY", binary)
        .current_dir(root())
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(
        said.contains("running 1 test"),
        "{} is no test:\n{said}\n{}",
        mutant.test,
        String::from_utf8_lossy(&output.stderr)
    );
    ensure!(
        !output.status.success(),
        "without the guard that {}, {} passes",
        mutant.guard,
        mutant.test
    );
    let why = said
        .lines()
        .find(|line| line.contains(", seed ") || line.contains(": the "));
    eprintln!(
        "  that {}: caught, {}",
        mutant.guard,
        why.unwrap_or("the test failed")
    );
    Ok(())
}

/// Copies what git knows to another folder, but for what is there as it is: then little is built anew.
fn copy_sources(to: &Path) -> Result<()> {
    let listed = run("git", &["ls-files"])?.stdout;
    for name in listed.lines() {
        let (from, to): (PathBuf, PathBuf) = (root().join(name), to.join(name));
        let Ok(bytes) = fs::read(&from) else {
            continue; // a link, or gone since
        };
        if fs::read(&to).is_ok_and(|there| there == bytes) {
            continue;
        }
        fs::create_dir_all(to.parent().context("a file in a folder")?)?;
        fs::write(&to, bytes)?;
    }
    Ok(())
}
