//! The shard as a process: it idles while it waits, and ends when told to.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::cluster::{PATIENCE, SECRET};

/// Kills the process if the test fails.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    fn start(data: &std::path::Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_longbow-shard"))
            .args(["--cluster-secret", SECRET, "--node-id", "s1", "--data-path"])
            .arg(data)
            .args([
                "--rpc-listen-addr",
                "127.0.0.1:0",
                "--gossip-listen-addr",
                "127.0.0.1:0",
            ])
            .args(["--http-listen-addr", "127.0.0.1:0"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("shard listens") {
            line.clear();
            assert!(
                log.read_line(&mut line).unwrap() > 0,
                "the shard ended before it listened"
            );
        }
        std::thread::spawn(move || log.lines().for_each(drop));
        Self(child)
    }

    /// Whether SIGTERM is told to the process rather than killing it.
    fn catches_sigterm(&self) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let caught = u64::from_str_radix(caught.unwrap().trim(), 16).unwrap();
        caught & (1 << (15 - 1)) != 0
    }

    /// Asks it to stop, and waits until it has.
    fn stop(&mut self) -> ExitStatus {
        let pid = self.0.id().to_string();
        let asked = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        assert!(asked.success());
        let asked = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(asked.elapsed() < PATIENCE, "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Clock ticks (hundredths of a second) of processor time used so far.
    fn ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }
}

#[test]
fn it_idles_while_no_keeper_is_there_and_ends_on_sigterm() {
    let data = tempfile::tempdir().unwrap();
    let mut process = Process::start(data.path());
    // A loop that spins uses most of any second; one that waits uses next to nothing, on the slowest machine.
    let (mut calmest, mut before) = (u64::MAX, process.ticks());
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(500));
        let now = process.ticks();
        calmest = calmest.min(now - before);
        before = now;
    }
    assert!(
        calmest <= 5,
        "{calmest} hundredths of a processor in half a second of doing nothing"
    );

    assert_eq!(process.stop().code(), Some(0));
}

/// A start that waits for something must not outlast an order to stop.
#[test]
fn it_ends_on_sigterm_while_it_starts() {
    let data = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_longbow-shard"))
        .args(["--cluster-secret", SECRET, "--node-id", "s1", "--data-path"])
        .arg(data.path())
        // The address on the route to this seed is waited for.
        .args([
            "--gossip-seeds",
            "no-such-host.invalid",
            "--rpc-listen-addr",
            "0.0.0.0:0",
        ])
        .args([
            "--gossip-listen-addr",
            "127.0.0.1:0",
            "--http-listen-addr",
            "127.0.0.1:0",
        ])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let log = BufReader::new(child.stderr.take().unwrap());
    let mut process = Process(child);
    let asked = Instant::now();
    while !process.catches_sigterm() {
        assert!(asked.elapsed() < PATIENCE, "it takes no signals");
        std::thread::yield_now();
    }
    assert_eq!(process.stop().code(), Some(0));
    let log: Vec<_> = log.lines().map(Result::unwrap).collect();
    assert!(log.iter().any(|line| line.contains("stopping")), "{log:#?}");
    assert!(log.iter().all(|line| !line.contains("shard listens")), "{log:#?}");
}
