//! How roles speak gRPC to each other: who may call, on which channel, until when.

pub mod auth;
pub mod deadline;
pub mod metrics;
pub mod peers;
mod punctual;
pub mod serve;
mod severable;

pub use auth::{AuthLayer, Caller, ClusterAuth, require};
pub use peers::{AuthedChannel, Peers};
pub use serve::{bind, serve};

/// Largest message that one role sends to another, in bytes: give it to generated clients and servers alike
/// (`max_decoding_message_size`, `max_encoding_message_size`). tonic's own default of 4 MiB is below one log command.
pub const MESSAGE_BYTES_MAX: usize = 128 << 20;
