//! `longbow dataset alter`: the next version of a schema.

use std::time::Duration;

use anyhow::Context;
use clap::Args;
use longbow_client::{Client, DatasetInfo, Schema};
use longbow_types::evolution::{Change, changes};
use serde_json::{Value as Json, json};

use super::{
    column,
    life::{NewLifeArgs, life},
    vector,
};
use crate::{
    column_text,
    output::{Output, json as to_json},
};

pub(super) const EXAMPLES: &str = "\
Examples:
  longbow dataset alter words --add note:utf8
  longbow dataset alter words --add 'rank:int32!=0' --widen word_count:int64
  longbow dataset alter words --add lang:utf8=en --expected-version 1
  longbow dataset alter words --add-vector image:512:f16:cosine
  longbow dataset alter words --widen word_count:int64 --dry-run
  longbow dataset alter words --ttl 30d
  longbow dataset alter words --add until:timestamp --expires-at until --no-ttl

New columns come after those there are, and are nullable or have a default: rows from before hold the default, or
a null. Types and defaults are written as in `longbow dataset create`.

With --add-vector comes a further vector column, of so many dimensions, in which rows need not have a value: those
from before have none. `longbow search --vector-column` searches it. What is left out (the element f16, f32 or f64,
the metric cosine, l2 or dot, the codes none, sq8, sq4 or bit1) is as of the vectors that every row has.

An integer becomes a wider one that holds all its values (int8 to int64, uint32 to int64), a float a wider float.
With --ttl rows go so long after they were last written; those that are there when it is first set begin to age then.
With --expires-at a column tells when each row goes. A shorter life holds for rows that are there, too.

Nothing else changes: columns are not dropped, renamed or narrowed, and the id and vectors stay what they are.

No row is written again. Writes that were on their way under the version before are checked anew by the router.
Of two changes made from one version the first wins; the other is told the version it lost to (SCHEMA_CONFLICT).";

/// Arguments of `longbow dataset alter`.
#[derive(Debug, Args)]
pub struct AlterArgs {
    /// Name of the dataset.
    pub dataset: String,
    /// A new column; may be given many times.
    #[arg(long, value_name = "NAME:TYPE[!][=DEFAULT]")]
    pub add: Vec<String>,
    /// A new vector column; may be given many times.
    #[arg(long, value_name = "NAME:DIMENSION[:ELEMENT][:METRIC][:CODES]")]
    pub add_vector: Vec<String>,
    /// A column that becomes wider, and its new type; may be given many times.
    #[arg(long, value_name = "NAME:TYPE")]
    pub widen: Vec<String>,
    /// When rows go.
    #[command(flatten)]
    pub life: NewLifeArgs,
    /// Change this version of the schema and no other; without it, the one that there is.
    #[arg(long, value_name = "N")]
    pub expected_version: Option<u32>,
    /// Only tell what would change.
    #[arg(long)]
    pub dry_run: bool,
}

/// Runs the command.
pub(super) async fn run(args: &AlterArgs, client: &Client, output: &Output) -> anyhow::Result<()> {
    let handle = client.dataset(&args.dataset);
    let info = handle.describe().await?;
    let expected = args.expected_version.unwrap_or(info.schema_version);
    // What was meant for another version is refused as that, whatever it would do to this one.
    let (next, planned) = if expected == info.schema_version {
        let next = next(args, &info.schema)?;
        let planned = changes(&info.schema, &next)?;
        (next, planned)
    } else {
        (info.schema.clone(), Vec::new())
    };
    if args.dry_run && expected == info.schema_version {
        let value = json!({
            "altered": false,
            "dry_run": true,
            "schema_version": info.schema_version,
            "changes": planned.iter().map(as_json).collect::<Vec<_>>(),
        });
        output.result(&value, || {
            let head = format!("would change {} from version {}", info.name, info.schema_version);
            told(&head, &planned)
        })?;
        return Ok(());
    }
    let altered = handle
        .alter(&next, expected)
        .await
        .with_context(|| format!("altering {}", args.dataset))?;
    let value = json!({
        "altered": altered.altered,
        "token": altered.token.to_string(),
        "changes": planned.iter().map(as_json).collect::<Vec<_>>(),
        "dataset": to_json::dataset(&altered.dataset),
    });
    output.result(&value, || summary(&altered.dataset, altered.altered, &planned))?;
    Ok(())
}

/// The schema asked for.
fn next(args: &AlterArgs, schema: &Schema) -> Result<Schema, longbow_client::Error> {
    let mut next = schema.clone();
    for text in &args.widen {
        let field = column::field(text)?;
        next = next.with_type(field.name(), field.data_type().clone())?;
    }
    for text in &args.add {
        let typed = column::parse(text)?;
        next = next.with_column(typed.field, typed.default)?;
    }
    for text in &args.add_vector {
        next = vector::add(&next, text)?;
    }
    args.life.apply(next)
}

fn summary(info: &DatasetInfo, altered: bool, planned: &[Change]) -> String {
    if !altered {
        return format!("nothing to change: {} has that schema", info.name);
    }
    let head = format!("{} is at schema version {}", info.name, info.schema_version);
    told(&head, planned)
}

fn told(head: &str, planned: &[Change]) -> String {
    let lines = planned.iter().map(|change| match change {
        Change::Added { column } => format!("  {column}: added"),
        Change::Widened { column, from, to } => {
            let (from, to) = (column_text::name(from), column_text::name(to));
            format!("  {column}: from {from} to {to}")
        }
        Change::Ttl { from, to } => format!("  rows live: {}, before {}", life(*to), life(*from)),
        Change::ExpiresColumn { from, to } => {
            let column = |column: &Option<String>| column.clone().unwrap_or_else(|| "no column".to_owned());
            format!(
                "  when a row goes is told by: {}, before {}",
                column(to),
                column(from)
            )
        }
    });
    [head.to_owned()]
        .into_iter()
        .chain(lines)
        .collect::<Vec<_>>()
        .join("\n")
}

fn as_json(change: &Change) -> Json {
    match change {
        Change::Added { column } => json!({ "column": column, "change": "added" }),
        Change::Widened { column, from, to } => json!({
            "column": column,
            "change": "widened",
            "from": column_text::name(from),
            "to": column_text::name(to),
        }),
        Change::Ttl { from, to } => json!({
            "change": "ttl",
            "from_ms": from.map(millis),
            "to_ms": to.map(millis),
        }),
        Change::ExpiresColumn { from, to } => json!({ "change": "expires_column", "from": from, "to": to }),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use longbow_client::{ErrorCode, IdKind, Metric, SchemaBuilder, VectorElement};

    fn schema() -> Schema {
        SchemaBuilder::new()
            .id("id", IdKind::U64)
            .vector("vector", 4, VectorElement::F16, Metric::Cosine)
            .int32("word_count")
            .build()
            .unwrap()
    }

    fn asked(line: &str) -> Result<Vec<Change>, longbow_client::Error> {
        let whole = format!("longbow dataset alter words {line}");
        let cli = crate::args::Cli::try_parse_from(whole.split_whitespace()).unwrap();
        let crate::args::Command::Dataset(super::super::DatasetCommand::Alter(args)) = cli.command else {
            panic!("not an alter");
        };
        changes(&schema(), &next(&args, &schema())?)
    }

    #[test]
    fn options_become_a_schema() {
        let planned = asked("--widen word_count:int64 --add note:utf8 --add rank:int32!=0").unwrap();
        let text = told("words", &planned);
        assert_eq!(
            text,
            "words\n  word_count: from int32 to int64\n  note: added\n  rank: added"
        );
        assert_eq!(asked("").unwrap(), []);
        assert_eq!(as_json(&planned[0])["to"], "int64");
    }

    #[test]
    fn vector_columns_are_added() {
        let planned = asked("--add note:utf8 --add-vector image:512:f32:dot --add-vector x:8").unwrap();
        assert_eq!(
            told("words", &planned),
            "words\n  note: added\n  image: added\n  x: added"
        );
    }

    #[test]
    fn when_rows_go_is_told_anew() {
        let planned = asked("--ttl 7d --add until:timestamp --expires-at until").unwrap();
        assert_eq!(
            told("words", &planned),
            "words\n  until: added\n  rows live: 7d, before for ever\n  when a row goes is told by: until, before no column"
        );
        assert_eq!(as_json(&planned[1])["to_ms"], 7 * 86_400_000_u64);
        assert_eq!(asked("--no-ttl --no-expires-at").unwrap(), []);
        let aged = schema().with_ttl(Some(Duration::from_secs(60))).unwrap();
        let none = NewLifeArgs {
            no_ttl: true,
            ..NewLifeArgs::default()
        };
        assert_eq!(none.apply(aged.clone()).unwrap(), schema());
        assert_eq!(NewLifeArgs::default().apply(aged.clone()).unwrap(), aged);
    }

    #[test]
    fn what_may_not_be_is_told_before_anything_is_sent() {
        for (line, code, field) in [
            (
                "--widen word_count:int16",
                ErrorCode::SchemaIncompatible,
                "word_count",
            ),
            ("--add rank:int32!", ErrorCode::SchemaIncompatible, "rank"),
            ("--add word_count:int32", ErrorCode::InvalidSchema, "word_count"),
            ("--widen nope:int64", ErrorCode::UnknownColumn, "nope"),
            ("--ttl 10ms", ErrorCode::InvalidSchema, "ttl"),
            ("--expires-at word_count", ErrorCode::InvalidSchema, "word_count"),
            ("--widen id:int64", ErrorCode::SchemaIncompatible, "id"),
            ("--add x", ErrorCode::InvalidSchema, "column"),
            ("--add-vector vector:4", ErrorCode::InvalidSchema, "vector"),
            ("--add-vector image:0", ErrorCode::InvalidSchema, "image"),
            ("--add-vector image", ErrorCode::InvalidSchema, "add_vector"),
        ] {
            let error = asked(line).unwrap_err();
            assert_eq!(
                (error.code, error.field.as_deref()),
                (code, Some(field)),
                "{line}"
            );
        }
    }
}
