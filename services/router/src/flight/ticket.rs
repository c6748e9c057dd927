//! What does a ticket ask for? UTF-8: a dataset's name, or JSON that starts with `{`.

use bytes::Bytes;
use longbow_types::{Error, ErrorCode, Result};
use serde::Deserialize;
use serde_json::Value;

use super::request::{self, null_as_default};

/// A ticket, read.
#[derive(Debug, Clone, PartialEq)]
pub enum Ticket {
    /// Rows of a dataset.
    Table(Table),
    /// The nearest rows.
    Search(Search),
}

/// Rows of a dataset.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Table {
    /// Its name.
    pub dataset: String,
    /// At most so many rows; 0: all.
    pub limit: u64,
    /// All must be true of a row.
    pub filters: Vec<Filter>,
}

/// One condition, or several that `logic` joins.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Filter {
    /// Column.
    #[serde(deserialize_with = "null_as_default")]
    pub field: String,
    /// Operator.
    #[serde(alias = "op", deserialize_with = "null_as_default")]
    pub operator: String,
    /// Value.
    pub value: Value,
    /// How the parts are joined: AND, OR or NOT.
    pub logic: Option<String>,
    /// Parts.
    #[serde(deserialize_with = "null_as_default")]
    pub filters: Vec<Filter>,
}

/// A search as clients write it. Unknown keys are errors.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Search {
    /// Dataset.
    #[serde(deserialize_with = "null_as_default")]
    pub dataset: String,
    /// Query vector.
    pub vector: Option<Vec<f32>>,
    /// Several query vectors.
    pub vectors: Option<Vec<Vec<f32>>>,
    /// Column whose vectors are searched; none or empty: the one that is never null.
    pub vector_column: Option<String>,
    /// Number of rows wanted.
    pub k: Option<Value>,
    /// All must be true of a row.
    pub filters: Option<Vec<Filter>>,
    /// Words to search for.
    pub text_query: Option<String>,
    /// Weight of the vector against the words.
    pub alpha: Option<f64>,
    /// Weight of the graph of edges.
    pub graph_alpha: Option<f64>,
    /// Hops in the graph of edges.
    pub graph_depth: Option<u32>,
    /// Also return the vectors.
    #[serde(deserialize_with = "null_as_default")]
    pub include_vectors: bool,
    /// Also tell how the search was carried out.
    #[serde(deserialize_with = "null_as_default")]
    pub explain: bool,
    /// How vectors are returned.
    pub vector_format: Option<String>,
    /// Meant for the former server, where each node held its own rows: accepted, without meaning.
    #[serde(deserialize_with = "null_as_default")]
    pub local_only: bool,
    /// The ticket's own limit: at most so many rows, however large `k` is; 0: no other than `k`.
    #[serde(skip)]
    pub limit: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Raw {
    #[serde(alias = "dataset", deserialize_with = "null_as_default")]
    name: String,
    limit: Option<i64>,
    filters: Option<Vec<Filter>>,
    search: Option<Search>,
}

/// Reads a ticket.
///
/// # Errors
/// `TOO_LARGE`, `INVALID_VALUE` or `MISSING_FIELD`, naming what is at fault; unknown keys are named.
pub async fn read(bytes: Bytes) -> Result<Ticket> {
    request::read(bytes, "ticket", parse).await
}

fn parse(bytes: &[u8]) -> Result<Ticket> {
    let text = std::str::from_utf8(bytes).map_err(|_| {
        Error::new(ErrorCode::InvalidValue, "the ticket is not UTF-8")
            .field("ticket")
            .limit("a dataset's name, or JSON")
    })?;
    if !text.trim_start().starts_with('{') {
        return Ok(Ticket::Table(Table {
            dataset: text.to_owned(),
            ..Table::default()
        }));
    }
    let raw: Raw = request::parse(bytes, "ticket")?;
    let limit = raw.limit.unwrap_or(0);
    let limit = u64::try_from(limit).map_err(|_| {
        Error::new(ErrorCode::InvalidValue, format!("limit = {limit}"))
            .field("limit")
            .limit("0 for all, or more")
    })?;
    if let Some(mut search) = raw.search {
        if search.dataset.is_empty() {
            search.dataset = raw.name;
        }
        if let Some(outer) = raw.filters.filter(|filters| !filters.is_empty()) {
            search.filters.get_or_insert_default().extend(outer);
        }
        search.limit = limit;
        return Ok(Ticket::Search(search));
    }
    if raw.name.is_empty() {
        return Err(Error::new(ErrorCode::MissingField, "the ticket names no dataset").field("name"));
    }
    Ok(Ticket::Table(Table {
        dataset: raw.name,
        limit,
        filters: raw.filters.unwrap_or_default(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_json_are_read() {
        let table = |ticket: &[u8]| match parse(ticket).unwrap() {
            Ticket::Table(table) => table,
            Ticket::Search(search) => panic!("{search:?}"),
        };
        assert_eq!(table(b"words").dataset, "words");
        let long =
            table(br#"{"name": "words", "limit": 5, "filters": [{"field": "x", "op": "=", "value": "5"}]}"#);
        assert_eq!(
            (long.dataset.as_str(), long.limit, long.filters.len()),
            ("words", 5, 1)
        );
        assert_eq!(table(br#" {"dataset": "words"}"#).limit, 0);
        let Ticket::Search(search) =
            parse(br#"{"search": {"dataset": "d", "vector": [1, 2.5], "k": 3, "filters": null, "text_query": null, "alpha": 1.0, "include_vectors": true}}"#).unwrap()
        else {
            panic!("a search")
        };
        assert_eq!(search.vector.as_deref(), Some(&[1.0, 2.5][..]));
    }

    #[test]
    fn null_means_left_out_and_the_limit_holds_for_searches() {
        let search = |ticket: &[u8]| match parse(ticket).unwrap() {
            Ticket::Search(search) => search,
            Ticket::Table(table) => panic!("{table:?}"),
        };
        let nulls = search(
            br#"{"name": null, "limit": null, "filters": null, "search": {"dataset": "d", "vector": null, "vectors": null,
                "k": null, "filters": [{"logic": "OR", "field": null, "op": null, "filters": null}],
                "include_vectors": null, "vector_format": null, "local_only": null, "alpha": null}}"#,
        );
        assert_eq!((nulls.include_vectors, nulls.limit), (false, 0));
        assert_eq!(
            search(br#"{"limit": 3, "search": {"dataset": "d", "k": 9}}"#).limit,
            3
        );
        for bad in [
            &br#"{"limit": -1, "search": {"dataset": "d"}}"#[..],
            br#"{"search": {"dataset": "d", "limit": 1}}"#,
        ] {
            assert!(parse(bad).unwrap_err().message.contains("limit"));
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let message = |ticket: &[u8]| parse(ticket).unwrap_err().message.into_owned();
        assert!(message(br#"{"search": {"dataset": "d", "colour": 1}}"#).contains("colour"));
        assert!(message(br#"{"nam": "d"}"#).contains("nam"));
        assert!(message(b"{").contains("ticket"));
        assert!(message(br#"{"name": "d", "limit": -1}"#).contains("-1"));
        assert_eq!(parse(b"\xff").unwrap_err().code, ErrorCode::InvalidValue);
        assert_eq!(parse(b"{}").unwrap_err().field.as_deref(), Some("name"));
    }
}
