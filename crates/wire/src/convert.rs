//! Conversions between protocol messages and the shared types.

pub mod default_value;
pub mod schema;
#[cfg(feature = "rpc")]
pub mod status;
mod times;
