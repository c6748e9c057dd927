//! A log on a disk, looked at and left as it was.

use std::sync::Arc;

use clap::Parser;
use longbow_wal::{HardState, Log, Options};

use super::*;
use crate::args::{Cli, Command};

/// A keeper's data path with a log of three entries in it.
fn log(close: bool) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(FsDisk::open(dir.path().join("wal")).unwrap());
    let options = Options {
        segment_bytes: 64 << 10,
        spares: 0,
    };
    let mut log = Log::create(disk, options, 0xabc).unwrap();
    for index in 1..=3 {
        log.writer.entry(0, EntryKind::Normal, 2, index, b"data").unwrap();
        let state = HardState {
            term: 2,
            vote: 1,
            commit: index - 1,
        };
        log.writer.hard_state(0, state);
        log.writer.flush().unwrap();
    }
    if close {
        log.writer.close().unwrap();
    }
    dir
}

fn run_line(dir: &Path, command: &str) -> anyhow::Result<()> {
    let dir = dir.display().to_string();
    let cli = Cli::try_parse_from(["longbow", "wal", command, &dir, "--json"])?;
    let Command::Wal(command) = &cli.command else {
        panic!("not a wal command")
    };
    run(command, &cli.global)
}

fn file_of(dir: &tempfile::TempDir) -> PathBuf {
    dir.path().join("wal/0000000000000001.wal")
}

#[test]
fn a_sound_log_is_shown_and_left_alone() {
    for close in [true, false] {
        let dir = log(close);
        let before = std::fs::read(file_of(&dir)).unwrap();
        for command in ["inspect", "verify", "dump"] {
            run_line(dir.path(), command).unwrap();
            run_line(&dir.path().join("wal"), command).unwrap();
        }
        assert_eq!(std::fs::read(file_of(&dir)).unwrap(), before);
        assert_eq!(std::fs::read_dir(dir.path().join("wal")).unwrap().count(), 1);
        let report = verified(dir.path()).unwrap();
        let json = as_json(&report);
        // Without a close record, nothing vouches for the last flush.
        let (last, unproven) = if close { (3, 0) } else { (2, 2) };
        assert_eq!(json["groups"][0]["last_index"], last);
        assert_eq!(json["segments"][0]["entries"], last);
        assert_eq!(
            (&json["unproven_records"], &json["closed"]),
            (&json!(unproven), &json!(close))
        );
        assert_eq!(
            (&json["log_id"], &json["torn"]),
            (&json!("0000000000000abc"), &Json::Null)
        );
        let text = as_text(&report);
        let words = if close {
            "closed cleanly"
        } else {
            "2 more sound records are not proven"
        };
        assert!(
            text.contains(words) && text.contains("0000000000000001.wal"),
            "{text}"
        );
    }
}

#[test]
fn corruption_names_file_and_offset() {
    let dir = log(true);
    let mut bytes = std::fs::read(file_of(&dir)).unwrap();
    // The data of the first entry, behind header, flush record and the entry's own header.
    let entry = 64 + 48;
    bytes[entry + 32] ^= 1;
    std::fs::write(file_of(&dir), &bytes).unwrap();
    for command in ["inspect", "verify"] {
        let error = run_line(dir.path(), command).unwrap_err();
        let ours = error
            .chain()
            .find_map(|cause| cause.downcast_ref::<Error>())
            .unwrap();
        assert_eq!(ours.code, ErrorCode::Corruption);
        assert_eq!(ours.field.as_deref(), Some("0000000000000001.wal"));
        assert!(ours.message.contains(&format!("byte {entry}")), "{ours}");
        assert_eq!(crate::error::report(&error, true), 1);
    }
    // The same in a file that is no segment any more.
    bytes[0] ^= 1;
    std::fs::write(file_of(&dir), &bytes).unwrap();
    for command in ["inspect", "verify", "dump"] {
        let error = run_line(dir.path(), command).unwrap_err();
        assert!(format!("{error:#}").contains("no log segment"), "{error:#}");
    }
}

#[test]
fn records_are_dumped_in_order() {
    let dir = log(true);
    let disk = open(dir.path()).unwrap();
    let mut records = Vec::new();
    inspect::dump(&disk, |record| {
        records.push(record);
        Ok::<(), longbow_wal::Error>(())
    })
    .unwrap();
    let kinds: Vec<&str> = records.iter().map(|record| kind_name(&record.content)).collect();
    let flush = ["flush", "entry", "hard-state"];
    assert_eq!(kinds, [&flush[..], &flush, &flush, &["close"]].concat());
    let json = record_json(&records[4], true);
    assert_eq!(
        (&json["index"], &json["term"], &json["data"]),
        (&json!(2), &json!(2), &json!("ZGF0YQ=="))
    );
    let text = record_text(&records[4], true);
    assert!(text.contains("term 2 index 2, 4 bytes 64617461"), "{text}");
    assert!(record_text(&records[5], false).ends_with("term 2 vote 1 commit 1"));
}

#[test]
fn a_log_that_is_in_use_or_missing_is_refused() {
    let dir = log(true);
    let held = FsDisk::open(dir.path().join("wal")).unwrap();
    let error = run_line(dir.path(), "verify").unwrap_err();
    assert!(format!("{error:#}").contains("in use"), "{error:#}");
    drop(held);
    run_line(dir.path(), "verify").unwrap();
    assert!(run_line(&dir.path().join("nowhere"), "inspect").is_err());
    let empty = tempfile::tempdir().unwrap();
    let error = run_line(empty.path(), "verify").unwrap_err();
    assert!(error.to_string().contains("no segments"), "{error}");
}
