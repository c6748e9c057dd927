//! Starts real Longbow processes, hurts them, and knows what they must still hold.
//!
//! Used by the integration tests and by the bars. Everything here goes through the public APIs and the
//! operating system; nothing looks inside a process.

pub mod check;
pub mod cluster;
pub mod load;
pub mod process;
pub mod raw;
pub mod settings;
pub mod slaughter;
pub mod wait;
