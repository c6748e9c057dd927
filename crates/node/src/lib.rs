//! Async shells every role shares: configuration, identity, RPC, gossip, telemetry, shutdown.
//!
//! A role's `start` reads as: settings → identity → listeners → gossip → peers → its own work. Nothing here knows
//! what a role does; nothing here is global to the process but the metrics recorder and the logger, so that several
//! roles can live in one process.

pub mod advertise;
pub mod catalogue_watch;
pub mod config;
pub mod gossip;
pub mod http;
pub mod identity;
pub mod keeper_client;
pub mod rpc;
pub mod run;
pub mod shutdown;
pub mod telemetry;
