//! One file per command that talks to a running cluster, through the public API alone, and `wal`, which reads the files of
//! a keeper that is stopped.

pub mod dataset;
pub mod delete;
pub mod get;
pub mod keeper;
pub mod latch;
pub mod search;
pub mod status;
pub mod wal;
