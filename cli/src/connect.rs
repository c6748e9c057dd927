//! The way from the global options to a client.

use longbow_client::{Client, Error, ErrorCode, IdKind, Options, RetryPolicy, RowId};

use crate::args::Global;

/// A client for a person who waits: an address at which nobody listens is told soon.
pub fn client(global: &Global) -> Result<Client, Error> {
    let retry = RetryPolicy {
        retries_max: 3,
        ..RetryPolicy::default()
    };
    with_retry(global, retry)
}

/// A client for a long job, which outlasts a change of leader.
pub fn patient_client(global: &Global) -> Result<Client, Error> {
    with_retry(global, RetryPolicy::default())
}

fn with_retry(global: &Global, retry: RetryPolicy) -> Result<Client, Error> {
    let options = Options {
        api_key: global.api_key.clone(),
        timeout: global.timeout,
        retry,
        ..Options::default()
    };
    Client::lazy(&global.endpoint, options)
}

/// Reads ids as the kind that the dataset has, which the cluster is asked for.
pub async fn row_ids(client: &Client, dataset: &str, texts: &[String]) -> Result<Vec<RowId>, Error> {
    let kind = id_kind(client, dataset).await?;
    texts.iter().map(|text| row_id(text, kind)).collect()
}

async fn id_kind(client: &Client, dataset: &str) -> Result<IdKind, Error> {
    let all = client.list_datasets(false).await?;
    let found = all.iter().find(|info| info.name == dataset);
    found.map(|info| info.schema.id_kind()).ok_or_else(|| {
        let message = format!("there is no dataset {dataset:?}");
        Error::new(ErrorCode::DatasetNotFound, message).field("dataset")
    })
}

fn row_id(text: &str, kind: IdKind) -> Result<RowId, Error> {
    let wrong = || {
        Error::new(ErrorCode::TypeMismatch, format!("{text:?} is not an id"))
            .field("id")
            .limit(format_args!("the dataset's ids are {kind}"))
    };
    match kind {
        IdKind::U64 => text.parse().map(RowId::U64).map_err(|_| wrong()),
        IdKind::I64 => text.parse().map(RowId::I64).map_err(|_| wrong()),
        IdKind::Utf8 => Ok(RowId::Utf8(text.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_of_the_datasets_kind() {
        assert_eq!(row_id("7", IdKind::U64), Ok(RowId::U64(7)));
        assert_eq!(row_id("-7", IdKind::I64), Ok(RowId::I64(-7)));
        assert_eq!(row_id("7", IdKind::Utf8), Ok(RowId::Utf8("7".into())));
        assert_eq!(
            row_id("-7", IdKind::U64).unwrap_err().code,
            ErrorCode::TypeMismatch
        );
    }
}
