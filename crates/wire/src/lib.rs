//! Generated protocol code and conversions to and from the shared types.
//!
//! `v1` is the public API, `internal` what roles say to each other and what stands in the log.
//! The `rpc` feature adds tonic's clients and servers; pure cores do without it.

/// The public API, `longbow.v1`.
#[allow(missing_docs, clippy::all)]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/longbow.v1.rs"));
}

/// What roles say to each other, and what stands in the log.
#[allow(missing_docs, clippy::all)]
pub mod internal {
    mod v1 {
        include!(concat!(env!("OUT_DIR"), "/longbow.internal.v1.rs"));
    }
    pub use v1::*;
}

/// Encoded `FileDescriptorSet` of all protocols, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/longbow.bin"));

pub mod convert;
pub mod entry;
