//! `longbow demo`: it passes its own checks, and the second start finds everything without loading.

use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::shared::binary;

fn demo(dir: &TempDir, flags: &[&str]) -> Output {
    Command::new(binary())
        .args(["demo", "--once", "--json", "--data-dir"])
        .arg(dir.path().join("data"))
        .args(flags)
        .stdin(Stdio::null())
        .output()
        .expect("the demo starts")
}

/// What the demo said it checked.
fn checked(output: &Output) -> Value {
    let said = String::from_utf8_lossy(&output.stdout);
    let events = said
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"));
    let report = events.into_iter().find(|event| event["event"] == "checked");
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{said}\n{log}", output.status);
    report.unwrap_or_else(|| panic!("nothing was checked:\n{said}\n{log}"))
}

#[test]
fn the_second_start_recovers_what_the_first_loaded() {
    let dir = TempDir::new().expect("a temporary directory");
    let first = checked(&demo(&dir, &[]));
    assert_eq!(
        (&first["recovered"], &first["ok"]),
        (&Value::Bool(false), &Value::Bool(true))
    );
    assert_eq!(first["rows"], 5_000);
    assert_eq!(first["searches"][0]["hits"].as_array().map(Vec::len), Some(10));

    let second = checked(&demo(&dir, &[]));
    assert_eq!(
        (&second["recovered"], &second["ok"]),
        (&Value::Bool(true), &Value::Bool(true))
    );
    assert_eq!(second["rows"], 5_000);
    assert_eq!(second["cluster_id"], first["cluster_id"]);
    let ids = |report: &Value| -> Vec<Value> {
        let hits = report["searches"][0]["hits"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        hits.into_iter().map(|hit| hit["id"].clone()).collect()
    };
    assert_eq!(ids(&first), ids(&second), "the same search finds the same rows");
}
