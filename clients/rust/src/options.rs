//! How a client behaves: keys, deadlines, retries.

use std::time::Duration;

/// How a [`Client`](crate::Client) behaves.
///
/// ```
/// use std::time::Duration;
/// use longbow_client::Options;
///
/// let options = Options { timeout: Duration::from_secs(5), ..Options::default() }.api_key("secret");
/// assert_eq!(options.api_key.as_deref(), Some("secret"));
/// ```
#[derive(Debug, Clone)]
pub struct Options {
    /// Bearer key, if the routers ask for one.
    pub api_key: Option<String>,
    /// Time for one call, retries included. Travels to every node that works on it. 30 s; at most a year counts.
    pub timeout: Duration,
    /// Time to open one connection. 3 s.
    pub connect_timeout: Duration,
    /// When calls are sent again.
    pub retry: RetryPolicy,
}

impl Options {
    /// Sets the bearer key.
    #[must_use]
    pub fn api_key(mut self, key: impl Into<String>) -> Self {
        self.api_key = Some(key.into());
        self
    }

    /// Sets the time for one call, retries included.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            api_key: None,
            timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(3),
            retry: RetryPolicy::default(),
        }
    }
}

/// When calls that may be sent twice are sent again.
///
/// The pause before retry n is random between half and all of `pause_min · 2ⁿ`, at most `pause_max`; a server that
/// says when to come back is waited for. No retry starts that could not be answered before the call's deadline; after a
/// refusal it must leave as much time as its pause takes, so that the refusal is told rather than that time ran out.
///
/// Asking the next router because no connection to this one could be opened is no retry: nothing was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Most retries of one call; 0: none. 10.
    pub retries_max: u32,
    /// Pause before the first retry. 50 ms.
    pub pause_min: Duration,
    /// Longest pause that the client chooses itself. 2 s.
    pub pause_max: Duration,
}

impl RetryPolicy {
    /// Never sends a call twice. Routers that cannot be connected to are still passed over.
    pub fn none() -> Self {
        Self {
            retries_max: 0,
            ..Self::default()
        }
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            retries_max: 10,
            pause_min: Duration::from_millis(50),
            pause_max: Duration::from_secs(2),
        }
    }
}
