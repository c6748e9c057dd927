//! `longbow import`: the rows of a file into a dataset.

pub mod fit;
pub mod load;
pub mod npy;
pub mod parquet;
pub mod source;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use longbow_client::{Client, Consistency, Error, ErrorCode, Schema};
use longbow_node::shutdown::Shutdown;
use longbow_types::error::ErrorKind;
use serde_json::json;

use crate::{
    args::Global,
    commands::{
        dataset::{ElementArg, MetricArg, QuantizationArg, Spread},
        delete::AckArg,
    },
    connect, error,
    output::{Output, table::thousands},
};

const EXAMPLES: &str = "\
Examples:
  longbow import words.parquet --dataset words --create
  longbow import words.parquet --dataset words --create --element f16 --metric cosine --columns id,vector,pos
  longbow import base.npy --dataset base --create --metric l2
  longbow import more.parquet --dataset words --ack indexed

Parquet: a column of ids (integers or text), a column of vectors (lists of floats, all of one length), any others.
Dictionaries become text; dates stay dates, and times keep their unit and zone. Numbers and times that a column of the
dataset cannot hold exactly are refused; only floats are rounded to narrower ones. NumPy: a matrix of f2, f4 or f8, one
row a vector; row numbers become ids. Rows whose id is there already are replaced. An interrupted import can simply be
run again.";

/// Arguments of `longbow import`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ImportArgs {
    /// A .parquet or .npy file.
    pub file: PathBuf,
    /// Name of the dataset.
    #[arg(long, short, value_name = "NAME")]
    pub dataset: String,
    /// Create the dataset from the file's columns if it is not there.
    #[arg(long)]
    pub create: bool,
    /// How a new dataset is spread.
    #[command(flatten)]
    pub spread: Spread,
    /// Distance between vectors of a new dataset [default: the file's longbow.metric, else cosine].
    #[arg(long, value_enum)]
    pub metric: Option<MetricArg>,
    /// How a new dataset keeps vector elements [default: as in the file].
    #[arg(long, value_enum)]
    pub element: Option<ElementArg>,
    /// What the search graph of a new dataset is walked on; see `longbow dataset create --help`.
    #[arg(long, value_enum, default_value_t = QuantizationArg::Sq8)]
    pub quantization: QuantizationArg,
    /// Columns of the file to take, separated by commas [default: all].
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub columns: Vec<String>,
    /// Column of the file that holds the ids of a new dataset.
    #[arg(long, default_value = "id", value_name = "NAME")]
    pub id_column: String,
    /// Column of the file that holds the vectors of a new dataset.
    #[arg(long, default_value = "vector", value_name = "NAME")]
    pub vector_column: String,
    /// Id of the first row of a NumPy array.
    #[arg(long, default_value_t = 0, value_name = "ID")]
    pub first_id: u64,
    /// Stop after so many rows; 0: all.
    #[arg(long, default_value_t = 0, value_name = "ROWS")]
    pub limit: u64,
    /// Rows sent at once.
    #[arg(long, default_value_t = 2_000, value_name = "ROWS", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub batch_rows: u32,
    /// Requests in flight; with more than one, rows of the file that share an id end in any order.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub parallel: u32,
    /// What must have happened to rows before the next are sent.
    #[arg(long, value_enum, default_value_t = AckArg::Logged)]
    pub ack: AckArg,
}

/// Runs the command.
pub async fn run(args: &ImportArgs, global: &Global) -> anyhow::Result<()> {
    let client = connect::patient_client(global)?;
    let output = Output { json: global.json };
    let source = source::open(args)
        .map_err(source::at_fault)
        .with_context(|| format!("opening {}", args.file.display()))?;
    let (schema, created) = schema_of_dataset(&client, args, &source).await?;
    if created {
        output.note(&format!("created {}", args.dataset))?;
    }
    let bar = load::progress(source.rows, &args.dataset, !global.json);
    let batches = source
        .batches
        .map(move |batch| Ok(fit::batch(&batch.map_err(source::at_fault)?, &schema)?));
    let plan = load::Plan {
        ack: args.ack.into(),
        last_ack: args.ack.into(),
        parallel: args.parallel as usize,
    };
    let dataset = client.dataset(&args.dataset);
    let shutdown = Shutdown::new();
    shutdown.on_signals().context("listening for signals")?;
    let loaded = tokio::select! {
        loaded = load::load(&dataset, batches, &plan, &bar) => loaded,
        () = shutdown.wait() => Err(Error::new(ErrorCode::Cancelled, "interrupted").into()),
    };
    let acknowledged = bar.position();
    bar.finish_and_clear();
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(error) => {
            let again = may_pass(&error);
            let dropped = created && !again && acknowledged == 0 && drop_empty(&client, &args.dataset).await;
            return Err(error.context(how_far(args, acknowledged, again, dropped)));
        }
    };
    let seconds = loaded.elapsed.as_secs_f64();
    let value = json!({
        "dataset": args.dataset,
        "created": created,
        "rows": loaded.rows,
        "seconds": seconds,
        "token": loaded.token.to_string(),
    });
    output.result(&value, || {
        format!(
            "imported {} rows into {} in {seconds:.2} s ({} rows/s)",
            thousands(loaded.rows),
            args.dataset,
            thousands((loaded.rows as f64 / seconds.max(1e-9)) as u64)
        )
    })?;
    Ok(())
}

/// Whether the same import may get further another time: what failed is not the rows.
fn may_pass(error: &anyhow::Error) -> bool {
    let Some(ours) = error::find(error) else {
        return false;
    };
    match ours.code.kind() {
        ErrorKind::ResourceExhausted => ours.code != ErrorCode::TooLarge,
        kind => matches!(
            kind,
            ErrorKind::Unavailable
                | ErrorKind::DeadlineExceeded
                | ErrorKind::Cancelled
                | ErrorKind::Aborted
                | ErrorKind::FailedPrecondition
        ),
    }
}

/// Drops a dataset that holds no rows. Whether it did; that it could not is no news to somebody whose import has failed.
async fn drop_empty(client: &Client, name: &str) -> bool {
    let dataset = client.dataset(name);
    let Ok(info) = dataset.describe().await else {
        return false;
    };
    // A strict search sees every acknowledged row, also those of somebody else that no shard has counted yet.
    let any = vec![1.0_f32; info.schema.vector().dimension];
    let search = dataset
        .search()
        .near(any)
        .k(1)
        .consistency(Consistency::FreshStrict);
    let empty = matches!(search.await, Ok(found) if found.hits.is_empty());
    empty && dataset.drop().await.is_ok()
}

fn how_far(args: &ImportArgs, acknowledged: u64, again: bool, dropped: bool) -> String {
    let file = args.file.display();
    if dropped {
        return format!(
            "nothing of {file} was written, and {}, created for it, was dropped again",
            args.dataset
        );
    }
    let rows = thousands(acknowledged);
    let advice = if again {
        "; run the import again to go on"
    } else {
        ""
    };
    format!("after {rows} rows of {file} were acknowledged{advice}")
}

/// The schema that rows must have, and whether the dataset was created for it.
async fn schema_of_dataset(
    client: &Client,
    args: &ImportArgs,
    source: &source::Source,
) -> anyhow::Result<(Schema, bool)> {
    let dataset = client.dataset(&args.dataset);
    let missing = match dataset.describe().await {
        Ok(info) => return Ok((info.schema, false)),
        Err(error) if error.code == ErrorCode::DatasetNotFound => error,
        Err(error) => return Err(error.into()),
    };
    if !args.create {
        return Err(anyhow::Error::from(missing).context("pass --create to make the dataset from the file"));
    }
    let wishes = fit::Wishes {
        id_column: &args.id_column,
        vector_column: &args.vector_column,
        metric: args.metric.map(Into::into),
        element: args.element.map(Into::into),
        quantization: args.quantization.into(),
    };
    let schema = fit::schema(&source.schema, source.list_length, &wishes)?;
    let made = dataset
        .create(&schema)
        .partitions(args.spread.partitions)
        .replication_factor(args.spread.replication_factor)
        .if_not_exists()
        .await
        .with_context(|| format!("creating {}", args.dataset))?;
    Ok((made.dataset.schema, made.created))
}
