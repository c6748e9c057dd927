//! ListFlights: all datasets, or those that the criteria pick.
//!
//! Contract: criteria are a JSON ticket; filters on `name` and `rows`; `limit` is honoured.

use std::time::Instant;

use arrow_flight::FlightInfo;
use longbow_types::{Error, ErrorCode, Result};
use serde_json::Value;

use super::{bad_json, info, ticket::Filter};
use crate::ops::{Core, Described};

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Criteria {
    name: Option<String>,
    limit: Option<u64>,
    filters: Option<Vec<Filter>>,
}

/// Lists datasets by name.
///
/// # Errors
/// `INVALID_VALUE` for criteria that cannot be read.
pub async fn list_flights(core: &Core, criteria: &[u8], at: Instant) -> Result<Vec<FlightInfo>> {
    let criteria: Criteria = match criteria.trim_ascii() {
        [] => Criteria::default(),
        json => serde_json::from_slice(json).map_err(|error| bad_json(&error, "criteria"))?,
    };
    let filters = criteria.filters.as_deref().unwrap_or_default();
    let mut flights = Vec::new();
    let limit = match criteria.limit {
        None | Some(0) => usize::MAX,
        Some(limit) => usize::try_from(limit).unwrap_or(usize::MAX),
    };
    for described in core.list_datasets(true, at).await? {
        let name = &described.open.dataset.name;
        let named = criteria.name.as_ref().is_none_or(|wanted| wanted == name);
        let mut picked = named;
        for filter in filters {
            // Every filter is looked at, so that a wrong one is told even where no dataset is picked.
            picked &= matches(filter, &described)?;
        }
        if picked && flights.len() < limit {
            flights.push(info::of(&described)?);
        }
    }
    Ok(flights)
}

fn matches(filter: &Filter, described: &Described) -> Result<bool> {
    if filter.logic.is_some() || !filter.filters.is_empty() {
        return Err(wrong(filter, "filters of criteria are not nested"));
    }
    let operator = filter.operator.trim().to_ascii_lowercase();
    match filter.field.as_str() {
        "name" => {
            let Value::String(text) = &filter.value else {
                return Err(wrong(filter, "the value of `name` is text"));
            };
            let name = described.open.dataset.name.as_str();
            match operator.as_str() {
                "=" | "==" | "eq" => Ok(name == text),
                "!=" | "<>" | "ne" | "neq" => Ok(name != text),
                "contains" => Ok(name.contains(text.as_str())),
                _ => Err(wrong(filter, "`name` is compared by =, != or contains")),
            }
        }
        "rows" => {
            let wanted = match &filter.value {
                Value::Number(number) => number.as_f64(),
                Value::String(text) => text.trim().parse().ok(),
                _ => None,
            };
            let wanted = wanted.ok_or_else(|| wrong(filter, "the value of `rows` is a number"))?;
            // A count that is not known matches nothing.
            let Some(rows) = described.counts.map(|counts| counts.rows as f64) else {
                return Ok(false);
            };
            compare(&operator, rows, wanted)
                .ok_or_else(|| wrong(filter, "`rows` is compared by =, !=, <, <=, > or >="))
        }
        _ => Err(wrong(filter, "datasets are picked by `name` and `rows`")),
    }
}

fn compare(operator: &str, left: f64, right: f64) -> Option<bool> {
    Some(match operator {
        "=" | "==" | "eq" => left == right,
        "!=" | "<>" | "ne" | "neq" => left != right,
        "<" | "lt" => left < right,
        "<=" | "le" | "lte" => left <= right,
        ">" | "gt" => left > right,
        ">=" | "ge" | "gte" => left >= right,
        _ => return None,
    })
}

fn wrong(filter: &Filter, message: &'static str) -> Error {
    Error::new(ErrorCode::InvalidValue, message).field(format!("filters.{}", filter.field))
}
