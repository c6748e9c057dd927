//! Filters, plans and merging of ranked answers: what both routers and shards must decide alike.
//!
//! Nothing here does I/O, and nothing here knows where a row lives.

pub mod fill;
pub mod filter;
pub mod ids;
pub mod rank;
