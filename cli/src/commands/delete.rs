//! `longbow delete`: rows away by id.

use anyhow::Context;
use clap::Args;
use longbow_client::Ack;
use serde_json::json;

use crate::{args::Global, connect, output::Output};

const EXAMPLES: &str = "\
Examples:
  longbow delete words 10734
  longbow delete words 10734 10966 --ack applied";

/// Arguments of `longbow delete`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct DeleteArgs {
    /// Name of the dataset.
    pub dataset: String,
    /// Ids of the rows. Ids that are not there are not an error.
    #[arg(required = true, allow_negative_numbers = true)]
    pub ids: Vec<String>,
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
    let ids = connect::row_ids(&client, &args.dataset, &args.ids).await?;
    let written = client
        .dataset(&args.dataset)
        .delete(&ids)
        .ack(args.ack.into())
        .await
        .with_context(|| format!("deleting from {}", args.dataset))?;
    let (token, ack) = (written.token.to_string(), AckArg::text(written.ack));
    let value = json!({ "deleted_ids": ids.len(), "token": token, "ack": ack });
    let output = Output { json: global.json };
    output.result(&value, || {
        format!("{ack}: {} ids are gone; token {token}", ids.len())
    })?;
    Ok(())
}
