//! The shard role: replicas that follow the log and answer searches.
//!
//! How an entry becomes an answer:
//! [`tail`] takes entries from any live keeper and works out what each means for this node → [`actors`] apply them, one
//! actor for each replica, and publish a view → [`builders`] link the new rows into the graph behind them → [`rpc`]
//! answers from the newest view, on the threads of [`pool`], never on a mailbox. Now and then the [`compactor`] merges chunks
//! of rows, and [`snapshots`] are written of all views, from which the next start goes on.
//!
//! A shard has no authority: what it holds is a function of the log. That is cut, though, behind what [`vouch`] tells
//! the keepers is in snapshots: with these, what was cut would be lost.

mod actors;
mod apply;
mod builders;
mod compactor;
mod config;
mod credit;
mod latch;
mod lost;
mod memory;
mod partition;
mod pool;
mod report;
mod rpc;
mod running;
mod snapshots;
mod state;
mod tail;
mod vouch;
mod wants;

pub use config::{Config, SETTINGS};
pub use running::{Running, start};
