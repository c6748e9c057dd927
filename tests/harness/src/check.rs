//! Whether a cluster holds exactly what a load was promised.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use longbow_wire::v1::{
    self, dataset_service_client::DatasetServiceClient, search_service_client::SearchServiceClient,
};

use crate::load::{Model, State, channel, row_id, text_of, vector_of};

const FETCH_IDS: usize = 1_000;

/// What the check found.
#[derive(Debug, Clone, Copy)]
pub struct Verdict {
    /// Ids compared.
    pub ids: usize,
    /// Rows that are there.
    pub rows: usize,
}

/// Compares every id with the model through one router; fails naming the first difference.
///
/// `GetRows` shows that each id holds what it may; the dataset's row count, taken over all partitions, shows that
/// nothing else is there and nothing is there twice.
pub async fn holds(endpoint: &str, dataset: &str, model: &Model) -> Result<Verdict> {
    let read = fetch_all(endpoint, dataset, model).await?;
    for (&id, allowed) in model {
        let state = read.get(&id).copied().flatten();
        ensure!(
            allowed.permits(state),
            "id {id} through {endpoint}: read version {state:?}, allowed {allowed:?}"
        );
    }
    let request = v1::GetDatasetRequest { name: dataset.into() };
    let described = DatasetServiceClient::new(channel(endpoint)?)
        .get_dataset(request)
        .await?
        .into_inner();
    let counted = described.dataset.and_then(|d| d.rows).context("no row count")?;
    let rows = read.values().filter(|state| state.is_some()).count();
    ensure!(
        counted == rows as u64,
        "{counted} rows are counted, {rows} were fetched"
    );
    Ok(Verdict {
        ids: model.len(),
        rows,
    })
}

async fn fetch_all(endpoint: &str, dataset: &str, model: &Model) -> Result<BTreeMap<u64, State>> {
    let mut client = SearchServiceClient::new(channel(endpoint)?).max_decoding_message_size(64 << 20);
    let ids: Vec<u64> = model.keys().copied().collect();
    let mut read = BTreeMap::new();
    for chunk in ids.chunks(FETCH_IDS) {
        let request = v1::GetRowsRequest {
            dataset: dataset.into(),
            ids: chunk.iter().map(|&id| row_id(id)).collect(),
            columns: vec!["*".into()],
            include_vector: true,
            consistency: None,
        };
        let answer = client.get_rows(request).await?.into_inner();
        let freshness = answer.freshness.context("no freshness")?;
        ensure!(!freshness.degraded, "the read could not prove that it is fresh");
        for row in answer.rows {
            let (id, version) = version_of(&row)?;
            if read.insert(id, Some(version)).is_some() {
                bail!("id {id} was answered twice");
            }
        }
    }
    Ok(read)
}

/// Checks that a row holds what its version says; gives id and version.
pub fn version_of(row: &v1::FoundRow) -> Result<(u64, u64)> {
    use v1::{row_id::Kind as Id, value::Kind};
    let Some(Id::U64(id)) = row.id.as_ref().and_then(|id| id.kind.clone()) else {
        bail!("an id of the wrong kind: {:?}", row.id);
    };
    let value = |name: &str| row.columns.get(name).and_then(|value| value.kind.clone());
    let Some(Kind::U64(version)) = value("version") else {
        bail!("id {id} has no version: {row:?}");
    };
    ensure!(
        value("text") == Some(Kind::Utf8(text_of(id, version))),
        "id {id} has a wrong text: {row:?}"
    );
    let vector = row.vector.as_ref().context("no vector")?;
    ensure!(
        vector.values == vector_of(id, version),
        "id {id} has a wrong vector"
    );
    Ok((id, version))
}
