//! Snapshots: what is opened answers as what was written, whatever was lost, cut or changed between.

mod beside;
mod crash;
mod damage;
pub mod disk;
mod forged;
mod golden;
mod history;
mod keeping;
pub mod support;
