//! What the log costs: memory asked for, writes and syncs.

mod allocations;
