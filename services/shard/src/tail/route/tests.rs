//! Does every node of a log come to the same steps, each for its own replicas?

use super::*;
use longbow_types::Quantization;
use longbow_wire::internal::{
    AlterDatasetCommand, CreateDatasetCommand, DropDatasetCommand, OpenProducerCommand, RegisterShardCommand,
    ReplicaSet, TickCommand,
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
        ..CreateDatasetCommand::default()
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
            _ => panic!("a write is routed"),
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
            rows_expire: schema.rows_expire(),
        }))
    };
    let Some(Step::Alter(ops)) = log.append(&alter(1, &wider)) else {
        panic!("a schema is routed")
    };
    let altered: Vec<_> = ops
        .into_iter()
        .map(|(key, op)| match op.work {
            Work::Alter { schema, version } => (key.ordinal, op.index, schema.unwrap(), version),
            _ => panic!("a schema is routed"),
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

#[test]
fn ticks_go_to_the_replicas_whose_rows_go_by_themselves() {
    let mut log = Log::with_dataset();
    let tick = |time_ms| header(Command::Tick(TickCommand { time_ms }));
    let ticked = |step: Option<Step>| -> Vec<(u32, u64, u64)> {
        let Some(Step::Tick(ops)) = step else {
            panic!("a tick is routed")
        };
        let told = |(key, op): (Key, Op)| match op.work {
            Work::Tick { log_time_ms } => (key.ordinal, op.index, log_time_ms),
            _ => panic!("a tick is routed"),
        };
        ops.into_iter().map(told).collect()
    };
    assert_eq!(ticked(log.append(&tick(1_000))), [], "its rows do not");
    let ttl = Some(std::time::Duration::from_secs(60));
    let aged = crate::state::tests::schema().with_quantization(Quantization::Bit1);
    let alter = header(Command::AlterDataset(AlterDatasetCommand {
        dataset_id: 4,
        schema_version: 1,
        schema: schema::to_proto(&aged.with_ttl(ttl).unwrap())
            .encode_to_vec()
            .into(),
        rows_expire: true,
    }));
    assert!(matches!(log.append(&alter), Some(Step::Alter(_))));
    assert_eq!(ticked(log.append(&tick(2_000))), [(0, 7, 2_000), (2, 7, 2_000)]);
    // What they are told is log time, not what a clock behind it says.
    assert_eq!(ticked(log.append(&tick(1_500))), [(0, 8, 2_000), (2, 8, 2_000)]);
}
