//! The thread that makes spare segments, so that the log's own thread never waits for zeros to be written.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use longbow_wal::{Error, Spares};
use parking_lot::{Condvar, Mutex};

/// Time between two tries while there is no room.
const FULL_PAUSE: Duration = Duration::from_secs(1);

/// The thread; it ends when this is dropped.
pub(crate) struct SpareMaker {
    spares: Spares,
    signal: Arc<Signal>,
    thread: Option<thread::JoinHandle<()>>,
}

#[derive(Default)]
struct Signal {
    state: Mutex<State>,
    news: Condvar,
}

#[derive(Default)]
struct State {
    wanted: bool,
    ended: bool,
}

impl SpareMaker {
    pub fn start(spares: Spares) -> std::io::Result<Self> {
        let signal = Arc::new(Signal::default());
        let (theirs, heard) = (spares.clone(), signal.clone());
        let thread = thread::Builder::new()
            .name("longbow-spares".to_owned())
            .spawn(move || run(&theirs, &heard))?;
        Ok(Self {
            spares,
            signal,
            thread: Some(thread),
        })
    }

    /// Wakes the thread if a spare is wanted.
    pub fn poke(&self) {
        if self.spares.wanted() {
            self.signal.state.lock().wanted = true;
            self.signal.news.notify_one();
        }
    }
}

impl Drop for SpareMaker {
    fn drop(&mut self) {
        self.signal.state.lock().ended = true;
        self.signal.news.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic there costs spares alone.
            let _ = thread.join();
        }
    }
}

impl Signal {
    fn is_ended(&self) -> bool {
        self.state.lock().ended
    }

    /// Waits until a spare is wanted; `false` when it is time to end.
    fn wait(&self) -> bool {
        let mut state = self.state.lock();
        while !state.wanted && !state.ended {
            self.news.wait(&mut state);
        }
        state.wanted = false;
        !state.ended
    }

    /// Waits for a while, or until it is time to end.
    fn pause(&self) {
        let until = Instant::now() + FULL_PAUSE;
        let mut state = self.state.lock();
        while !state.ended && !self.news.wait_until(&mut state, until).timed_out() {}
    }
}

fn run(spares: &Spares, signal: &Signal) {
    while signal.wait() {
        while spares.wanted() && !signal.is_ended() {
            match spares.make(&|| signal.is_ended()) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error @ Error::Full { .. }) => {
                    tracing::warn!(%error, "no room for a spare segment: trying again");
                    signal.pause();
                }
                Err(error) => {
                    // Segments are made without spares, too; whether the disk has failed, the log's own writes tell.
                    tracing::warn!(%error, "no more spare segments are made");
                    return;
                }
            }
        }
    }
}
