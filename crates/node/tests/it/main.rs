//! The node crate from outside: real sockets on loopback, real servers, real files.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod catalogue_watch;
mod config;
mod gossip;
mod http;
mod identity;
mod keeper_client;
mod rpc;
mod support;
