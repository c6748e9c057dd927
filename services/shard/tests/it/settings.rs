//! Does the process refuse the settings that it cannot run with, also while it only prints them?

use longbow_harness::settings::refuses_what_it_prints;

#[test]
fn a_value_that_a_start_refuses_is_printed_and_refused() {
    refuses_what_it_prints(
        env!("CARGO_BIN_EXE_longbow-shard"),
        &[],
        "shard.search_queue",
        "0",
    );
}
