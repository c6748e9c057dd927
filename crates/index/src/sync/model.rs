//! What stands for locks, arenas of atomics and epochs in a model.

use loom::sync as model;

/// A lock that is never poisoned.
#[derive(Default)]
pub(crate) struct Mutex<T>(model::Mutex<T>);

pub(crate) type MutexGuard<'a, T> = model::MutexGuard<'a, T>;

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(model::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().expect("a model ends with the first panic")
    }

    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.0.try_lock().ok()
    }
}

/// Makes the atomics that a row of `bytes` bytes has room for.
///
/// # Safety
/// The row is aligned for them, and nobody else uses it.
pub(crate) unsafe fn begin<A: super::Atomic>(row: *mut u8, bytes: usize) {
    for at in 0..bytes / size_of::<A>() {
        // SAFETY: it lies in the row, which the caller is alone with.
        unsafe { row.cast::<A>().add(at).write(A::default()) };
    }
}

/// What crossbeam promises of epochs, and no more of it than this: what is deferred runs after all that were pinned
/// before are gone, and whoever is pinned later sees what was done before it was deferred. It runs as soon as it may,
/// which is the worst.
pub(crate) mod epoch {
    use std::collections::BTreeSet;

    use super::Mutex;

    type Deferred = Box<dyn FnOnce() + Send>;

    #[derive(Default)]
    struct Epochs {
        pins: u64,
        pinned: BTreeSet<u64>,
        deferred: Vec<(BTreeSet<u64>, Deferred)>,
    }

    loom::lazy_static! {
        static ref EPOCHS: Mutex<Epochs> = Mutex::default();
    }

    pub(crate) struct Guard(u64);

    pub(crate) fn pin() -> Guard {
        let mut epochs = EPOCHS.lock();
        epochs.pins += 1;
        let pin = epochs.pins;
        epochs.pinned.insert(pin);
        Guard(pin)
    }

    impl Guard {
        pub(crate) fn defer(&self, run: impl FnOnce() + Send + 'static) {
            let mut epochs = EPOCHS.lock();
            let pinned = epochs.pinned.clone();
            epochs.deferred.push((pinned, Box::new(run)));
        }

        pub(crate) fn flush(&self) {}
    }

    impl Drop for Guard {
        fn drop(&mut self) {
            let mut epochs = EPOCHS.lock();
            epochs.pinned.remove(&self.0);
            for (pinned, _) in &mut epochs.deferred {
                pinned.remove(&self.0);
            }
            let ready: Vec<_> = epochs
                .deferred
                .extract_if(.., |(pinned, _)| pinned.is_empty())
                .collect();
            drop(epochs);
            ready.into_iter().for_each(|(_, run)| run());
        }
    }
}
