//! Conversions between protocol messages and the shared types.

pub mod schema;
#[cfg(feature = "rpc")]
pub mod status;
mod times;
