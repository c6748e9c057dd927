//! What the engine last said about itself, for whoever asks.

use std::sync::Arc;

use longbow_types::{Error, ErrorCode, NodeId};
use longbow_wire::internal::{Catalogue, GetKeeperStatusResponse};
use parking_lot::Mutex;
use tokio::sync::watch;

/// The catalogue as watchers see it, and who leads.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct View {
    pub catalogue: Catalogue,
    pub leader: Option<NodeId>,
}

/// Why this keeper stopped writing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fatal {
    pub code: ErrorCode,
    pub cause: String,
    /// A failed flush, which alone feeds the latch.
    pub flush_failed: bool,
}

impl Fatal {
    pub fn flush(cause: impl Into<String>) -> Self {
        Self {
            code: ErrorCode::StorageFailed,
            cause: cause.into(),
            flush_failed: true,
        }
    }
}

impl From<&Error> for Fatal {
    fn from(error: &Error) -> Self {
        Self {
            code: error.code,
            cause: error.to_string(),
            flush_failed: false,
        }
    }
}

/// Shared by the engine, which writes, and the RPC, which reads.
#[derive(Debug)]
pub(crate) struct Shared {
    status: Mutex<GetKeeperStatusResponse>,
    /// Nothing until the log is replayed: nobody shall take an old catalogue for the present one.
    view: watch::Sender<Option<Arc<View>>>,
    /// Why this keeper stopped writing.
    fatal: watch::Sender<Option<Fatal>>,
}

impl Shared {
    pub fn new() -> Self {
        Self {
            status: Mutex::default(),
            view: watch::Sender::new(None),
            fatal: watch::Sender::new(None),
        }
    }

    pub fn status(&self) -> GetKeeperStatusResponse {
        self.status.lock().clone()
    }

    pub fn set_status(&self, status: GetKeeperStatusResponse) {
        *self.status.lock() = status;
    }

    pub fn view(&self) -> watch::Receiver<Option<Arc<View>>> {
        self.view.subscribe()
    }

    pub fn set_view(&self, view: View) {
        self.view.send_replace(Some(Arc::new(view)));
    }

    pub fn set_formed(&self) {
        let mut status = self.status.lock();
        (status.formed, status.is_waiting) = (true, false);
    }

    /// This keeper is no member and waits to be added.
    pub fn set_waiting(&self) {
        self.status.lock().is_waiting = true;
    }

    pub fn fatal(&self) -> watch::Receiver<Option<Fatal>> {
        self.fatal.subscribe()
    }

    pub fn set_fatal(&self, fatal: Fatal) {
        let mut status = self.status.lock();
        status.fatal.clone_from(&fatal.cause);
        status.flush_failed = fatal.flush_failed;
        drop(status);
        self.fatal.send_replace(Some(fatal));
    }
}
