//! What does an entry of the log mean for this node? A pure state machine: entries in, steps out.

use bytes::Bytes;
use longbow_cluster::catalogue::{Catalogue, Dataset};
use longbow_storage::WriteKind;
use longbow_types::{DatasetId, Error, ErrorCode, NodeId, Result};
use longbow_wire::convert::schema;
use longbow_wire::entry::decode_header;
use longbow_wire::internal::entry_header::Command;
use longbow_wire::internal::{self, EntryHeader, PartitionRange, TailEntry, TailPartitions, WriteCommand};
use longbow_wire::v1;
use prost::Message as _;

use crate::actors::Place;
use crate::apply::{Op, Work, Write};
use crate::partition::Key;

/// One thing to do.
pub(super) enum Step {
    /// Rows for replicas of this node.
    Write(Vec<(Key, Op)>),
    /// A schema for replicas of this node, and for the catalogue.
    Alter(Vec<(Key, Op)>),
    /// Make replicas.
    Place(Place),
    /// Drop the replicas of a dataset.
    Evict(DatasetId),
    /// Log time for those replicas of this node whose rows go by themselves.
    Tick(Vec<(Key, Op)>),
    /// Nothing for this node's replicas, but the catalogue has changed.
    Changed,
}

/// The catalogue as this node applies it.
pub(super) struct Route {
    me: NodeId,
    catalogue: Catalogue,
}

impl Route {
    /// Before the first entry.
    pub(super) fn new(me: NodeId) -> Self {
        Self {
            me,
            catalogue: Catalogue::new(),
        }
    }

    /// After the entry that a catalogue, with producers, is the state of.
    pub(super) fn restored(me: NodeId, catalogue: Catalogue) -> Self {
        Self { me, catalogue }
    }

    /// The catalogue, with producers: another node, or this one after a restart, can go on with it.
    pub(super) fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// Whether this node may hold replicas.
    pub(super) fn is_registered(&self) -> bool {
        self.catalogue.shards().contains(&self.me)
    }

    /// Which log this is; 0 until an entry has told.
    pub(super) fn log_id(&self) -> u64 {
        self.catalogue.log_id()
    }

    /// The catalogue for others to see: without producers, which are many and nobody's business.
    pub(super) fn published(&self) -> Catalogue {
        Catalogue::from_proto(&self.catalogue.to_proto(false))
            .expect("a catalogue that was built from the log is valid")
    }

    /// Judges the next entry and says what to do. Nothing, for an entry that is refused, repeated, or not for us.
    /// A header that cannot be read, which no keeper lets into the log, has no effect: keepers judge it so.
    pub(super) fn entry(&mut self, entry: &TailEntry) -> Option<Step> {
        let index = entry.index;
        let header = decode_header(&entry.header).unwrap_or_else(|error| {
            tracing::error!(index, %error, "a committed entry cannot be read");
            EntryHeader::default()
        });
        let dropped = dropped_dataset(&header);
        if !self.catalogue.apply(index, &header).takes_effect() {
            return None;
        }
        match header.command {
            Some(Command::Write(write)) => Some(Step::Write(self.write(&write, entry))),
            Some(Command::CreateDataset(_)) => Some(self.created(DatasetId(index))),
            Some(Command::AlterDataset(alter)) => Some(self.altered(index, DatasetId(alter.dataset_id))),
            Some(Command::DropDataset(_)) => dropped.map(Step::Evict),
            Some(Command::RegisterShard(_) | Command::BeginIncarnation(_)) => Some(Step::Changed),
            Some(Command::Tick(_)) => Some(Step::Tick(self.ticked(index))),
            Some(Command::OpenProducer(_)) | None => None,
        }
    }

    fn write(&self, write: &WriteCommand, entry: &TailEntry) -> Vec<(Key, Op)> {
        let index = entry.index;
        let dataset = DatasetId(write.dataset_id);
        let kind = match write.kind() {
            internal::WriteKind::Delete => Some(WriteKind::Delete),
            internal::WriteKind::UpsertIf => Some(WriteKind::UpsertIf),
            internal::WriteKind::DeleteIf => Some(WriteKind::DeleteIf),
            internal::WriteKind::Update => Some(WriteKind::Update),
            internal::WriteKind::DeleteWhere => None,
            // The catalogue accepts no other kind.
            internal::WriteKind::Upsert | internal::WriteKind::Unspecified => Some(WriteKind::Upsert),
        };
        let mine = |(_, range): &(u32, &PartitionRange)| {
            let known = self.catalogue.dataset(dataset);
            let nodes = known.and_then(|known| known.partitions.get(range.partition as usize));
            nodes.is_some_and(|nodes| nodes.contains(&self.me))
        };
        let op = |(number, range): (u32, &PartitionRange)| {
            let key = Key {
                dataset,
                ordinal: range.partition,
            };
            let body = rows(entry, write, number);
            let work = match kind {
                Some(kind) => Work::Write(Write {
                    kind,
                    body,
                    rows: range.rows,
                }),
                None => Work::DeleteWhere(body),
            };
            (key, Op { index, work })
        };
        (0..).zip(&write.ranges).filter(mine).map(op).collect()
    }

    /// What to ask a keeper for: of datasets that have partitions elsewhere, those that are here.
    pub(super) fn wanted(&self) -> Vec<TailPartitions> {
        let of = |dataset: &Dataset| TailPartitions {
            dataset_id: dataset.id.0,
            partitions: self.held(dataset).collect(),
        };
        let is_elsewhere = |dataset: &&Dataset| self.held(dataset).count() < dataset.partitions.len();
        let all = self.catalogue.datasets().map(|dataset| &**dataset);
        all.filter(is_elsewhere).map(of).collect()
    }

    /// Partitions of a dataset that this node has.
    fn held<'a>(&'a self, dataset: &'a Dataset) -> impl Iterator<Item = u32> {
        (0_u32..)
            .zip(&dataset.partitions)
            .filter(|(_, nodes)| nodes.contains(&self.me))
            .map(|(ordinal, _)| ordinal)
    }

    fn altered(&self, index: u64, id: DatasetId) -> Step {
        let Some(dataset) = self.catalogue.dataset(id) else {
            return Step::Changed;
        };
        // One that cannot be read, because it is of a later version, stops the replicas: they could not take the rows.
        let schema = schema_of(dataset);
        let op = |ordinal| {
            let key = Key { dataset: id, ordinal };
            let work = Work::Alter {
                schema: schema.clone(),
                version: dataset.schema_version,
            };
            (key, Op { index, work })
        };
        Step::Alter(self.held(dataset).map(op).collect())
    }

    fn ticked(&self, index: u64) -> Vec<(Key, Op)> {
        let log_time_ms = self.catalogue.log_time_ms();
        let expiring = self.catalogue.datasets().filter(|dataset| dataset.rows_expire);
        let of = |dataset: &'_ Dataset| -> Vec<(Key, Op)> {
            let op = |ordinal| {
                let key = Key {
                    dataset: dataset.id,
                    ordinal,
                };
                let work = Work::Tick { log_time_ms };
                (key, Op { index, work })
            };
            self.held(dataset).map(op).collect()
        };
        expiring.flat_map(|dataset| of(dataset)).collect()
    }

    fn created(&self, id: DatasetId) -> Step {
        let Some(dataset) = self.catalogue.dataset(id) else {
            return Step::Changed;
        };
        let partitions: Vec<u32> = self.held(dataset).collect();
        if partitions.is_empty() {
            return Step::Changed;
        }
        match schema_of(dataset) {
            Ok(schema) => Step::Place(Place {
                dataset: id,
                name: dataset.name.clone(),
                schema,
                partitions,
            }),
            Err(error) => {
                // Routers check schemas; one that passed them and fails here is of a later version.
                tracing::error!(dataset = %dataset.name, "no replica can be made: {error}");
                Step::Changed
            }
        }
    }
}

fn dropped_dataset(header: &EntryHeader) -> Option<DatasetId> {
    match &header.command {
        Some(Command::DropDataset(command)) => Some(DatasetId(command.dataset_id)),
        _ => None,
    }
}

/// The schema of a dataset.
pub(crate) fn schema_of(dataset: &Dataset) -> Result<longbow_types::Schema> {
    let message = v1::Schema::decode(dataset.schema.clone())
        .map_err(|error| Error::new(ErrorCode::InvalidSchema, error.to_string()))?;
    schema::from_proto(&message)
}

/// The rows of one range of an entry, if it has them.
fn rows(entry: &TailEntry, write: &WriteCommand, number: u32) -> Option<Bytes> {
    let length = |number: u32| Some(write.ranges.get(number as usize)?.length);
    let offset = if entry.left_out_bytes == 0 {
        write.ranges.get(number as usize)?.offset
    } else {
        // Ranges that were not asked for are left out: the others stand one behind the other.
        let before = entry.kept_ranges.iter().position(|&kept| kept == number)?;
        let mut before = entry.kept_ranges[..before].iter();
        before.try_fold(0, |sum: u64, &kept| sum.checked_add(length(kept)?))?
    };
    let from = usize::try_from(offset).ok()?;
    let to = from.checked_add(usize::try_from(length(number)?).ok()?)?;
    (to <= entry.body.len()).then(|| entry.body.slice(from..to))
}

#[cfg(test)]
mod tests;
