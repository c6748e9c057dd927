//! Atomics, locks and epochs: those of the machine, or with the feature `loom` those of a model checker, so that
//! `models` can run the index's own code through every order of events and every value that a load may see.

#[cfg(feature = "loom")]
mod model;

#[cfg(not(feature = "loom"))]
pub(crate) use crossbeam_epoch as epoch;
#[cfg(feature = "loom")]
pub(crate) use model::{Mutex, MutexGuard, begin, epoch};
#[cfg(not(feature = "loom"))]
pub(crate) use parking_lot::{Mutex, MutexGuard};

#[cfg(feature = "loom")]
use loom::sync::atomic;
#[cfg(not(feature = "loom"))]
use std::sync::atomic;

pub(crate) use atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// Whether this is compiled for models, where things must be few and small.
pub(crate) const fn is_model() -> bool {
    cfg!(feature = "loom")
}

/// Atomics that arenas may hold: all zeros (or, in a model, the default) is 0.
pub(crate) trait Atomic: Default {}

impl Atomic for AtomicU32 {}
impl Atomic for AtomicU64 {}
