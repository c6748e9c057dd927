//! DoAction: which actions are there, and who runs them?

mod check_readiness;
mod cluster_status;
mod delete;
mod delete_dataset;
mod vector_search;
mod vector_search_by_id;

use std::time::Instant;

use arrow_flight::{Action, ActionType, Result as ActionResult};
use bytes::Bytes;
use longbow_types::{Error, ErrorCode, Result};
use serde::de::DeserializeOwned;

use super::{Api, reply::Reply, request};

/// Actions that this version runs, with what they do.
const KNOWN: [(&str, &str); 8] = [
    (
        "VectorSearch",
        "The nearest rows of each query vector, as Arrow IPC streams",
    ),
    (
        "VectorSearchByID",
        "The ids and scores of the rows nearest to a row",
    ),
    ("delete", "Deletes rows by id"),
    ("Delete", "Deletes rows by id"),
    ("delete-vector", "Deletes a row by its numeric id"),
    ("delete-dataset", "Drops a dataset and all its rows"),
    ("cluster-status", "The nodes of the cluster"),
    (
        "check_readiness",
        "Whether a dataset, or the router, can be searched at full speed",
    ),
];

/// Actions of the contract that this version does not run.
const PLANNED: [&str; 14] = [
    "HybridSearch",
    "CreateNamespace",
    "DeleteNamespace",
    "ListNamespaces",
    "GetTotalNamespaceCount",
    "GetNamespaceDatasetCount",
    "MeshIdentity",
    "MeshStatus",
    "DiscoveryStatus",
    "add-edge",
    "traverse-graph",
    "GetGraphStats",
    "ForceSnapshot",
    "ForceCompaction",
];

/// What `ListActions` tells.
pub fn all() -> Vec<ActionType> {
    let known = KNOWN.into_iter();
    known
        .map(|(name, text)| ActionType {
            r#type: name.to_owned(),
            description: text.to_owned(),
        })
        .collect()
}

/// The name of an action in metrics: clients can invent names without end.
pub fn label(name: &str) -> &'static str {
    KNOWN
        .iter()
        .map(|(known, _)| *known)
        .find(|known| *known == name)
        .unwrap_or("unknown")
}

/// Runs an action.
///
/// # Errors
/// `INVALID_VALUE` for one that is not known, listing those that are; `UNSUPPORTED` for one of the contract that this
/// version lacks; those of the action.
pub async fn run(api: &Api, action: Action, at: Instant) -> Result<Reply<ActionResult>> {
    let (core, body) = (&api.core, action.body);
    let results = match action.r#type.as_str() {
        "VectorSearch" => return vector_search::run(core, body, at).await,
        "VectorSearchByID" => return vector_search_by_id::run(core, body, at).await,
        "delete" | "Delete" => delete::by_id(core, body, at).await,
        "delete-vector" => delete::by_number(core, body, at).await,
        "delete-dataset" => delete_dataset::run(core, body, at).await,
        "cluster-status" => Ok(cluster_status::run(api)),
        "check_readiness" => check_readiness::run(core, body, at).await,
        other => Err(refusal(other)),
    };
    results.map(Reply::of)
}

fn refusal(name: &str) -> Error {
    let known: Vec<&str> = KNOWN.iter().map(|(known, _)| *known).collect();
    let error = if PLANNED.contains(&name) {
        Error::new(
            ErrorCode::Unsupported,
            format!("the action {name:?} is not supported by this version"),
        )
    } else {
        Error::new(
            ErrorCode::InvalidValue,
            format!("the action {name:?} is not known"),
        )
    };
    error
        .field("type")
        .limit(format_args!("one of {}", known.join(", ")))
}

/// Reads the JSON body of an action.
async fn body_of<T: DeserializeOwned + Send + 'static>(body: Bytes) -> Result<T> {
    let text = if body.is_empty() {
        Bytes::from_static(b"{}")
    } else {
        body
    };
    request::json(text, "body").await
}

fn text(body: impl Into<String>) -> Vec<ActionResult> {
    vec![ActionResult::new(body.into())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_run_is_refused_by_name() {
        let unknown = refusal("Dance");
        assert_eq!(unknown.code, ErrorCode::InvalidValue);
        assert!(unknown.message.contains("Dance") && unknown.limit.unwrap().contains("VectorSearchByID"));
        assert_eq!(refusal("HybridSearch").code, ErrorCode::Unsupported);
        assert!(PLANNED.iter().all(|planned| label(planned) == "unknown"));
        assert_eq!(all().len(), KNOWN.len());
    }
}
