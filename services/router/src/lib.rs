//! The router role: validates, partitions, appends, scatters, gathers.
//!
//! Stateless: what it knows of the catalogue and of who is where, it can lose and learn again. Requests come in by two
//! APIs ([`grpc`] and [`flight`]) that are translations onto one core ([`ops`]); rows are checked in [`ingest`] and
//! [`rows`] and become log commands in [`commands`]; [`doors`] says who gets in.

pub mod commands;
mod config;
pub mod doors;
pub mod flight;
pub mod grpc;
pub mod ingest;
pub mod ops;
pub mod rows;
mod running;
#[cfg(test)]
mod testing;

pub use config::{Config, SETTINGS};
pub use running::{Running, start};
