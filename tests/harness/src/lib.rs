//! Starts real Longbow processes, hurts them, and knows what they must still hold.
//!
//! Used by the integration tests and by the bars. Everything here goes through the public APIs and the
//! operating system; nothing looks inside a process.
//!
//! What clients saw is judged by [`history`], what keepers have written by [`order`].

pub mod check;
pub mod cluster;
pub mod faults;
pub mod history;
pub mod links;
pub mod load;
pub mod order;
pub mod power;
pub mod process;
pub mod raw;
pub mod register;
pub mod settings;
pub mod slaughter;
pub mod wait;
