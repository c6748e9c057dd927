//! `longbow search`: the rows nearest to a vector or to a row.

mod explain;

use std::collections::BTreeMap;

use anyhow::Context;
use clap::{ArgGroup, Args, value_parser};
use longbow_client::{Consistency, Error, ErrorCode, Hit, Search, SearchResults, Token, Value};
use longbow_types::{
    limits::{EF_MAX, K_MAX},
    recall::check_recall_target,
};
use serde_json::json;

use crate::{
    args::Global,
    connect, filter_text,
    output::{
        Output, json as to_json,
        table::{cut_to, room, with_head},
    },
    vector_text,
};

const EXAMPLES: &str = "\
Examples:
  longbow search words --id 10734
  longbow search words --id 10734 -k 5 --columns lemmas,gloss --filter \"pos = 'noun' and word_count >= 2\"
  longbow search words --vector 0.1,0.2,0.3 --exact
  longbow search words --id 10734 --recall-target 0.95
  longbow search words --id 10734 --vector-column image
  longbow search words --id 10734 --filter \"pos = 'noun'\" --explain
  longbow search words --vector @query.json --json | jq '.hits[].id'

Limits: k is 1 to 10,000, ef up to 100,000, a recall target above 0 and below 1.

Filters: = (or ==) != (or <>) < <= > >=, in ('a', 'b'), between 1 and 2, like 'a%_' (escape '!'), starts with 'a',
contains 'a', contains any ('a', 'b'), contains all ('a', 'b'), is null, is not null, and, or, not, parentheses; 'not'
may stand before in, between, like, starts and contains. Text stands in single quotes; times are written timestamp
'2020-01-02T03:04:05Z' (UTC unless it names an offset), date '2020-01-02' and time '03:04:05', or as a number in the
column's unit. Consistency: fresh (sees every acknowledged write), strict (fresh, or an error), any, or the token that a
write printed.";

/// Why an answer may miss what was written.
pub const DEGRADED: &str = "no keeper leads, so the newest reachable state answered; it may be behind";

/// Arguments of `longbow search`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[command(group = ArgGroup::new("query").required(true).args(["id", "vector"]))]
pub struct SearchArgs {
    /// Name of the dataset.
    pub dataset: String,
    /// Near the vector of this row, which itself is left out.
    #[arg(long, allow_negative_numbers = true)]
    pub id: Option<String>,
    /// Near this vector: numbers separated by commas, @FILE, or - for stdin.
    #[arg(long, allow_hyphen_values = true)]
    pub vector: Option<String>,
    /// Search the vectors of this column; rows that have none there are not found. Without it, those that every row has.
    #[arg(long, value_name = "NAME")]
    pub vector_column: Option<String>,
    /// Number of rows wanted.
    #[arg(short, long, default_value_t = 10, value_parser = value_parser!(u32).range(1..=K_MAX as i64))]
    pub k: u32,
    /// Width of the graph search; 0: chosen from k.
    #[arg(long, default_value_t = 0, value_parser = value_parser!(u32).range(0..=EF_MAX as i64))]
    pub ef: u32,
    /// In place of --ef: the share of the nearest rows to find on average, above 0 and below 1.
    #[arg(long, value_name = "SHARE", value_parser = recall_target, conflicts_with_all = ["ef", "exact"])]
    pub recall_target: Option<f32>,
    /// Walk the graph on the vectors themselves, whatever the dataset's quantization; adds nothing to --exact.
    #[arg(long)]
    pub full_precision: bool,
    /// Only rows for which this is true.
    #[arg(long, value_name = "EXPRESSION")]
    pub filter: Option<String>,
    /// Columns to show, separated by commas; * for all but vectors.
    #[arg(long, value_delimiter = ',', value_name = "NAMES", default_value = "*")]
    pub columns: Vec<String>,
    /// Also show the vectors that every row has; others are shown if --columns names them.
    #[arg(long)]
    pub include_vector: bool,
    /// How fresh the answer must be: fresh, strict, any, or a token.
    #[arg(long, value_parser = consistency, default_value = "fresh", value_name = "LEVEL")]
    pub consistency: Consistency,
    /// Compare the query with the vector of every row: slow, and exactly right.
    #[arg(long)]
    pub exact: bool,
    /// Also show how each partition was searched, and how long it took.
    #[arg(long)]
    pub explain: bool,
}

/// Reads `fresh`, `strict`, `any` or a token.
pub fn consistency(text: &str) -> Result<Consistency, String> {
    match text {
        "fresh" => Ok(Consistency::Fresh),
        "strict" => Ok(Consistency::FreshStrict),
        "any" => Ok(Consistency::Any),
        token => token
            .parse::<Token>()
            .map(Consistency::AtLeast)
            .map_err(|_| "expected fresh, strict, any, or a token that a write printed".to_owned()),
    }
}

/// Reads the share of the nearest rows to find.
fn recall_target(text: &str) -> Result<f32, String> {
    let target = text.parse::<f32>().map_err(|error| error.to_string())?;
    let wrong = |error: Error| format!("{}: {}", error.message, error.limit.unwrap_or_default());
    check_recall_target(target, 0, false).map_err(wrong)?;
    Ok(target)
}

/// Runs the command.
pub async fn run(args: &SearchArgs, global: &Global) -> anyhow::Result<()> {
    let client = connect::client(global)?;
    let mut search: Search = client
        .dataset(&args.dataset)
        .search()
        .k(args.k)
        .ef(args.ef)
        .columns(args.columns.iter().filter(|name| !name.is_empty()))
        .consistency(args.consistency.clone());
    if let Some(text) = &args.id {
        let ids = connect::row_ids(&client, &args.dataset, std::slice::from_ref(text)).await?;
        let id = ids.into_iter().next().ok_or_else(nothing_to_search)?;
        search = search.near_row(id);
    } else if let Some(text) = &args.vector {
        search = search.near64(vector_text::read(text)?);
    }
    if let Some(column) = &args.vector_column {
        search = search.vector_column(column);
    }
    if let Some(text) = &args.filter {
        search = search.filter(filter_text::parse(text)?);
    }
    if args.include_vector {
        search = search.include_vector();
    }
    if args.exact {
        search = search.exact();
    }
    if let Some(target) = args.recall_target {
        search = search.recall_target(target);
    }
    if args.full_precision {
        search = search.full_precision();
    }
    if args.explain {
        search = search.explain();
    }
    let found = search
        .await
        .with_context(|| format!("searching {}", args.dataset))?;
    let output = Output { json: global.json };
    output.result(&as_json(&found), || as_text(&found))?;
    if args.recall_target.is_some() {
        output.note(&recall_note(found.expected_recall))?;
    }
    Ok(())
}

/// What became of a recall target.
fn recall_note(expected: Option<f32>) -> String {
    match expected {
        Some(1.0) => "every row was compared".to_owned(),
        Some(recall) => format!("such searches find {:.1}% on average, at least", recall * 100.0),
        None => "how much such searches find is not measured yet, so this was a wide one".to_owned(),
    }
}

fn nothing_to_search() -> Error {
    Error::new(ErrorCode::MissingField, "there is no id to search near").field("id")
}

fn as_text(found: &SearchResults) -> String {
    let mut out = if found.hits.is_empty() {
        "no rows match".to_owned()
    } else {
        hits_table(&found.hits, None)
    };
    if let Some(told) = &found.explanation {
        out.push_str(&format!("\n{}", explain::text(told)));
    }
    if found.degraded {
        out.push_str(&format!("\nwarning: {DEGRADED}"));
    }
    out
}

/// Hits as a table. Shows the named columns, or all that came.
pub fn hits_table(hits: &[Hit], only: Option<&[&str]>) -> String {
    let names = match only {
        Some(names) => names.to_vec(),
        None => names_of(hits.iter().map(|hit| &hit.columns)),
    };
    let with_vector = only.is_none() && hits.iter().any(|hit| hit.vector.is_some());
    let mut head = vec!["#", "id", "score"];
    head.extend(&names);
    if with_vector {
        head.push("vector");
    }
    let mut table = with_head(&head, &["#", "score"]);
    // Rank, id and score, and a vector if there is one.
    let room = room(names.len(), if with_vector { 70 } else { 32 });
    for (rank, hit) in hits.iter().enumerate() {
        let mut cells = vec![
            (rank + 1).to_string(),
            hit.id.to_string(),
            format!("{:.4}", hit.score),
        ];
        cells.extend(names.iter().map(|name| cell(&hit.columns, name, room)));
        if with_vector {
            cells.push(vector_cell(hit.vector.as_deref(), hit.vector64.as_deref()));
        }
        table.add_row(cells);
    }
    table.to_string()
}

/// All column names that occur, sorted.
pub fn names_of<'a>(rows: impl Iterator<Item = &'a BTreeMap<String, Value>>) -> Vec<&'a str> {
    let mut names: Vec<&str> = rows
        .flat_map(|columns| columns.keys().map(String::as_str))
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// A column's value, cut to fit.
pub fn cell(columns: &BTreeMap<String, Value>, name: &str, room: usize) -> String {
    columns
        .get(name)
        .map(|value| cut_to(&value.to_string(), room))
        .unwrap_or_default()
}

/// The first elements of a vector.
pub fn vector_cell(vector: Option<&[f32]>, wide: Option<&[f64]>) -> String {
    fn cell<T: std::fmt::Display>(vector: &[T]) -> String {
        let first: Vec<String> = vector.iter().take(4).map(|x| format!("{x:.3}")).collect();
        let more = if vector.len() > 4 { ", …" } else { "" };
        format!("[{}{more}]", first.join(", "))
    }
    wide.map(cell).or_else(|| vector.map(cell)).unwrap_or_default()
}

/// A vector as JSON, with all the digits that are kept.
pub fn vector_json(vector: Option<&[f32]>, wide: Option<&[f64]>) -> Option<serde_json::Value> {
    wide.map(|wide| json!(wide))
        .or_else(|| vector.map(|vector| json!(vector)))
}

fn as_json(found: &SearchResults) -> serde_json::Value {
    let hits: Vec<_> = found.hits.iter().map(hit_json).collect();
    let mut out = json!({
        "hits": hits,
        "token": found.token.to_string(),
        "degraded": found.degraded,
        "expected_recall": found.expected_recall,
    });
    if let Some(told) = &found.explanation {
        out["explanation"] = explain::json(told);
    }
    out
}

/// A hit as JSON.
pub fn hit_json(hit: &Hit) -> serde_json::Value {
    let mut out = json!({
        "id": to_json::id(&hit.id),
        "distance": hit.distance,
        "score": hit.score,
        "row_version": hit.row_version,
        "columns": to_json::columns(&hit.columns),
    });
    if let Some(vector) = vector_json(hit.vector.as_deref(), hit.vector64.as_deref()) {
        out["vector"] = vector;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use longbow_client::RowId;

    #[test]
    fn a_search_needs_one_query() {
        let parse = |line: &[&str]| {
            let whole = [&["longbow", "search", "words"], line].concat();
            crate::args::Cli::try_parse_from(whole).is_ok()
        };
        assert!(parse(&["--id", "1"]));
        assert!(parse(&["--id", "-5"]));
        assert!(!parse(&["--id", "--exact"]));
        assert!(parse(&["--vector", "-0.5,1"]));
        assert!(!parse(&[]));
        assert!(!parse(&["--id", "1", "--vector", "1"]));
        assert!(!parse(&["--id", "1", "--consistency", "sometimes"]));
        assert!(parse(&[
            "--id",
            "1",
            "--recall-target",
            "0.9",
            "--full-precision"
        ]));
        assert!(!parse(&["--id", "1", "--recall-target", "0.9", "--ef", "64"]));
        assert!(!parse(&["--id", "1", "--recall-target", "0.9", "--exact"]));
        assert!(parse(&["--id", "1", "--exact", "--full-precision"]));
    }

    #[test]
    fn limits_are_told_and_kept_before_a_cluster_is_asked() {
        let refused = |option: &str| {
            let line = ["longbow", "search", "words", "--id", "1", option];
            let error = crate::args::Cli::try_parse_from(line).err();
            error.is_some_and(|error| error.exit_code() == 2)
        };
        for good in ["-k10000", "--ef=100000", "--ef=0", "--recall-target=0.999"] {
            assert!(!refused(good), "{good}");
        }
        for bad in [
            "-k0",
            "-k10001",
            "--ef=100001",
            "--recall-target=0",
            "--recall-target=1",
            "--recall-target=nan",
        ] {
            assert!(refused(bad), "{bad}");
        }
        let thousands = crate::output::table::thousands;
        for limit in [K_MAX, EF_MAX].map(|limit| thousands(limit as u64).replace(' ', ",")) {
            assert!(EXAMPLES.contains(&limit), "{limit}");
        }
    }

    #[test]
    fn consistency_is_a_word_or_a_token() {
        let token: Token = "AQAAAAABAAAAAgEAAAAAAAA".parse().unwrap();
        assert_eq!(consistency(&token.to_string()), Ok(Consistency::AtLeast(token)));
        assert_eq!(consistency("strict"), Ok(Consistency::FreshStrict));
    }

    #[test]
    fn what_became_of_a_recall_target_is_told() {
        for (expected, part) in [
            (Some(1.0), "every row"),
            (Some(0.953), "95.3%"),
            (None, "not measured"),
        ] {
            let note = recall_note(expected);
            assert!(note.contains(part), "{part} in {note}");
        }
    }

    #[test]
    fn answers_are_shown_whole() {
        let hit = Hit {
            id: RowId::U64(10_734),
            distance: 0.25,
            score: 0.75,
            columns: [("gloss".to_owned(), Value::from("a dog\nis"))].into(),
            vector: Some(vec![0.5; 9]),
            vector64: None,
            row_version: 7,
        };
        let found = SearchResults {
            hits: vec![hit],
            token: Token::default(),
            degraded: true,
            expected_recall: Some(0.5),
            explanation: None,
        };
        let text = as_text(&found);
        for part in ["10734", "0.7500", "a dog is", "0.500, …", "may be behind"] {
            assert!(text.contains(part), "{part} in {text}");
        }
        let json = as_json(&found);
        assert_eq!(json["expected_recall"], 0.5);
        assert_eq!(json["hits"][0]["columns"]["gloss"], "a dog\nis");
        assert_eq!(json["hits"][0]["vector"].as_array().unwrap().len(), 9);
        let wide = Some(&[1_700_000_038_912.5, 0.1][..]);
        let rounded = Some(&[1.7e12_f32, 0.1][..]);
        assert_eq!(
            vector_json(rounded, wide),
            Some(json!([1_700_000_038_912.5, 0.1]))
        );
        assert_eq!(vector_cell(rounded, wide), "[1700000038912.500, 0.100]");
        assert_eq!(
            (vector_json(None, None), vector_cell(None, None)),
            (None, String::new())
        );
    }
}
