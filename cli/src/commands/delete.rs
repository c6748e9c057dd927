//! `longbow delete`: rows away by id, or those that a filter is true of.

use anyhow::Context;
use clap::Args;
use longbow_client::{Ack, Client};
use serde_json::json;

use crate::{
    args::Global,
    connect, filter_text,
    output::{Output, json as to_json},
};

const EXAMPLES: &str = "\
Examples:
  longbow delete words 10734
  longbow delete words 10734 10966 --ack applied
  longbow delete words 10734 --if-row-version 17     only if nobody wrote it since: `longbow get --json` tells its version
  longbow delete words --where \"pos = 'noun' and word_count >= 2\"";

/// Arguments of `longbow delete`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct DeleteArgs {
    /// Name of the dataset.
    pub dataset: String,
    /// Ids of the rows. Ids that are not there are not an error.
    #[arg(required_unless_present = "filter", allow_negative_numbers = true)]
    pub ids: Vec<String>,
    /// In place of ids: all rows for which this is true; the answer is at least `applied` then.
    #[arg(long = "where", value_name = "EXPRESSION", conflicts_with_all = ["ids", "if_row_version"])]
    pub filter: Option<String>,
    /// Delete each row only if it has this version, one for each id; the answer is `applied` then.
    #[arg(long, value_delimiter = ',', value_name = "VERSIONS", value_parser = clap::value_parser!(u64).range(1..))]
    pub if_row_version: Vec<u64>,
    /// What must have happened before the answer.
    #[arg(long, value_enum, default_value_t = AckArg::Logged)]
    pub ack: AckArg,
}

/// An acknowledgement level as typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum AckArg {
    /// On a quorum of disks.
    Logged,
    /// Visible to searches.
    Applied,
    /// Linked into the graph.
    Indexed,
}

impl AckArg {
    /// Stable text of a level.
    pub fn text(ack: Ack) -> &'static str {
        match ack {
            Ack::Logged => "logged",
            Ack::Applied => "applied",
            Ack::Indexed => "indexed",
        }
    }
}

impl From<AckArg> for Ack {
    fn from(ack: AckArg) -> Self {
        match ack {
            AckArg::Logged => Ack::Logged,
            AckArg::Applied => Ack::Applied,
            AckArg::Indexed => Ack::Indexed,
        }
    }
}

/// Runs the command.
pub async fn run(args: &DeleteArgs, global: &Global) -> anyhow::Result<()> {
    let client = connect::client(global)?;
    if let Some(text) = &args.filter {
        return delete_where(args, text, &client, global).await;
    }
    let ids = connect::row_ids(&client, &args.dataset, &args.ids).await?;
    let mut delete = client.dataset(&args.dataset).delete(&ids).ack(args.ack.into());
    if !args.if_row_version.is_empty() {
        delete = delete.if_row_versions(args.if_row_version.iter().copied());
    }
    let written = delete
        .await
        .with_context(|| format!("deleting from {}", args.dataset))?;
    let (token, ack) = (written.token.to_string(), AckArg::text(written.ack));
    let unmatched: Vec<_> = written.unmatched.iter().filter_map(|&at| ids.get(at)).collect();
    let gone = ids.len() - unmatched.len();
    let value = json!({
        "deleted_ids": gone,
        "unmatched": unmatched.iter().map(|id| to_json::id(id)).collect::<Vec<_>>(),
        "token": token,
        "ack": ack,
    });
    let output = Output { json: global.json };
    output.result(&value, || format!("{ack}: {gone} ids are gone; token {token}"))?;
    if !global.json {
        for id in &unmatched {
            eprintln!("not of that version, and left alone: {id}");
        }
    }
    Ok(())
}

async fn delete_where(args: &DeleteArgs, text: &str, client: &Client, global: &Global) -> anyhow::Result<()> {
    let written = client
        .dataset(&args.dataset)
        .delete_where(filter_text::parse(text)?)
        .ack(args.ack.into())
        .await
        .with_context(|| format!("deleting from {}", args.dataset))?;
    let (token, ack, rows) = (written.token.to_string(), AckArg::text(written.ack), written.rows);
    let value = json!({ "deleted_rows": rows, "token": token, "ack": ack });
    let output = Output { json: global.json };
    output.result(&value, || format!("{ack}: {rows} rows are gone; token {token}"))?;
    Ok(())
}
