//! Batches to a dataset, with a bound on what is in flight and a progress bar.

use std::{
    fmt::Write,
    time::{Duration, Instant},
};

use arrow::record_batch::RecordBatch;
use futures::{StreamExt, TryStreamExt, stream};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use longbow_client::{Ack, DatasetHandle, Token};
use tokio::sync::mpsc;

/// Batches read ahead of those being sent.
const READ_AHEAD: usize = 2;

/// How to load.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// What must have happened to a batch before the next is sent.
    pub ack: Ack,
    /// The same for the last batch.
    pub last_ack: Ack,
    /// Requests in flight.
    pub parallel: usize,
}

/// What was loaded.
#[derive(Debug)]
pub struct Loaded {
    /// Rows written.
    pub rows: u64,
    /// Covers all of them.
    pub token: Token,
    /// How long it took.
    pub elapsed: Duration,
}

/// A progress bar on stderr; invisible where nobody looks.
pub fn progress(rows: u64, what: &str, visible: bool) -> ProgressBar {
    let target = if visible {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let style = ProgressStyle::with_template(
        "{prefix} [{wide_bar}] {human_pos}/{human_len} rows, {rate} rows/s, {eta} left",
    )
    .unwrap_or_else(|_| ProgressStyle::default_bar())
    .with_key("rate", |state: &ProgressState, out: &mut dyn Write| {
        let _ = write!(out, "{:.0}", state.per_sec());
    })
    .progress_chars("=> ");
    ProgressBar::with_draw_target(Some(rows), target)
        .with_style(style)
        .with_prefix(what.to_owned())
}

/// Sends batches in order. Stops at the first error; the bar's position tells how many rows were acknowledged.
pub async fn load<I>(
    dataset: &DatasetHandle,
    batches: I,
    plan: &Plan,
    bar: &ProgressBar,
) -> anyhow::Result<Loaded>
where
    I: Iterator<Item = anyhow::Result<RecordBatch>> + Send + 'static,
{
    let started = Instant::now();
    let receiver = read_ahead(batches);
    let stream = stream::unfold(receiver, |mut receiver| async move {
        let item = receiver.recv().await?;
        Some((item, receiver))
    });
    let plan = *plan;
    let written = stream.map(|item| async move {
        let (batch, is_last) = item?;
        let rows = batch.num_rows() as u64;
        let ack = if is_last { plan.last_ack } else { plan.ack };
        let written = dataset.upsert_batches([batch]).ack(ack).await?;
        anyhow::Ok((written, rows))
    });
    let mut loaded = Loaded {
        rows: 0,
        token: Token::default(),
        elapsed: Duration::ZERO,
    };
    let mut written = std::pin::pin!(written.buffer_unordered(plan.parallel.max(1)));
    while let Some((written, sent)) = written.try_next().await? {
        loaded.rows += written.rows;
        loaded.token.join(&written.token);
        bar.inc(sent);
    }
    loaded.elapsed = started.elapsed();
    Ok(loaded)
}

type Item = anyhow::Result<(RecordBatch, bool)>;

/// Reads on a thread of its own; tells of each batch whether it is the last. Skips empty ones.
fn read_ahead<I>(batches: I) -> mpsc::Receiver<Item>
where
    I: Iterator<Item = anyhow::Result<RecordBatch>> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(READ_AHEAD);
    tokio::task::spawn_blocking(move || {
        let is_empty = |batch: &anyhow::Result<RecordBatch>| batch.as_ref().is_ok_and(|b| b.num_rows() == 0);
        let mut batches = batches.filter(|batch| !is_empty(batch)).peekable();
        while let Some(batch) = batches.next() {
            let is_last = batches.peek().is_none();
            // An error means that nobody wants more.
            if sender.blocking_send(batch.map(|batch| (batch, is_last))).is_err() {
                return;
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, UInt64Array};
    use std::sync::Arc;

    fn batch(rows: u64) -> anyhow::Result<RecordBatch> {
        let ids: ArrayRef = Arc::new(UInt64Array::from_iter_values(0..rows));
        Ok(RecordBatch::try_from_iter([("id", ids)])?)
    }

    #[tokio::test]
    async fn the_last_batch_is_known_and_empty_ones_vanish() {
        let mut receiver = read_ahead([batch(2), batch(0), batch(3), batch(0)].into_iter());
        let mut seen = Vec::new();
        while let Some(item) = receiver.recv().await {
            let (batch, is_last) = item.unwrap();
            seen.push((batch.num_rows(), is_last));
        }
        assert_eq!(seen, [(2, false), (3, true)]);
    }

    #[tokio::test]
    async fn a_reader_that_nobody_listens_to_ends() {
        let endless = std::iter::repeat_with(|| batch(1));
        drop(read_ahead(endless));
    }
}
