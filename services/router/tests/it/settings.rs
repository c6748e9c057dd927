//! Does the process refuse the settings that it cannot run with, also while it only prints them?

use longbow_harness::settings::{print_config, refuses_what_it_prints};

const BINARY: &str = env!("CARGO_BIN_EXE_longbow-router");

#[test]
fn a_value_that_a_start_refuses_is_printed_and_refused() {
    refuses_what_it_prints(BINARY, &[], "router.listen_addr", "banana");
    // A good address, but a router would not listen there.
    refuses_what_it_prints(BINARY, &[], "rpc.listen_addr", "127.0.0.1:3100");
}

/// Names that stand in manifests of Longbow's users.
#[test]
fn names_known_from_manifests_are_taken() {
    let names = ["LONGBOW_LISTEN_ADDR", "LONGBOW_META_ADDR"];
    let env = names.map(|name| (name, "127.0.0.1:0"));
    let output = print_config(BINARY, &[], &env);
    let out = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{out}");
    for (key, name) in ["listen_addr", "meta_addr"].into_iter().zip(names) {
        let line = format!("{key} = \"127.0.0.1:0\" # environment {name}");
        assert!(out.lines().any(|have| have == line), "{out}");
    }
}

#[test]
fn of_an_api_key_and_its_file_the_one_of_higher_rank_holds() {
    // A file that is not there shows whether it is asked for.
    let output = print_config(
        BINARY,
        &["--router-api-key", "key"],
        &[("LONGBOW_ROUTER_API_KEY_FILE", "/no/such")],
    );
    let out = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{out}");
    assert!(out.contains("overridden by router.api_key\n"), "{out}");

    let file = ["--router-api-key-file", "/no/such"];
    for (args, env, why) in [
        (&file[..], &[("LONGBOW_ROUTER_API_KEY", "key")][..], "/no/such"),
        (&[&file[..], &["--router-api-key", "key"]].concat(), &[], "both"),
    ] {
        let output = print_config(BINARY, args, env);
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{err}");
        assert!(err.starts_with("error: ") && err.contains(why), "{err}");
    }
}
