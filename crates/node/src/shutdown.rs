//! When does this process, or this one role of it, stop?

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A switch that is thrown once. Clones are the same switch.
#[derive(Debug, Clone, Default)]
pub struct Shutdown(CancellationToken);

impl Shutdown {
    /// A switch not yet thrown.
    pub fn new() -> Self {
        Self::default()
    }

    /// A switch that is thrown when this one is, but may be thrown alone: one role of a process.
    pub fn child(&self) -> Self {
        Self(self.0.child_token())
    }

    /// Throws the switch. Throwing it again does nothing.
    pub fn trigger(&self) {
        self.0.cancel();
    }

    /// Whether it is thrown.
    pub fn is_triggered(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Returns when it is thrown; at once if it already is.
    pub async fn wait(&self) {
        self.0.cancelled().await;
    }

    /// Like [`Shutdown::wait`], for tasks that own their wait.
    pub fn wait_owned(&self) -> impl Future<Output = ()> + Send + 'static {
        self.0.clone().cancelled_owned()
    }

    /// What the work gives; none if the switch is thrown before: a start that takes long must not outlast an order to
    /// stop. Work cut short is dropped.
    pub async fn unless<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            done = work => Some(done),
            () = self.wait() => None,
        }
    }

    /// Throws the switch on SIGTERM or SIGINT. Must be called inside a tokio runtime.
    ///
    /// A second signal ends the process at once, with code 130: an operator who asks twice means it.
    pub fn on_signals(&self) -> std::io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let switch = self.clone();
        tokio::spawn(async move {
            let mut asked = false;
            loop {
                let name = tokio::select! {
                    Some(()) = terminate.recv() => "SIGTERM",
                    Some(()) = interrupt.recv() => "SIGINT",
                    else => return,
                };
                if asked {
                    tracing::warn!(signal = name, "asked to stop a second time: stopping at once");
                    std::process::exit(130);
                }
                asked = true;
                tracing::info!(signal = name, "stopping");
                switch.trigger();
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_child_stops_with_its_parent_but_not_the_reverse() {
        let parent = Shutdown::new();
        let (one, two) = (parent.child(), parent.child());
        one.trigger();
        assert!(one.is_triggered() && !parent.is_triggered() && !two.is_triggered());
        parent.trigger();
        two.wait().await;
        two.wait_owned().await;
        assert!(two.is_triggered());
    }

    #[tokio::test]
    async fn work_ends_with_the_switch_unless_it_is_done() {
        let switch = Shutdown::new();
        assert_eq!(switch.unless(async { 1 }).await, Some(1));
        switch.trigger();
        assert_eq!(switch.unless(std::future::pending::<()>()).await, None);
        assert_eq!(switch.unless(async { 2 }).await, Some(2));
    }
}
