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
            Some(Command::RegisterShard(_)) => Some(Step::Changed),
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
mod tests {
    use super::*;
    use longbow_types::Quantization;
    use longbow_wire::internal::{
        AlterDatasetCommand, CreateDatasetCommand, DropDatasetCommand, OpenProducerCommand,
        RegisterShardCommand, ReplicaSet,
    };

    fn me() -> NodeId {
        "shard-1".parse().unwrap()
    }

    fn header(command: Command) -> EntryHeader {
        EntryHeader {
            command: Some(command),
            ..EntryHeader::default()
        }
    }

    fn register(node: &str) -> EntryHeader {
        header(Command::RegisterShard(RegisterShardCommand {
            node_id: node.into(),
            ..RegisterShardCommand::default()
        }))
    }

    /// A dataset of three partitions, of which this node holds 0 and 2.
    fn create(name: &str) -> EntryHeader {
        // Not the default, so that a choice that is lost on the way is missed.
        let schema = crate::state::tests::schema().with_quantization(Quantization::Bit1);
        let schema = schema::to_proto(&schema);
        let set = |nodes: &[&str]| ReplicaSet {
            node_ids: nodes.iter().map(|&node| node.into()).collect(),
        };
        header(Command::CreateDataset(CreateDatasetCommand {
            name: name.into(),
            schema: schema.encode_to_vec().into(),
            partitions: vec![set(&["shard-1"]), set(&["shard-2"]), set(&["shard-2", "shard-1"])],
            partition_count: 3,
            replication_factor: 0,
        }))
    }

    fn write(dataset: u64, map_epoch: u64, ranges: &[(u32, u64, u64)]) -> EntryHeader {
        let range = |&(partition, offset, length): &(u32, u64, u64)| PartitionRange {
            partition,
            offset,
            length,
            rows: 1,
        };
        header(Command::Write(WriteCommand {
            dataset_id: dataset,
            schema_version: 1,
            map_epoch,
            kind: internal::WriteKind::Delete as i32,
            ranges: ranges.iter().map(range).collect(),
            filter_semantics: 0,
        }))
    }

    struct Log {
        route: Route,
        index: u64,
    }

    impl Log {
        fn append(&mut self, header: &EntryHeader) -> Option<Step> {
            self.index += 1;
            self.append_entry(TailEntry {
                header: header.encode_to_vec().into(),
                body: Bytes::from_static(b"0123456789"),
                ..TailEntry::default()
            })
        }

        fn append_entry(&mut self, entry: TailEntry) -> Option<Step> {
            self.route.entry(&TailEntry {
                index: self.index,
                ..entry
            })
        }

        /// Registered twice over, with one dataset; its id is the index.
        fn with_dataset() -> Self {
            let mut log = Self {
                route: Route::new(me()),
                index: 0,
            };
            assert!(log.append(&EntryHeader::default()).is_none(), "raft's own entry");
            assert!(!log.route.is_registered());
            assert!(matches!(log.append(&register("shard-1")), Some(Step::Changed)));
            assert!(log.route.is_registered());
            log.append(&register("shard-2"));
            let Some(Step::Place(place)) = log.append(&create("d")) else {
                panic!("replicas are placed")
            };
            assert_eq!((place.dataset, place.name.as_str()), (DatasetId(4), "d"));
            assert_eq!(place.partitions, [0, 2]);
            assert_eq!(place.schema.vector().quantization, Quantization::Bit1);
            log
        }
    }

    fn ops(step: Option<Step>) -> Vec<(u32, Option<Vec<u8>>)> {
        let Some(Step::Write(ops)) = step else {
            panic!("a write is routed")
        };
        ops.into_iter()
            .map(|(key, op)| match op.work {
                Work::Write(write) => (key.ordinal, write.body.map(|body| body.to_vec())),
                Work::DeleteWhere(filter) => (key.ordinal, filter.map(|filter| filter.to_vec())),
                Work::Alter { .. } => panic!("a write is routed"),
            })
            .collect()
    }

    #[test]
    fn a_write_goes_to_the_replicas_of_this_node_with_their_ranges() {
        let mut log = Log::with_dataset();
        let step = log.append(&write(4, 1, &[(0, 0, 2), (1, 2, 3), (2, 5, 5)]));
        assert_eq!(
            ops(step),
            [(0, Some(b"01".to_vec())), (2, Some(b"56789".to_vec()))]
        );
    }

    #[test]
    fn a_filter_goes_to_every_replica_of_this_node() {
        let mut log = Log::with_dataset();
        let mut filter = write(4, 1, &[0, 1, 2].map(|partition| (partition, 0, 4)));
        let Some(Command::Write(command)) = &mut filter.command else {
            unreachable!()
        };
        command.set_kind(internal::WriteKind::DeleteWhere);
        command.filter_semantics = longbow_cluster::catalogue::FILTER_SEMANTICS;
        let whole = Some(b"0123".to_vec());
        assert_eq!(ops(log.append(&filter)), [(0, whole.clone()), (2, whole)]);
    }

    #[test]
    fn a_range_outside_the_body_is_told_to_its_partition_alone() {
        let mut log = Log::with_dataset();
        let step = log.append(&write(4, 1, &[(0, 0, 2), (2, 5, 6)]));
        assert_eq!(ops(step), [(0, Some(b"01".to_vec())), (2, None)]);
    }

    #[test]
    fn what_is_left_of_a_body_is_found_where_it_stands() {
        let mut log = Log::with_dataset();
        let wanted = log.route.wanted();
        assert_eq!(
            (wanted[0].dataset_id, &wanted[0].partitions[..]),
            (4, &[0, 2][..])
        );
        let mut partial = |kept_ranges: &[u32], body: &'static [u8]| {
            log.index += 1;
            let header = write(4, 1, &[(0, 0, 2), (1, 2, 3), (2, 5, 5)]);
            ops(log.append_entry(TailEntry {
                header: header.encode_to_vec().into(),
                body: Bytes::from_static(body),
                left_out_bytes: 3,
                kept_ranges: kept_ranges.to_vec(),
                ..TailEntry::default()
            }))
        };
        let both = [(0, Some(b"01".to_vec())), (2, Some(b"56789".to_vec()))];
        assert_eq!(partial(&[0, 2], b"0156789"), both);
        // What was left out although it is needed is missed, and so is what does not fit.
        assert_eq!(partial(&[2], b"56789"), [(0, None), both[1].clone()]);
        assert_eq!(partial(&[0, 2], b"01"), [both[0].clone(), (2, None)]);
        assert_eq!(partial(&[9, 2], b"56789"), [(0, None), (2, None)]);
    }

    #[test]
    fn refused_and_repeated_entries_do_nothing() {
        let mut log = Log::with_dataset();
        assert!(
            log.append(&write(4, 9, &[(0, 0, 2)])).is_none(),
            "stale map epoch"
        );
        assert!(
            log.append(&write(77, 1, &[(0, 0, 2)])).is_none(),
            "no such dataset"
        );
        assert!(log.append(&create("d")).is_none(), "the name is taken");
        let open = header(Command::OpenProducer(OpenProducerCommand { client: "t".into() }));
        assert!(log.append(&open).is_none());
        let mut again = write(4, 1, &[(0, 0, 2)]);
        (again.producer, again.sequence) = (log.index, 1);
        assert_eq!(ops(log.append(&again)).len(), 1);
        assert!(log.append(&again).is_none(), "a retry writes nothing twice");
    }

    #[test]
    fn a_schema_goes_to_the_replicas_of_this_node_and_to_the_catalogue() {
        let mut log = Log::with_dataset();
        let wider = crate::state::tests::wider_schema().with_quantization(Quantization::Bit1);
        let alter = |schema_version, schema: &longbow_types::Schema| {
            header(Command::AlterDataset(AlterDatasetCommand {
                dataset_id: 4,
                schema_version,
                schema: schema::to_proto(schema).encode_to_vec().into(),
            }))
        };
        let Some(Step::Alter(ops)) = log.append(&alter(1, &wider)) else {
            panic!("a schema is routed")
        };
        let altered: Vec<_> = ops
            .into_iter()
            .map(|(key, op)| match op.work {
                Work::Alter { schema, version } => (key.ordinal, op.index, schema.unwrap(), version),
                Work::Write(_) | Work::DeleteWhere(_) => panic!("a schema is routed"),
            })
            .collect();
        assert_eq!(altered, [(0, 5, wider.clone(), 2), (2, 5, wider.clone(), 2)]);
        let published = log.route.published();
        assert_eq!(published.dataset(DatasetId(4)).unwrap().schema_version, 2);
        assert!(log.append(&alter(1, &wider)).is_none(), "the second of two loses");
        assert!(
            log.append(&write(4, 1, &[(0, 0, 2)])).is_none(),
            "rows of the old version come too late"
        );
    }

    #[test]
    fn a_dropped_dataset_is_evicted_and_its_writes_are_refused() {
        let mut log = Log::with_dataset();
        let drop = header(Command::DropDataset(DropDatasetCommand { dataset_id: 4 }));
        assert!(matches!(log.append(&drop), Some(Step::Evict(DatasetId(4)))));
        assert!(log.append(&write(4, 1, &[(0, 0, 2)])).is_none());
        assert_eq!(log.route.published().datasets().count(), 0);
    }

    #[test]
    fn a_header_that_cannot_be_read_is_an_entry_without_effect() {
        let mut log = Log::with_dataset();
        let before = log.route.published();
        let garbage = Bytes::from_static(&[0xff; 7]);
        log.index += 1;
        let garbage = TailEntry {
            header: garbage,
            ..TailEntry::default()
        };
        assert!(log.append_entry(garbage).is_none());
        assert_eq!(log.route.published().applied_index(), log.index);
        assert!(log.route.published().datasets().eq(before.datasets()));
        assert_eq!(
            ops(log.append(&write(4, 1, &[(0, 0, 2)]))).len(),
            1,
            "the log goes on"
        );
    }
}
