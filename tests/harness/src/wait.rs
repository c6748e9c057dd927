//! Waiting for a condition with a deadline, so that no test sleeps and hopes.

use std::{future::Future, time::Duration};

use anyhow::{Result, bail};
use tokio::time::{Instant, sleep};

const POLL: Duration = Duration::from_millis(20);

/// Polls until `probe` gives a value, or fails naming `what` and the last thing that went wrong.
pub async fn until<T, F, Fut>(what: &str, limit: Duration, mut probe: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T>>,
{
    let deadline = Instant::now() + limit;
    loop {
        match probe().await {
            Ok(value) => return Ok(value),
            Err(error) if Instant::now() >= deadline => {
                bail!("waited {limit:?} for {what}; last: {error:#}")
            }
            Err(_) => sleep(POLL).await,
        }
    }
}
