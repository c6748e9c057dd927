//! Batches to a dataset, with a bound on what is in flight and a progress bar.

use std::{
    fmt::Write,
    time::{Duration, Instant},
};

use arrow::{record_batch::RecordBatch, util::display::array_value_to_string};
use futures::{StreamExt, TryStreamExt, stream};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use longbow_client::{Ack, DatasetHandle, Error, ErrorCode, Token};
use tokio::{
    sync::mpsc,
    task::{JoinError, JoinHandle},
};

use crate::output::table::cut_to;

/// Batches read ahead of those being sent.
const READ_AHEAD: usize = 2;
/// Characters of a value at fault that are shown.
const VALUE_CHARS_MAX: usize = 60;

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
    let (receiver, reader) = read_ahead(batches);
    let stream = stream::unfold(receiver, |mut receiver| async move {
        let item = receiver.recv().await?;
        Some((item, receiver))
    });
    let plan = *plan;
    let written = stream.map(|item| async move {
        let Piece {
            batch,
            first_row,
            is_last,
        } = item?;
        let rows = batch.num_rows() as u64;
        let ack = if is_last { plan.last_ack } else { plan.ack };
        // A clone shares the columns; it is for the error alone.
        let written = dataset.upsert_batches([batch.clone()]).ack(ack).await;
        let written = written.map_err(|error| with_row(error, &batch, first_row))?;
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
    // A reader that panicked looks like one at the end.
    reader.await.map_err(|error| broken(&error))?;
    loaded.elapsed = started.elapsed();
    Ok(loaded)
}

fn broken(error: &JoinError) -> Error {
    Error::new(
        ErrorCode::Internal,
        format!("reading the file broke off: {error}"),
    )
}

/// The error with the row of the file and its value, where it names a row.
fn with_row(mut error: Error, batch: &RecordBatch, first_row: u64) -> anyhow::Error {
    let named = error.field.as_deref().and_then(|field| {
        let (row, rest) = field.strip_prefix("rows[")?.split_once(']')?;
        Some((row.parse::<usize>().ok()?, rest.to_owned()))
    });
    let Some((row, rest)) = named else {
        return error.into();
    };
    let in_file = first_row.saturating_add(row as u64);
    error.field = Some(format!("rows[{in_file}]{rest}").into());
    let place = format!("row {in_file} of the file, counted from 0");
    let column = rest.strip_prefix('.').and_then(|name| batch.column_by_name(name));
    // A vector is too long to be shown.
    let value = column
        .filter(|column| row < column.len() && !column.data_type().is_nested())
        .and_then(|column| array_value_to_string(column, row).ok());
    match value {
        Some(value) => {
            let value = cut_to(&value, VALUE_CHARS_MAX);
            anyhow::Error::from(error).context(format!("{place}: {} is {value:?}", &rest[1..]))
        }
        None => anyhow::Error::from(error).context(place),
    }
}

/// Rows on their way.
#[derive(Debug)]
struct Piece {
    batch: RecordBatch,
    /// Its first row, counted over all.
    first_row: u64,
    is_last: bool,
}

/// Reads on a thread of its own, whose end tells whether it read all; tells of each batch whether it is the last. Skips
/// empty ones.
fn read_ahead<I>(batches: I) -> (mpsc::Receiver<anyhow::Result<Piece>>, JoinHandle<()>)
where
    I: Iterator<Item = anyhow::Result<RecordBatch>> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(READ_AHEAD);
    let reader = tokio::task::spawn_blocking(move || {
        let is_empty = |batch: &anyhow::Result<RecordBatch>| batch.as_ref().is_ok_and(|b| b.num_rows() == 0);
        let mut batches = batches.filter(|batch| !is_empty(batch)).peekable();
        let mut first_row = 0;
        while let Some(batch) = batches.next() {
            let is_last = batches.peek().is_none();
            let piece = batch.map(|batch| Piece {
                batch,
                first_row,
                is_last,
            });
            first_row += piece.as_ref().map_or(0, |piece| piece.batch.num_rows() as u64);
            // An error means that nobody wants more.
            if sender.blocking_send(piece).is_err() {
                return;
            }
        }
    });
    (receiver, reader)
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
        let (mut receiver, _) = read_ahead([batch(2), batch(0), batch(3), batch(0)].into_iter());
        let mut seen = Vec::new();
        while let Some(item) = receiver.recv().await {
            let piece = item.unwrap();
            seen.push((piece.first_row, piece.batch.num_rows(), piece.is_last));
        }
        assert_eq!(seen, [(0, 2, false), (2, 3, true)]);
    }

    #[tokio::test]
    async fn a_reader_that_panics_is_no_success() {
        let client =
            longbow_client::Client::lazy(["http://127.0.0.1:1"], longbow_client::Options::default()).unwrap();
        let broken = std::iter::once_with(|| panic!("as a damaged file may"));
        let plan = Plan {
            ack: Ack::Logged,
            last_ack: Ack::Logged,
            parallel: 1,
        };
        let outcome = load(&client.dataset("x"), broken, &plan, &ProgressBar::hidden()).await;
        let error = outcome.unwrap_err();
        assert_eq!(
            crate::error::find(&error).unwrap().code,
            ErrorCode::Internal,
            "{error:#}"
        );
        assert!(error.to_string().contains("a damaged file"), "{error:#}");
    }

    #[test]
    fn a_row_at_fault_is_named_as_in_the_file_with_its_value() {
        let batch = batch(3).unwrap();
        let told = |field: &'static str| {
            let error = Error::new(ErrorCode::TypeMismatch, "x").field(field);
            let error = with_row(error, &batch, 4_000);
            let field = crate::error::find(&error).unwrap().field.clone().unwrap();
            (format!("{error}"), field.into_owned())
        };
        let (message, field) = told("rows[2].id");
        assert_eq!(message, "row 4002 of the file, counted from 0: id is \"2\"");
        assert_eq!(field, "rows[4002].id");
        assert_eq!(told("rows[2]").0, "row 4002 of the file, counted from 0");
        assert!(told("rows[9].id").0.ends_with("counted from 0"));
        assert_eq!(told("dataset").1, "dataset");
    }

    #[tokio::test]
    async fn a_reader_that_nobody_listens_to_ends() {
        let endless = std::iter::repeat_with(|| batch(1));
        drop(read_ahead(endless));
    }
}
