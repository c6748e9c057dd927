//! Three keepers under every fault that we know how to make, with clients whose calls and answers are all known: what was
//! acknowledged stays, every keeper has it in the same order, and what clients saw of each key fits in one order.
//!
//! A test for each class of faults; each injects its fault twice, from two seeds, and proves that it happened.
//! `FAULTS_SEEDS=20` says how often instead, `FAULTS_BINARY` which program is tested: so the bars show that a
//! program without one of its guards fails here.

mod clock;
mod disk;
mod guards;
mod network;
mod process;
mod scene;
