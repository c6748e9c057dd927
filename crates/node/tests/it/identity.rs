//! Identities kept in a data path.

use std::fs;

use longbow_node::{config::NodeConfig, identity::claim};
use longbow_types::{ErrorCode, Role};
use tempfile::tempdir;

use crate::support::settings;

#[test]
fn a_data_path_keeps_the_id_and_raises_the_generation() {
    let dir = tempdir().unwrap();
    let mut settings = settings();
    settings
        .set("data_path", dir.path().join("not/yet/there").display())
        .set("node.id", "shard-0");
    let config = NodeConfig::from_settings(&settings, Role::Shard).unwrap();
    let first = claim(&config).unwrap();
    assert_eq!(first.identity.node_id.as_str(), "shard-0");

    let busy = claim(&config).unwrap_err();
    assert!(busy.message.contains("in use"), "{busy}");
    let before = first.identity.generation;
    drop(first);

    // The id need not be given again.
    settings.set("node.id", "");
    let config = NodeConfig::from_settings(&settings, Role::Shard).unwrap();
    let second = claim(&config).unwrap();
    assert_eq!(second.identity.node_id.as_str(), "shard-0");
    assert!(second.identity.generation > before);

    // A node that lost its data path still supersedes its former self: generations start at the time.
    assert!(before > 1_700_000_000_000);
}

#[test]
fn generations_rise_even_when_the_clock_goes_back() {
    let dir = tempdir().unwrap();
    let stored =
        r#"{"format":1,"cluster_id":"test","node_id":"k","role":"wal-keeper","generation":18000000000000}"#;
    fs::write(dir.path().join("node.json"), stored).unwrap();
    let mut settings = settings();
    settings.set("data_path", dir.path().display());
    let config = NodeConfig::from_settings(&settings, Role::WalKeeper).unwrap();
    assert_eq!(claim(&config).unwrap().identity.generation, 18_000_000_000_001);
    assert_eq!(claim(&config).unwrap().identity.generation, 18_000_000_000_002);
}

#[test]
fn what_belongs_to_others_is_refused() {
    let dir = tempdir().unwrap();
    let mut ours = settings();
    ours.set("data_path", dir.path().display()).set("node.id", "a");
    drop(claim(&NodeConfig::from_settings(&ours, Role::Shard).unwrap()).unwrap());
    let before = fs::read(dir.path().join("node.json")).unwrap();

    let mut other_node = ours.clone();
    other_node.set("node.id", "b");
    let mut other_cluster = ours.clone();
    other_cluster.set("cluster.id", "elsewhere");
    for (settings, role) in [
        (&other_node, Role::Shard),
        (&other_cluster, Role::Shard),
        (&ours, Role::WalKeeper),
    ] {
        let error = claim(&NodeConfig::from_settings(settings, role).unwrap()).unwrap_err();
        assert_eq!(
            (error.code, error.field.as_deref()),
            (ErrorCode::InvalidValue, Some("data_path"))
        );
        assert!(error.message.contains("belongs to"), "{error}");
    }
    assert_eq!(
        fs::read(dir.path().join("node.json")).unwrap(),
        before,
        "a refusal changes nothing"
    );
}

#[test]
fn a_damaged_file_is_corruption_not_a_new_identity() {
    let dir = tempdir().unwrap();
    let mut settings = settings();
    settings
        .set("data_path", dir.path().display())
        .set("node.id", "a");
    let config = NodeConfig::from_settings(&settings, Role::Shard).unwrap();
    for text in [
        "",
        "{",
        r#"{"format":2,"cluster_id":"test","node_id":"a","role":"shard","generation":1}"#,
    ] {
        fs::write(dir.path().join("node.json"), text).unwrap();
        assert_eq!(
            claim(&config).unwrap_err().code,
            ErrorCode::Corruption,
            "{text:?}"
        );
    }
}

#[test]
fn without_a_data_path_the_host_names_the_node() {
    let config = NodeConfig::from_settings(&settings(), Role::Router).unwrap();
    let identity = claim(&config).unwrap().identity;
    assert!(
        identity.node_id.as_str().contains("router"),
        "{}",
        identity.node_id
    );
    assert!(identity.generation > 1_700_000_000_000);
}
