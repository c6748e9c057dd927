//! ListFlights: all datasets, or those that the criteria pick.
//!
//! Contract: criteria are a JSON ticket; filters on `name` and `rows`; `limit` is honoured.

use std::time::Instant;

use arrow_flight::FlightInfo;
use bytes::Bytes;
use longbow_types::{Error, ErrorCode, Result};
use serde_json::Value;

use super::{info, request, ticket::Filter};
use crate::ops::{Core, Described};

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Criteria {
    #[serde(alias = "dataset")]
    name: Option<String>,
    limit: Option<u64>,
    filters: Option<Vec<Filter>>,
}

/// Lists datasets by name.
///
/// # Errors
/// `TOO_LARGE` or `INVALID_VALUE` for criteria that cannot be read.
pub async fn list_flights(core: &Core, criteria: Bytes, at: Instant) -> Result<Vec<FlightInfo>> {
    let criteria = request::read(criteria, "criteria", |criteria| match criteria.trim_ascii() {
        [] => Ok(Criteria::default()),
        json => request::parse(json, "criteria"),
    })
    .await?;
    // All are read first, so that a wrong one is told even where no dataset is looked at.
    let filters = criteria.filters.unwrap_or_default();
    let conditions = filters.iter().map(Condition::read).collect::<Result<Vec<_>>>()?;
    let limit = match criteria.limit {
        None | Some(0) => usize::MAX,
        Some(limit) => usize::try_from(limit).unwrap_or(usize::MAX),
    };
    let described = core.list_datasets(true, at).await?;
    let picked = described.iter().filter(|described| {
        let name = &described.open.dataset.name;
        criteria.name.as_ref().is_none_or(|wanted| wanted == name)
            && conditions.iter().all(|condition| condition.holds(described))
    });
    picked.take(limit).map(info::of).collect()
}

/// What a dataset must be to be listed.
enum Condition {
    Name(fn(&str, &str) -> bool, String),
    Rows(fn(&f64, &f64) -> bool, f64),
}

impl Condition {
    fn read(filter: &Filter) -> Result<Self> {
        if filter.logic.is_some() || !filter.filters.is_empty() {
            return Err(wrong(filter, "filters of criteria are not nested"));
        }
        let operator = filter.operator.trim().to_ascii_lowercase();
        match filter.field.as_str() {
            "name" => {
                let Value::String(text) = &filter.value else {
                    return Err(wrong(filter, "the value of `name` is text"));
                };
                let compare: fn(&str, &str) -> bool = match operator.as_str() {
                    "=" | "==" | "eq" => |name, text| name == text,
                    "!=" | "<>" | "ne" | "neq" => |name, text| name != text,
                    "contains" => |name, text| name.contains(text),
                    _ => return Err(wrong(filter, "`name` is compared by =, != or contains")),
                };
                Ok(Condition::Name(compare, text.clone()))
            }
            "rows" => {
                let wanted = match &filter.value {
                    Value::Number(number) => number.as_f64(),
                    Value::String(text) => text.trim().parse().ok(),
                    _ => None,
                };
                let wanted = wanted.ok_or_else(|| wrong(filter, "the value of `rows` is a number"))?;
                let compare = compare(&operator)
                    .ok_or_else(|| wrong(filter, "`rows` is compared by =, !=, <, <=, > or >="))?;
                Ok(Condition::Rows(compare, wanted))
            }
            _ => Err(wrong(filter, "datasets are picked by `name` and `rows`")),
        }
    }

    fn holds(&self, described: &Described) -> bool {
        match self {
            Condition::Name(compare, text) => compare(&described.open.dataset.name, text),
            // A count that is not known matches nothing.
            Condition::Rows(compare, wanted) => described
                .counts
                .is_some_and(|counts| compare(&(counts.rows as f64), wanted)),
        }
    }
}

fn compare(operator: &str) -> Option<fn(&f64, &f64) -> bool> {
    Some(match operator {
        "=" | "==" | "eq" => f64::eq,
        "!=" | "<>" | "ne" | "neq" => f64::ne,
        "<" | "lt" => f64::lt,
        "<=" | "le" | "lte" => f64::le,
        ">" | "gt" => f64::gt,
        ">=" | "ge" | "gte" => f64::ge,
        _ => return None,
    })
}

fn wrong(filter: &Filter, message: &'static str) -> Error {
    Error::new(ErrorCode::InvalidValue, message).field(format!("filters.{}", filter.field))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn criteria_are_checked_whatever_datasets_there_are() {
        let read = |criteria: Value| -> Result<Criteria> {
            request::parse(criteria.to_string().as_bytes(), "criteria")
        };
        assert_eq!(read(json!({"dataset": "d"})).unwrap().name.as_deref(), Some("d"));
        assert_eq!(read(json!({"name": "d"})).unwrap().name.as_deref(), Some("d"));
        assert!(read(json!({"nam": "d"})).is_err());
        for (filter, fine) in [
            (json!({"field": "name", "op": "contains", "value": "x"}), true),
            (json!({"field": "rows", "op": "<=", "value": "12"}), true),
            (json!({"field": "rows", "op": "like", "value": "12"}), false),
            (json!({"field": "colour", "op": "=", "value": "red"}), false),
        ] {
            let filter: Filter = serde_json::from_value(filter).unwrap();
            assert_eq!(Condition::read(&filter).is_ok(), fine, "{filter:?}");
        }
    }
}
