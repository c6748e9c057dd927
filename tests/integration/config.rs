//! A configuration file with a typo: the process says where and what was meant, and nothing is started or written.

use std::{fs, process::Command};

use tempfile::TempDir;

use crate::shared::binary;

#[test]
fn a_typo_is_named_and_nothing_is_started() {
    for role in ["wal-keeper", "shard", "router"] {
        let dir = TempDir::new().unwrap();
        let (file, data) = (dir.path().join("node.toml"), dir.path().join("data"));
        let text = format!("data_path = {data:?}\n[gossip]\nlisten_adr = \"127.0.0.1:0\"\n");
        fs::write(&file, text).unwrap();
        let output = Command::new(binary())
            .args(["role", role, "--config"])
            .arg(&file)
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{role}: {told}");
        let place = format!("{}:3: unknown key gossip.listen_adr", file.display());
        assert!(
            told.contains(&place) && told.contains("did you mean gossip.listen_addr?"),
            "{role}: {told}"
        );
        assert!(!data.exists(), "{role} wrote something");
    }
}
