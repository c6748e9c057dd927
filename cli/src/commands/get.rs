//! `longbow get`: rows by id.

use anyhow::Context;
use clap::Args;
use longbow_client::{Consistency, Error, ErrorCode, Found, Rows};
use serde_json::json;

use crate::{
    args::Global,
    commands::search::{DEGRADED, cell, consistency, names_of, vector_cell, vector_json},
    connect,
    output::{
        Output, json as to_json,
        table::{room, with_head},
    },
};

const EXAMPLES: &str = "\
Examples:
  longbow get words 10734 10966
  longbow get words 10734 --columns lemmas --include-vector --json

Ids that are not there are named on stderr, and stand in `missing` with --json. Exit code: 0 if at least one row is there, 1
(ROW_NOT_FOUND) if none is.";

/// Arguments of `longbow get`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct GetArgs {
    /// Name of the dataset.
    pub dataset: String,
    /// Ids of the rows.
    #[arg(required = true, allow_negative_numbers = true)]
    pub ids: Vec<String>,
    /// Columns to show, separated by commas; * for all but the vector.
    #[arg(long, value_delimiter = ',', value_name = "NAMES", default_value = "*")]
    pub columns: Vec<String>,
    /// Also show the vectors.
    #[arg(long)]
    pub include_vector: bool,
    /// How fresh the answer must be: fresh, strict, any, or a token.
    #[arg(long, value_parser = consistency, default_value = "fresh", value_name = "LEVEL")]
    pub consistency: Consistency,
}

/// Runs the command. Fails if none of the rows is there.
pub async fn run(args: &GetArgs, global: &Global) -> anyhow::Result<()> {
    let client = connect::client(global)?;
    let ids = connect::row_ids(&client, &args.dataset, &args.ids).await?;
    let mut get = client
        .dataset(&args.dataset)
        .get(&ids)
        .columns(args.columns.iter().filter(|name| !name.is_empty()))
        .consistency(args.consistency.clone());
    if args.include_vector {
        get = get.include_vector();
    }
    let found = get.await.with_context(|| format!("reading {}", args.dataset))?;
    let missing: Vec<_> = ids
        .iter()
        .filter(|id| !found.rows.iter().any(|row| row.id == **id))
        .collect();
    let value = json!({
        "rows": found.rows.iter().map(row_json).collect::<Vec<_>>(),
        "missing": missing.iter().map(|id| to_json::id(id)).collect::<Vec<_>>(),
        "token": found.token.to_string(),
        "degraded": found.degraded,
    });
    let output = Output { json: global.json };
    if global.json || !found.rows.is_empty() {
        output.result(&value, || as_text(&found))?;
    }
    if !global.json {
        for id in &missing {
            eprintln!("not there: {id}");
        }
    }
    if found.rows.is_empty() {
        return Err(none_there(&args.dataset, found.degraded).into());
    }
    Ok(())
}

fn none_there(dataset: &str, degraded: bool) -> Error {
    let doubt = if degraded {
        format!(": {DEGRADED}")
    } else {
        String::new()
    };
    Error::new(
        ErrorCode::RowNotFound,
        format!("{dataset} holds none of these rows{doubt}"),
    )
    .field("ids")
}

fn as_text(found: &Rows) -> String {
    let names = names_of(found.rows.iter().map(|row| &row.columns));
    let with_vector = found.rows.iter().any(|row| row.vector.is_some());
    let mut head = vec!["id"];
    head.extend(&names);
    if with_vector {
        head.push("vector");
    }
    let mut table = with_head(&head, &[]);
    let room = room(names.len(), if with_vector { 60 } else { 15 });
    for row in &found.rows {
        let mut cells = vec![row.id.to_string()];
        cells.extend(names.iter().map(|name| cell(&row.columns, name, room)));
        if with_vector {
            cells.push(vector_cell(row.vector.as_deref(), row.vector64.as_deref()));
        }
        table.add_row(cells);
    }
    let mut out = table.to_string();
    if found.degraded {
        out.push_str(&format!("\nwarning: {DEGRADED}"));
    }
    out
}

fn row_json(row: &Found) -> serde_json::Value {
    let mut out = json!({
        "id": to_json::id(&row.id),
        "row_version": row.row_version,
        "columns": to_json::columns(&row.columns),
    });
    if let Some(vector) = vector_json(row.vector.as_deref(), row.vector64.as_deref()) {
        out["vector"] = vector;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use longbow_client::{RowId, Token};

    #[test]
    fn an_answer_that_may_be_behind_says_so() {
        let found = |degraded| Rows {
            rows: vec![Found {
                id: RowId::U64(7),
                columns: std::collections::BTreeMap::new(),
                vector: None,
                vector64: None,
                row_version: 1,
            }],
            token: Token::default(),
            degraded,
        };
        assert!(as_text(&found(true)).contains("may be behind"));
        assert!(!as_text(&found(false)).contains("may be behind"));
        let error = none_there("words", true);
        assert_eq!(error.code, ErrorCode::RowNotFound);
        assert!(error.message.contains("may be behind"), "{error}");
        assert!(!none_there("words", false).message.contains("behind"));
    }
}
