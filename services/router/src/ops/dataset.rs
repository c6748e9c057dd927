//! Which dataset does a request mean, and what does it look like right now?

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use longbow_cluster::catalogue::Dataset;
use longbow_node::catalogue_watch::{self, CatalogueView};
use longbow_types::{DatasetId, Error, ErrorCode, Result, Schema, schema::check_dataset_name};
use longbow_wire::{convert, v1};
use parking_lot::Mutex;
use prost::Message;

use super::Core;
use crate::commands::Target;

/// How long to look for a dataset that this router has not heard of: its creation may be on the way.
const HEARSAY: Duration = Duration::from_secs(1);
/// Decoded schemas kept; over it they are decoded again.
const SCHEMAS_MAX: usize = 4_096;

/// A dataset as one request sees it, from its beginning to its end.
#[derive(Debug, Clone)]
pub struct Open {
    /// What the catalogue says.
    pub dataset: Arc<Dataset>,
    /// Its schema.
    pub schema: Arc<Schema>,
    /// The catalogue that says so.
    pub view: Arc<CatalogueView>,
}

impl Open {
    /// What writes are aimed at.
    pub fn target(&self) -> Target {
        Target {
            dataset: self.dataset.id,
            schema_version: self.dataset.schema_version,
            map_epoch: self.view.catalogue.map_epoch(),
            partitions: self.partition_count(),
        }
    }

    /// Number of partitions.
    pub fn partition_count(&self) -> u32 {
        u32::try_from(self.dataset.partitions.len()).unwrap_or(u32::MAX)
    }

    /// Ordinals of all partitions.
    pub fn all_partitions(&self) -> Vec<u32> {
        (0..self.partition_count()).collect()
    }

    /// The dataset as a message, without counts.
    pub fn to_proto(&self) -> v1::Dataset {
        v1::Dataset {
            name: self.dataset.name.clone(),
            dataset_id: self.dataset.id.0,
            schema_version: self.dataset.schema_version,
            schema: Some(convert::schema::to_proto(&self.schema)),
            partitions: self.partition_count(),
            replication_factor: self
                .dataset
                .partitions
                .iter()
                .map(|nodes| nodes.len() as u32)
                .min()
                .unwrap_or(0),
            rows: None,
            bytes: None,
        }
    }
}

pub(super) fn not_found(name: &str) -> Error {
    Error::new(
        ErrorCode::DatasetNotFound,
        format!("there is no dataset {name:?}"),
    )
    .field("dataset")
}

/// Schemas decoded from the catalogue. A version of a schema never changes.
#[derive(Debug, Default)]
pub(super) struct Schemas(Mutex<HashMap<(DatasetId, u32), Arc<Schema>>>);

impl Schemas {
    fn of(&self, dataset: &Dataset) -> Result<Arc<Schema>> {
        let key = (dataset.id, dataset.schema_version);
        if let Some(schema) = self.0.lock().get(&key) {
            return Ok(schema.clone());
        }
        let unreadable = |why: String| {
            let message = format!(
                "the schema of {:?} in the catalogue cannot be read: {why}",
                dataset.name
            );
            Error::new(ErrorCode::Corruption, message)
        };
        let proto =
            v1::Schema::decode(dataset.schema.clone()).map_err(|error| unreadable(error.to_string()))?;
        let schema = convert::schema::from_proto(&proto).map_err(|error| unreadable(error.to_string()))?;
        let schema = Arc::new(schema);
        let mut schemas = self.0.lock();
        if schemas.len() >= SCHEMAS_MAX {
            schemas.clear();
        }
        schemas.insert(key, schema.clone());
        Ok(schema)
    }
}

impl Core {
    /// The catalogue; waits for the first one while the router starts.
    ///
    /// # Errors
    /// `NO_LEADER` if neither a keeper nor a shard tells it.
    pub(super) async fn view(&self, at: Instant) -> Result<Arc<CatalogueView>> {
        if let Some(view) = self.0.watch.current() {
            return Ok(view);
        }
        let patience = at.min(Instant::now() + Duration::from_secs(1));
        self.0.watch.wait_for_index(0, Some(patience)).await.map_err(|_| {
            let message = "the catalogue is not known yet: neither a keeper nor a shard answers";
            Error::new(ErrorCode::NoLeader, message).retry_after(Duration::from_secs(1))
        })
    }

    /// The dataset of a name. One that is not known is looked for once more in a catalogue that is surely new enough.
    ///
    /// # Errors
    /// `DATASET_NOT_FOUND` naming it, `INVALID_NAME`, `NO_LEADER` if it is not known and nobody can tell.
    pub async fn open(&self, name: &str, at: Instant) -> Result<Open> {
        check_dataset_name(name).map_err(|error| error.field("dataset"))?;
        let view = self.view(at).await?;
        if let Some(dataset) = view.catalogue.dataset_by_name(name) {
            return self.open_in(&view, dataset.clone());
        }
        let view = self.newer_view(name, at).await?;
        match view.catalogue.dataset_by_name(name) {
            Some(dataset) => self.open_in(&view, dataset.clone()),
            None => Err(not_found(name)),
        }
    }

    pub(super) fn open_in(&self, view: &Arc<CatalogueView>, dataset: Arc<Dataset>) -> Result<Open> {
        Ok(Open {
            schema: self.0.schemas.of(&dataset)?,
            dataset,
            view: view.clone(),
        })
    }

    /// Whether this router knows a dataset of that name. It may be there all the same.
    pub fn knows(&self, name: &str) -> bool {
        let view = self.0.watch.current();
        view.is_some_and(|view| view.catalogue.dataset_by_name(name).is_some())
    }

    /// A view that holds the dataset, or covers everything that was acknowledged before now.
    ///
    /// # Errors
    /// `NO_LEADER` if nobody can tell: an old catalogue proves nothing about what is not in it.
    async fn newer_view(&self, name: &str, at: Instant) -> Result<Arc<CatalogueView>> {
        let until = at.min(Instant::now() + HEARSAY);
        let unknown = |_| {
            let message = format!("whether there is a dataset {name:?} cannot be told: no keeper leads");
            Error::new(ErrorCode::NoLeader, message)
                .field("dataset")
                .retry_after(Duration::from_secs(1))
        };
        let index = self.0.keeper.read_index(Some(until)).await.map_err(unknown)?;
        let known = self.0.watch.current();
        if let Some(view) = known.filter(|view| view.catalogue.dataset_by_name(name).is_some()) {
            return Ok(view);
        }
        catalogue_watch::ask(&self.0.peers, &self.0.gossip, index.index, until)
            .await
            .map_err(unknown)
    }

    /// The newest view to be had: proved to cover everything acknowledged before now while a keeper leads.
    pub(super) async fn newest_view(&self, at: Instant) -> Result<Arc<CatalogueView>> {
        let known = self.view(at).await?;
        Ok(self.proved_view(at).await.unwrap_or(known))
    }

    /// A view that covers everything acknowledged before now.
    async fn proved_view(&self, at: Instant) -> Result<Arc<CatalogueView>> {
        let until = at.min(Instant::now() + HEARSAY);
        let index = self.0.keeper.read_index(Some(until)).await?;
        let known = self.0.watch.current();
        if let Some(view) = known.filter(|view| view.catalogue.applied_index() >= index.index) {
            return Ok(view);
        }
        catalogue_watch::ask(&self.0.peers, &self.0.gossip, index.index, until).await
    }

    /// The dataset of a name as the newest catalogue has it; as [`Core::open`] has it while no keeper leads.
    ///
    /// # Errors
    /// Those of [`Core::open`].
    pub async fn open_newest(&self, name: &str, at: Instant) -> Result<Open> {
        check_dataset_name(name).map_err(|error| error.field("dataset"))?;
        let Ok(view) = self.proved_view(at).await else {
            return self.open(name, at).await;
        };
        match view.catalogue.dataset_by_name(name) {
            Some(dataset) => self.open_in(&view, dataset.clone()),
            None => Err(not_found(name)),
        }
    }

    /// The dataset as it is by now, if that is why a read of it failed: it was dropped, and another of the name is there,
    /// or its schema has changed.
    ///
    /// # Errors
    /// The read's own, if that is not why.
    pub(super) async fn moved_on(&self, old: &Open, error: Error, at: Instant) -> Result<Open> {
        match error.code {
            ErrorCode::DatasetNotFound => self.replaced(old, at).await,
            ErrorCode::SchemaVersionStale => {
                let newer = self.reopen(old, at).await?;
                let known = (old.dataset.id, old.dataset.schema_version);
                if (newer.dataset.id, newer.dataset.schema_version) == known {
                    return Err(error);
                }
                Ok(newer)
            }
            _ => Err(error),
        }
    }

    /// The dataset that has the name of one that was dropped.
    ///
    /// # Errors
    /// `DATASET_NOT_FOUND` if there is none.
    pub(super) async fn replaced(&self, old: &Open, at: Instant) -> Result<Open> {
        let newer = self.open_newest(&old.dataset.name, at).await?;
        if newer.dataset.id == old.dataset.id {
            return Err(not_found(&old.dataset.name));
        }
        Ok(newer)
    }
}
