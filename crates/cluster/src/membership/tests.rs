//! Clusters in one thread under a clock of their own: every run is the same for a seed.

mod lives;
mod mishaps;
mod net;
mod reach;
