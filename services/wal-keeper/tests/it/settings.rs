//! Does the process refuse the settings that it cannot run with, also while it only prints them?

use longbow_harness::settings::refuses_what_it_prints;
use longbow_node::config::Loader;
use longbow_types::ErrorCode;
use longbow_wal_keeper::{Config, SETTINGS};

#[test]
fn a_value_that_a_start_refuses_is_printed_and_refused() {
    refuses_what_it_prints(
        env!("CARGO_BIN_EXE_longbow-wal-keeper"),
        &["--data-path", "/no/such"],
        "keeper.election_timeout",
        "banana",
    );
}

#[test]
fn no_more_keepers_form_a_group_than_it_may_have() {
    let formed_by = |count: u32| {
        let voters: Vec<String> = (0..count).map(|number| format!("k{number}")).collect();
        let mut settings = Loader::new("test", "", &[SETTINGS]).defaults();
        settings
            .set("cluster.id", "c")
            .set("cluster.secret", "sixteen bytes and more")
            .set("data_path", "/no/such")
            .set("keeper.initial_voters", voters.join(","));
        Config::from_settings(&settings)
    };
    assert_eq!(formed_by(9).unwrap().initial_voters.len(), 9);
    let error = formed_by(10).unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidValue);
    assert_eq!(error.field.as_deref(), Some("keeper.initial_voters"));
    assert_eq!(error.limit.as_deref(), Some("a list of at most 9 node ids"));
}
