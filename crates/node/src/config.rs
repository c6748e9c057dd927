//! What was configured, and where did it come from?
//!
//! Settings are declared once, in tables of [`Setting`]. Precedence: default < file < environment < flag. An unknown
//! key in the file or an unknown flag is an error; an unknown `LONGBOW_*` variable only warns, because Kubernetes
//! injects names such as `LONGBOW_ROUTER_PORT=tcp://…` into every pod.

mod common;
mod env;
mod file;
mod flags;
mod loader;
mod node;
mod print;
mod secret;
mod setting;
mod settings;
mod suggest;

pub use common::COMMON;
pub use loader::{Loaded, Loader, Refused};
pub use node::{GossipTiming, NodeConfig, Seed};
pub use secret::Secret;
pub use setting::Setting;
pub use settings::{Settings, Source};
