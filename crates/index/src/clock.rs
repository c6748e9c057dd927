//! How long do the parts of a search take? By a clock that its caller hands in: there is none here.

use std::{fmt, time::Duration};

/// A clock of the caller's: how much time has passed since some moment.
#[derive(Clone, Copy)]
pub struct Clock<'a>(&'a dyn Fn() -> Duration);

impl<'a> Clock<'a> {
    /// A clock that is read by a call.
    pub fn new(read: &'a dyn Fn() -> Duration) -> Self {
        Self(read)
    }

    /// What it shows.
    pub fn now(self) -> Duration {
        (self.0)()
    }
}

impl fmt::Debug for Clock<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// How long the parts of a search took; nothing where no clock was handed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Times {
    /// Walks through the graph, or comparing what is linked in their place; comparing everything.
    pub graph: Duration,
    /// Comparing what is not linked yet beside what is.
    pub tail: Duration,
    /// Comparing on their vectors what was found by codes.
    pub refine: Duration,
}

/// A clock that may not be there, in which case it stands still and costs nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Watch<'a>(pub(crate) Option<Clock<'a>>);

impl Watch<'_> {
    pub(crate) fn now(self) -> Duration {
        self.0.map_or(Duration::ZERO, Clock::now)
    }

    /// Time that has passed since it showed `began`.
    pub(crate) fn since(self, began: Duration) -> Duration {
        self.now().saturating_sub(began)
    }
}
