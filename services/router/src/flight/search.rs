//! Searches as existing clients write them, as searches of the core.

use std::time::Instant;

use longbow_types::{Error, ErrorCode, Result, limits::K_MAX};
use longbow_wire::v1::{self, search_request::Query};
use serde_json::Value;

use super::{filters, ticket::Search};
use crate::ops::{Core, Found};

/// Most query vectors in one call.
const VECTORS_MAX: usize = 1_000;
/// Rows wanted where a client names no number.
const K_DEFAULT: u32 = 10;

/// A search that was checked: the same question near each of its query vectors.
#[derive(Debug)]
pub struct Plan {
    /// What is asked, but for the vector.
    request: v1::SearchRequest,
    vectors: std::vec::IntoIter<Vec<f32>>,
}

impl Plan {
    /// Query vectors that are left.
    pub fn len(&self) -> usize {
        self.vectors.len()
    }

    /// The answer for the next query vector; `None` after the last.
    ///
    /// # Errors
    /// Those of a search.
    pub async fn next(&mut self, core: &Core, at: Instant) -> Result<Option<Found>> {
        let Some(values) = self.vectors.next() else {
            return Ok(None);
        };
        let request = v1::SearchRequest {
            query: Some(Query::Vector(v1::Vector { values })),
            ..self.request.clone()
        };
        core.search(&request, at).await.map(Some)
    }
}

/// Checks a search for one query vector or several; nothing is searched yet.
///
/// # Errors
/// Everything that can be wrong with a search, naming the key.
pub async fn plan(core: &Core, search: Search, at: Instant) -> Result<Plan> {
    check_supported(&search)?;
    let k = rows_wanted(search.k.as_ref())?;
    let vectors = vectors(search.vector, search.vectors)?;
    let open = core.open(&search.dataset, at).await?;
    let filter = filters::all_of(search.filters.as_deref().unwrap_or_default(), &open.schema)?;
    let request = v1::SearchRequest {
        dataset: search.dataset,
        k: match u32::try_from(search.limit) {
            Ok(limit @ 1..) => k.min(limit),
            _ => k,
        },
        filter,
        columns: vec!["*".to_owned()],
        include_vector: search.include_vectors,
        explain: search.explain,
        vector_column: search.vector_column.unwrap_or_default(),
        ..v1::SearchRequest::default()
    };
    Ok(Plan {
        request,
        vectors: vectors.into_iter(),
    })
}

/// Query vectors, as one or as several.
fn vectors(one: Option<Vec<f32>>, several: Option<Vec<Vec<f32>>>) -> Result<Vec<Vec<f32>>> {
    let vectors = match (one, several) {
        (Some(_), Some(_)) => return Err(invalid("vectors", "both `vector` and `vectors` are given")),
        (Some(vector), None) => vec![vector],
        (None, Some(vectors)) => vectors,
        (None, None) => Vec::new(),
    };
    if vectors.is_empty() {
        return Err(Error::new(ErrorCode::MissingField, "the search has no vector").field("vector"));
    }
    if vectors.len() > VECTORS_MAX {
        let message = format!("{} query vectors in one call", vectors.len());
        return Err(Error::new(ErrorCode::TooLarge, message)
            .field("vectors")
            .limit(VECTORS_MAX));
    }
    Ok(vectors)
}

/// Number of rows wanted, as clients write it.
///
/// # Errors
/// `INVALID_VALUE` naming `k`.
pub fn rows_wanted(k: Option<&Value>) -> Result<u32> {
    let number = match k {
        None | Some(Value::Null) => return Ok(K_DEFAULT),
        Some(value) => value.as_u64().and_then(|k| u32::try_from(k).ok()),
    };
    number
        .filter(|k| (1..=K_MAX).contains(&(*k as usize)))
        .ok_or_else(|| {
            let message = format!("k = {}", k.cloned().unwrap_or_default());
            Error::new(ErrorCode::InvalidValue, message)
                .field("k")
                .limit(format_args!("1 to {K_MAX}"))
        })
}

/// Refuses by name what this version would otherwise silently leave out.
fn check_supported(search: &Search) -> Result<()> {
    let unsupported = |key: &'static str, what: &str| {
        let message = format!("{what} is not supported by this version");
        Err(Error::new(ErrorCode::Unsupported, message).field(key))
    };
    if search.text_query.as_ref().is_some_and(|text| !text.is_empty()) {
        return unsupported("text_query", "searching for words");
    }
    // Without words there is nothing that `alpha` could weigh the vector against, but for keyword-only searches.
    if search.alpha == Some(0.0) {
        return unsupported("alpha", "searching by keywords alone");
    }
    if search.graph_alpha.is_some_and(|alpha| alpha != 0.0)
        || search.graph_depth.is_some_and(|depth| depth != 0)
    {
        return unsupported("graph_alpha", "searching along edges");
    }
    match search.vector_format.as_deref() {
        None | Some("" | "list" | "arrow" | "f32" | "float32") => Ok(()),
        Some(_) => unsupported("vector_format", "that format"),
    }
}

fn invalid(field: &'static str, message: &'static str) -> Error {
    Error::new(ErrorCode::InvalidValue, message).field(field)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn k_is_read_and_bounded() {
        assert_eq!(rows_wanted(None).unwrap(), K_DEFAULT);
        assert_eq!(rows_wanted(Some(&json!(10_000))).unwrap(), 10_000);
        for bad in [
            json!(0),
            json!(-1),
            json!(1_000_000_000u64),
            json!(u64::MAX),
            json!(1.5),
            json!("ten"),
        ] {
            assert_eq!(rows_wanted(Some(&bad)).unwrap_err().field.as_deref(), Some("k"));
        }
    }

    #[test]
    fn what_is_not_there_yet_is_refused_and_what_means_nothing_is_not() {
        let check = |change: fn(&mut Search)| {
            let mut search = Search::default();
            change(&mut search);
            check_supported(&search)
        };
        check(|s| s.alpha = Some(1.0)).unwrap();
        check(|s| s.alpha = Some(0.5)).unwrap();
        check(|s| s.text_query = Some(String::new())).unwrap();
        check(|s| s.graph_alpha = Some(0.0)).unwrap();
        check(|s| s.local_only = true).unwrap();
        let refused: [fn(&mut Search); 4] = [
            |s| s.text_query = Some("dog".into()),
            |s| s.alpha = Some(0.0),
            |s| s.graph_alpha = Some(0.3),
            |s| s.vector_format = Some("base85".into()),
        ];
        for change in refused {
            assert_eq!(check(change).unwrap_err().code, ErrorCode::Unsupported);
        }
    }
}
