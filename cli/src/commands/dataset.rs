//! `longbow dataset …`: create, alter, list, describe, drop.

mod alter;
mod column;
mod life;
mod told;
mod vector;

use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum};
use longbow_client::{Error, IdKind, Metric, Quantization, Schema, SchemaBuilder, VectorElement};
use serde_json::json;

use crate::{
    args::Global,
    connect,
    output::{Output, json as to_json},
};
use told::{describe, list};

const CREATE_EXAMPLES: &str = "\
Examples:
  longbow dataset create words --dimension 384
  longbow dataset create words --dimension 384 --element f16 --metric cosine \\
      --column pos:utf8 --column lemmas:list --column word_count:int32 --partitions 8
  longbow dataset create users --id-kind utf8 --dimension 64 --if-not-exists
  longbow dataset create pages --dimension 1024 --element f16 --quantization sq4
  longbow dataset create sessions --dimension 64 --ttl 7d
  longbow dataset create offers --dimension 64 --column until:timestamp --expires-at until

Column types: bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 utf8 binary
timestamp (microseconds, UTC) list (of utf8) 'list<int32>' and so on, date date64 decimal[10,2] (digits, and how
many of them behind the point) 'struct<name:utf8,year:int32!>' (children); and with a unit of s, ms, us or ns: timestamp[ns],
timestamp[ms,Europe/Berlin], time[us], duration[ms]. A '!' after the type forbids nulls: pos:utf8!
After '=' stands what rows hold that do not tell the column: lang:utf8=en, rank:int32!=0. Bytes are base64, times
whole numbers of their unit. Quote such words: '!' means something to most shells.";
const LIST_EXAMPLES: &str = "Examples:\n  longbow dataset list\n  longbow dataset list --no-counts --json";
const DESCRIBE_EXAMPLES: &str = "Examples:\n  longbow dataset describe words";
const DROP_EXAMPLES: &str = "Examples:\n  longbow dataset drop words --yes";

/// What to do with datasets.
#[derive(Debug, Subcommand)]
pub enum DatasetCommand {
    /// Create a dataset.
    #[command(after_help = CREATE_EXAMPLES)]
    Create(CreateArgs),
    /// Give a dataset the next version of its schema: columns are added, or become wider, or rows live longer.
    #[command(after_help = alter::EXAMPLES)]
    Alter(alter::AlterArgs),
    /// List all datasets.
    #[command(after_help = LIST_EXAMPLES)]
    List {
        /// Leave out rows and size, for which the shards are asked.
        #[arg(long)]
        no_counts: bool,
    },
    /// Show columns and counts of one dataset.
    #[command(after_help = DESCRIBE_EXAMPLES)]
    Describe {
        /// Name of the dataset.
        dataset: String,
    },
    /// Drop a dataset and all its rows.
    #[command(after_help = DROP_EXAMPLES)]
    Drop {
        /// Name of the dataset.
        dataset: String,
        /// Yes, drop it: there is no way back.
        #[arg(long, required = true)]
        yes: bool,
    },
}

/// Arguments of `longbow dataset create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// Name of the dataset.
    pub dataset: String,
    /// Number of elements of a vector.
    #[arg(long)]
    pub dimension: usize,
    /// Distance between vectors.
    #[arg(long, value_enum, default_value_t = MetricArg::Cosine)]
    pub metric: MetricArg,
    /// How vector elements are kept.
    #[arg(long, value_enum, default_value_t = ElementArg::F32)]
    pub element: ElementArg,
    /// What the search graph is walked on; answers are refined on the vectors. Codes take memory and win speed.
    #[arg(long, value_enum, default_value_t = QuantizationArg::Sq8)]
    pub quantization: QuantizationArg,
    /// Name of the id column.
    #[arg(long, default_value = "id", value_name = "NAME")]
    pub id_column: String,
    /// Kind of the ids.
    #[arg(long, value_enum, default_value_t = IdKindArg::U64)]
    pub id_kind: IdKindArg,
    /// Name of the vector column.
    #[arg(long, default_value = "vector", value_name = "NAME")]
    pub vector_column: String,
    /// A further column; may be given many times.
    #[arg(long = "column", value_name = "NAME:TYPE[!][=DEFAULT]")]
    pub columns: Vec<String>,
    /// When its rows go.
    #[command(flatten)]
    pub life: life::LifeArgs,
    /// How it is spread.
    #[command(flatten)]
    pub spread: Spread,
    /// Succeed if a dataset of this name with the same schema is there.
    #[arg(long)]
    pub if_not_exists: bool,
}

/// How a new dataset is spread over the shards.
#[derive(Debug, Clone, Default, Args)]
pub struct Spread {
    /// Number of partitions of a new dataset; 0: the cluster's default.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub partitions: u32,
    /// Copies of each partition of a new dataset; 0: two where there are two shards.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub replication_factor: u32,
}

/// A metric as typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MetricArg {
    /// 1 - cosine similarity.
    Cosine,
    /// Squared Euclidean distance.
    L2,
    /// Negative inner product.
    Dot,
}

impl From<MetricArg> for Metric {
    fn from(metric: MetricArg) -> Self {
        match metric {
            MetricArg::Cosine => Metric::Cosine,
            MetricArg::L2 => Metric::L2,
            MetricArg::Dot => Metric::Dot,
        }
    }
}

/// An element type as typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ElementArg {
    /// 16-bit floats: half the memory, nearly the same answers.
    F16,
    /// 32-bit floats.
    F32,
    /// 64-bit floats.
    F64,
}

impl From<ElementArg> for VectorElement {
    fn from(element: ElementArg) -> Self {
        match element {
            ElementArg::F16 => VectorElement::F16,
            ElementArg::F32 => VectorElement::F32,
            ElementArg::F64 => VectorElement::F64,
        }
    }
}

/// A quantization as typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum QuantizationArg {
    /// The vectors: no further memory, slowest to build and to search.
    None,
    /// A byte per dimension: finds what none finds, builds and searches more than twice as fast.
    Sq8,
    /// Half a byte per dimension: the fastest, finds slightly less at the same ef.
    Sq4,
    /// A bit per dimension: the least memory to walk, where vectors are long; builds as slowly as none.
    Bit1,
}

impl From<QuantizationArg> for Quantization {
    fn from(quantization: QuantizationArg) -> Self {
        match quantization {
            QuantizationArg::None => Quantization::None,
            QuantizationArg::Sq8 => Quantization::Sq8,
            QuantizationArg::Sq4 => Quantization::Sq4,
            QuantizationArg::Bit1 => Quantization::Bit1,
        }
    }
}

/// A kind of ids as typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum IdKindArg {
    /// Unsigned 64-bit.
    U64,
    /// Signed 64-bit.
    I64,
    /// Text.
    Utf8,
}

impl From<IdKindArg> for IdKind {
    fn from(kind: IdKindArg) -> Self {
        match kind {
            IdKindArg::U64 => IdKind::U64,
            IdKindArg::I64 => IdKind::I64,
            IdKindArg::Utf8 => IdKind::Utf8,
        }
    }
}

/// Runs the command.
pub async fn run(command: &DatasetCommand, global: &Global) -> anyhow::Result<()> {
    let client = connect::client(global)?;
    let output = Output { json: global.json };
    match command {
        DatasetCommand::Create(args) => {
            let mut create = client
                .dataset(&args.dataset)
                .create(&schema(args)?)
                .partitions(args.spread.partitions)
                .replication_factor(args.spread.replication_factor);
            if args.if_not_exists {
                create = create.if_not_exists();
            }
            let made = create
                .await
                .with_context(|| format!("creating {}", args.dataset))?;
            let value = json!({
                "created": made.created,
                "token": made.token.to_string(),
                "dataset": to_json::dataset(&made.dataset),
            });
            output.result(&value, || {
                let verb = if made.created {
                    "created"
                } else {
                    "was already there:"
                };
                let info = &made.dataset;
                format!(
                    "{verb} {}: {} partitions, {} copies of each",
                    info.name, info.partitions, info.replication_factor
                )
            })?;
        }
        DatasetCommand::Alter(args) => alter::run(args, &client, &output).await?,
        DatasetCommand::List { no_counts } => {
            let all = client.list_datasets(!no_counts).await?;
            let value = json!({ "datasets": all.iter().map(to_json::dataset).collect::<Vec<_>>() });
            output.result(&value, || list(&all, !no_counts))?;
        }
        DatasetCommand::Describe { dataset } => {
            let info = client.dataset(dataset).describe().await?;
            output.result(&to_json::dataset(&info), || describe(&info))?;
        }
        DatasetCommand::Drop { dataset, .. } => {
            let token = client.dataset(dataset).drop().await?;
            let value = json!({ "dropped": dataset, "token": token.to_string() });
            output.result(&value, || format!("dropped {dataset}"))?;
        }
    }
    Ok(())
}

fn schema(args: &CreateArgs) -> Result<Schema, Error> {
    let mut builder = SchemaBuilder::new()
        .id(&args.id_column, args.id_kind.into())
        .vector(
            &args.vector_column,
            args.dimension,
            args.element.into(),
            args.metric.into(),
        )
        .quantization(args.quantization.into());
    for text in &args.columns {
        let typed = column::parse(text)?;
        builder = builder.column(typed.field.name(), typed.field.data_type().clone());
        if !typed.field.is_nullable() {
            builder = builder.not_null();
        }
        if let Some(default) = typed.default {
            builder = builder.default_value(default);
        }
    }
    if let Some(ttl) = args.life.ttl {
        builder = builder.ttl(ttl);
    }
    if let Some(column) = &args.life.expires_at {
        builder = builder.expires_at(column);
    }
    builder.build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::json::kind;
    use clap::Parser;
    use longbow_client::DatasetInfo;

    fn created(line: &[&str]) -> Result<Schema, Error> {
        let whole = [&["longbow", "dataset", "create", "words"], line].concat();
        let cli = crate::args::Cli::try_parse_from(whole).unwrap();
        let crate::args::Command::Dataset(DatasetCommand::Create(args)) = cli.command else {
            panic!("not a create");
        };
        schema(&args)
    }

    #[test]
    fn columns_are_read() {
        let schema = created(&[
            "--dimension=4",
            "--element=f16",
            "--metric=l2",
            "--quantization=bit1",
            "--id-kind=utf8",
            "--column=pos:utf8!",
            "--column=a:b:list",
            "--column=at:timestamp",
        ])
        .unwrap();
        assert_eq!(schema.id_kind(), IdKind::Utf8);
        assert_eq!(schema.vector().metric, Metric::L2);
        assert_eq!(schema.vector().quantization, Quantization::Bit1);
        assert!(!schema.arrow().field(2).is_nullable());
        assert_eq!(schema.arrow().field(3).name(), "a:b");
        for bad in [
            "--column=x",
            "--column=x:decimal",
            "--column=x:list<list<int8>>",
            "--column=x:list<>",
            "--column=x:decimal[77,0]",
            "--column=x:decimal[3,4]",
            "--column=x:decimal[3]",
            "--column=x:timestamp[m]",
            "--column=x:time[s,UTC]",
            "--column=x:timestamp[s,]",
            "--column=_x:utf8",
            "--column=id:utf8",
        ] {
            assert!(created(&["--dimension=4", bad]).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_are_told_as_they_are_typed() {
        for (typed, told) in [
            ("date", "date32"),
            ("date64", "date64"),
            ("timestamp", "timestamp_micros"),
            ("timestamp[us,UTC]", "timestamp_micros"),
            ("timestamp[ns]", "timestamp[ns]"),
            ("timestamp[s,+01:00]", "timestamp[s,+01:00]"),
            ("time[ms]", "time[ms]"),
            ("time[ns]", "time[ns]"),
            ("duration[us]", "duration[us]"),
            ("decimal[10,2]", "decimal[10,2]"),
            ("decimal[76,2]", "decimal[76,2]"),
            ("list<decimal[5,1]>", "list<decimal[5,1]>"),
            ("list", "list<utf8>"),
            ("struct<a:int32,b:list<utf8>!>", "struct<a:int32,b:list<utf8>!>"),
            (
                "struct<at:timestamp[s,+01:00],d:decimal[40,2]>",
                "struct<at:timestamp[s,+01:00],d:decimal[40,2]>",
            ),
            ("list<utf8>", "list<utf8>"),
            ("list<float32>", "list<float32>"),
            ("list<timestamp[s,+01:00]>", "list<timestamp[s,+01:00]>"),
        ] {
            let schema = created(&["--dimension=4", &format!("--column=a:b:{typed}!")]).unwrap();
            assert_eq!(kind(&schema, 2), told);
            assert_eq!(schema.arrow().field(2).name(), "a:b");
        }
    }

    #[test]
    fn when_rows_go_is_read() {
        let line = [
            "--dimension=4",
            "--column=until:timestamp",
            "--ttl=7d",
            "--expires-at=until",
        ];
        let schema = created(&line).unwrap();
        let week = std::time::Duration::from_secs(7 * 86_400);
        assert_eq!(
            (schema.ttl(), schema.expires_column()),
            (Some(week), Some("until"))
        );
        let error = created(&["--dimension=4", "--ttl=10ms"]).unwrap_err();
        assert_eq!(error.field.as_deref(), Some("ttl"));
        let error = created(&["--dimension=4", "--expires-at=until"]).unwrap_err();
        assert_eq!(error.field.as_deref(), Some("until"));
    }

    #[test]
    fn the_default_quantization_is_that_of_the_protocol() {
        let unset = created(&["--dimension=4"]).unwrap().vector().quantization;
        assert_eq!(unset, Quantization::default());
        let line = "longbow dataset create words --dimension 4 --quantization sq2";
        assert!(crate::args::Cli::try_parse_from(line.split(' ')).is_err());
    }

    #[test]
    fn dropping_needs_a_yes() {
        assert!(crate::args::Cli::try_parse_from(["longbow", "dataset", "drop", "x"]).is_err());
    }

    #[test]
    fn descriptions_hold_the_columns() {
        let schema = created(&["--dimension=4", "--column=pos:utf8"]).unwrap();
        let info = DatasetInfo {
            name: "words".into(),
            id: longbow_types::DatasetId(3),
            schema_version: 1,
            schema,
            partitions: 4,
            replication_factor: 2,
            rows: Some(5_000),
            bytes: None,
        };
        let text = describe(&info);
        for part in ["float32[4]", "cosine", "sq8 codes", "5 000", "pos"] {
            assert!(text.contains(part), "{part} in {text}");
        }
        let plain = DatasetInfo {
            schema: info.schema.clone().with_quantization(Quantization::None),
            ..info.clone()
        };
        assert!(describe(&plain).contains("no codes"));
        let counted = list(std::slice::from_ref(&info), true);
        for part in ["words", "sq8", "rows", "5 000", "unknown"] {
            assert!(counted.contains(part), "{part} in {counted}");
        }
        assert!(!list(&[info], false).contains("rows"));
        assert!(list(&[], true).contains("import"));
    }
}
