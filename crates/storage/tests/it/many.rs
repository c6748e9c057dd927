//! Many random sequences, and how many they were: `just bar shard --full` adds up what is told here.

use std::panic::Location;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// Holds a test for so many values, and tells that it did. One that fails is made smaller and shown.
#[track_caller]
pub fn hold<S: Strategy>(sequences: u32, of: &S, test: impl Fn(S::Value)) {
    let config = Config {
        source_file: Some(Location::caller().file()),
        ..Config::with_cases(sequences)
    };
    let held = TestRunner::new(config).run(of, |value| {
        test(value);
        Ok(())
    });
    if let Err(failed) = held {
        panic!("{failed}");
    }
    println!("random sequences: {sequences}");
}
