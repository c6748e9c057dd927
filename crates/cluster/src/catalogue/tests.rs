//! Does the catalogue judge every command alike, whatever came before it?

use longbow_wire::internal::{
    AlterDatasetCommand, CreateDatasetCommand, DropDatasetCommand, OpenProducerCommand, PartitionRange,
    RegisterShardCommand, TickCommand, WriteCommand, WriteKind,
};
use proptest::prelude::*;

use super::*;

fn header(command: Command) -> EntryHeader {
    EntryHeader {
        producer: 0,
        sequence: 0,
        command: Some(command),
    }
}

fn register(node: &str) -> EntryHeader {
    header(Command::RegisterShard(RegisterShardCommand {
        node_id: node.into(),
        log_id: 0,
    }))
}

#[test]
fn the_first_registration_names_the_log() {
    let named = |log_id| {
        header(Command::RegisterShard(RegisterShardCommand {
            node_id: "s1".into(),
            log_id,
        }))
    };
    let mut catalogue = Catalogue::new();
    catalogue.apply(1, &register("s1"));
    assert_eq!(catalogue.log_id(), 0, "an entry of a version that gave no names");
    catalogue.apply(2, &named(7));
    catalogue.apply(3, &named(8));
    assert_eq!(catalogue.log_id(), 7);
    let carried = Catalogue::from_proto(&catalogue.to_proto(false)).unwrap();
    assert_eq!(carried.log_id(), 7);
}

fn create(catalogue: &Catalogue, name: &str, partitions: u32, copies: u32) -> EntryHeader {
    let mut command = CreateDatasetCommand {
        name: name.into(),
        schema: Bytes::from_static(b"schema"),
        partitions: Vec::new(),
        partition_count: partitions,
        replication_factor: copies,
        rows_expire: false,
    };
    catalogue.place(&mut command, catalogue.shards());
    header(Command::CreateDataset(command))
}

fn write(dataset: u64, schema_version: u32, map_epoch: u64) -> EntryHeader {
    let range = PartitionRange {
        partition: 1,
        offset: 0,
        length: 10,
        rows: 1,
    };
    header(Command::Write(WriteCommand {
        dataset_id: dataset,
        schema_version,
        map_epoch,
        kind: WriteKind::Upsert as i32,
        ranges: vec![range],
        filter_semantics: 0,
    }))
}

fn from(producer: u64, sequence: u64, header: EntryHeader) -> EntryHeader {
    EntryHeader {
        producer,
        sequence,
        ..header
    }
}

fn open() -> EntryHeader {
    header(Command::OpenProducer(OpenProducerCommand {
        client: "test".into(),
    }))
}

fn drop_dataset(dataset: u64) -> EntryHeader {
    header(Command::DropDataset(DropDatasetCommand { dataset_id: dataset }))
}

fn alter(dataset: u64, schema_version: u32, schema: &'static [u8]) -> EntryHeader {
    header(Command::AlterDataset(AlterDatasetCommand {
        dataset_id: dataset,
        schema_version,
        schema: Bytes::from_static(schema),
        rows_expire: false,
    }))
}

/// Two shards at 1 and 2, the dataset "d" of two partitions at 3.
fn with_dataset() -> Catalogue {
    let mut catalogue = Catalogue::new();
    catalogue.apply(1, &register("s1"));
    catalogue.apply(2, &register("s2"));
    let command = create(&catalogue, "d", 2, 0);
    assert_eq!(catalogue.apply(3, &command).verdict.code, "");
    catalogue
}

fn code(catalogue: &mut Catalogue, header: &EntryHeader) -> String {
    let index = catalogue.applied_index() + 1;
    catalogue.apply(index, header).verdict.code
}

#[test]
fn datasets_come_and_go() {
    let mut c = Catalogue::new();
    let early = create(&c, "d", 2, 0);
    assert_eq!(code(&mut c, &early), "NOT_ENOUGH_SHARDS");
    assert_eq!(code(&mut c, &register("s1")), "");
    assert_eq!(code(&mut c, &register("s1")), "");
    assert_eq!(code(&mut c, &register("no good")), "INVALID_NAME");
    let three = create(&c, "d", 2, 3);
    assert_eq!(code(&mut c, &three), "NOT_ENOUGH_SHARDS");
    let good = create(&c, "d", 2, 0);
    assert_eq!(code(&mut c, &good), "");
    assert_eq!(code(&mut c, &good), "DATASET_EXISTS");
    let id = c.dataset_by_name("d").unwrap().id;
    assert_eq!(c.replicas_on(&"s1".parse().unwrap()).count(), 2);
    assert_eq!(code(&mut c, &drop_dataset(id.0)), "");
    assert_eq!(code(&mut c, &drop_dataset(id.0)), "DATASET_NOT_FOUND");
    assert_eq!((c.datasets().count(), c.map_epoch()), (0, 1));
    // A name that is free again belongs to a new identity.
    assert_eq!(code(&mut c, &good), "");
    assert!(c.dataset_by_name("d").unwrap().id > id);
}

#[test]
fn creations_are_checked() {
    type Spoil = fn(&mut CreateDatasetCommand);
    let cases: [(Spoil, &str); 6] = [
        (|c| c.name = "/".into(), "INVALID_NAME"),
        (|c| c.partition_count = 0, "INVALID_VALUE"),
        (|c| c.partition_count = 3, "INVALID_VALUE"),
        (
            |c| c.partitions[0].node_ids[0] = "stranger".into(),
            "NOT_ENOUGH_SHARDS",
        ),
        (
            |c| c.partitions[1].node_ids = vec!["s1".into(), "s1".into()],
            "INVALID_VALUE",
        ),
        (|c| c.partitions[1].node_ids.clear(), "NOT_ENOUGH_SHARDS"),
    ];
    for (spoil, expected) in cases {
        let mut c = with_dataset();
        let mut header = create(&c, "other", 2, 0);
        let Some(Command::CreateDataset(command)) = &mut header.command else {
            unreachable!()
        };
        spoil(command);
        let before = c.clone();
        assert_eq!(code(&mut c, &header), expected);
        assert_eq!(c.datasets, before.datasets);
    }
}

#[test]
fn writes_are_judged() {
    let mut c = with_dataset();
    assert_eq!(code(&mut c, &write(3, 1, 1)), "");
    assert_eq!(code(&mut c, &write(4, 1, 1)), "DATASET_NOT_FOUND");
    assert_eq!(code(&mut c, &write(3, 2, 1)), "SCHEMA_VERSION_STALE");
    assert_eq!(code(&mut c, &write(3, 1, 2)), "MAP_EPOCH_STALE");
    type Spoil = fn(&mut WriteCommand);
    let cases: [Spoil; 6] = [
        |w| w.kind = 0,
        |w| w.kind = 99,
        |w| w.ranges.clear(),
        |w| w.ranges[0].partition = 2,
        |w| w.ranges.push(w.ranges[0]),
        |w| w.ranges[0].offset = u64::MAX,
    ];
    for kind in [
        WriteKind::Delete,
        WriteKind::UpsertIf,
        WriteKind::DeleteIf,
        WriteKind::Update,
    ] {
        let mut header = write(3, 1, 1);
        let Some(Command::Write(command)) = &mut header.command else {
            unreachable!()
        };
        command.set_kind(kind);
        assert_eq!(code(&mut c, &header), "");
    }
    for spoil in cases {
        let mut header = write(3, 1, 1);
        let Some(Command::Write(command)) = &mut header.command else {
            unreachable!()
        };
        spoil(command);
        assert_eq!(code(&mut c, &header), "INVALID_VALUE");
    }
}

#[test]
fn a_filter_is_for_all_partitions_and_by_rules_that_are_known() {
    let mut c = with_dataset();
    let filter = |change: fn(&mut WriteCommand)| {
        let mut header = write(3, 1, 1);
        let Some(Command::Write(command)) = &mut header.command else {
            unreachable!()
        };
        command.set_kind(WriteKind::DeleteWhere);
        command.filter_semantics = FILTER_SEMANTICS;
        let range = command.ranges[0];
        command.ranges = [0, 1]
            .map(|partition| PartitionRange { partition, ..range })
            .into();
        change(command);
        header
    };
    assert_eq!(code(&mut c, &filter(|_| {})), "");
    assert_eq!(code(&mut c, &filter(|w| w.filter_semantics += 1)), "UNSUPPORTED");
    assert_eq!(code(&mut c, &filter(|w| w.filter_semantics = 0)), "UNSUPPORTED");
    assert_eq!(
        code(&mut c, &filter(|w| w.schema_version = 2)),
        "SCHEMA_VERSION_STALE"
    );
    let cases: [fn(&mut WriteCommand); 4] = [
        |w| w.ranges.truncate(1),
        |w| w.ranges.swap(0, 1),
        |w| w.ranges[1].length += 1,
        |w| w.ranges[0].offset += 1,
    ];
    for spoil in cases {
        assert_eq!(code(&mut c, &filter(spoil)), "INVALID_VALUE");
    }
    let mut header = write(3, 1, 1);
    if let Some(Command::Write(command)) = &mut header.command {
        command.filter_semantics = FILTER_SEMANTICS;
    }
    assert_eq!(code(&mut c, &header), "UNSUPPORTED", "rows have no filter");
}

#[test]
fn of_two_changes_of_one_schema_the_first_wins() {
    let mut c = with_dataset();
    assert_eq!(code(&mut c, &alter(4, 1, b"a")), "DATASET_NOT_FOUND");
    assert_eq!(code(&mut c, &alter(3, 1, b"a")), "");
    let lost = c.apply(c.applied_index() + 1, &alter(3, 1, b"b")).verdict;
    assert_eq!(
        (lost.code.as_str(), lost.field.as_str(), lost.limit.as_str()),
        ("SCHEMA_CONFLICT", "expected_version", "2")
    );
    assert!(
        lost.message.contains("version 2, not 1"),
        "it names the version it lost to: {}",
        lost.message
    );
    let dataset = c.dataset_by_name("d").unwrap();
    assert_eq!((dataset.schema_version, &dataset.schema[..]), (2, &b"a"[..]));
    assert_eq!(dataset.id, DatasetId(3));
    // Rows checked against the old version come too late; so would those of a version that is not there yet.
    assert_eq!(code(&mut c, &write(3, 1, 1)), "SCHEMA_VERSION_STALE");
    assert_eq!(code(&mut c, &write(3, 3, 1)), "SCHEMA_VERSION_STALE");
    assert_eq!(code(&mut c, &write(3, 2, 1)), "");
    assert_eq!(code(&mut c, &alter(3, 2, b"b")), "");
    assert_eq!(c.dataset_by_name("d").unwrap().schema_version, 3);
}

fn tick(time_ms: u64) -> EntryHeader {
    header(Command::Tick(TickCommand { time_ms }))
}

#[test]
fn log_time_is_the_highest_that_was_told() {
    let mut c = with_dataset();
    assert_eq!(c.log_time_ms(), 0);
    for (told, is) in [(7_000, 7_000), (6_000, 7_000), (0, 7_000), (7_001, 7_001)] {
        assert_eq!(code(&mut c, &tick(told)), "");
        assert_eq!(c.log_time_ms(), is);
    }
    let carried = Catalogue::from_proto(&c.to_proto(false)).unwrap();
    assert_eq!(carried.log_time_ms(), 7_001);
}

#[test]
fn there_are_ticks_while_rows_of_any_dataset_go() {
    let expiring = |header: EntryHeader| {
        let command = header.command.map(|command| match command {
            Command::CreateDataset(command) => Command::CreateDataset(CreateDatasetCommand {
                rows_expire: true,
                ..command
            }),
            Command::AlterDataset(command) => Command::AlterDataset(AlterDatasetCommand {
                rows_expire: true,
                ..command
            }),
            other => other,
        });
        EntryHeader { command, ..header }
    };
    let mut c = with_dataset();
    let plain = create(&c, "e", 1, 0);
    assert_eq!(code(&mut c, &plain), "");
    assert!(!c.rows_expire());
    assert_eq!(code(&mut c, &expiring(alter(3, 1, b"ttl"))), "");
    let carried = Catalogue::from_proto(&c.to_proto(true)).unwrap();
    assert!(c.rows_expire() && carried == c);
    assert_eq!(code(&mut c, &alter(3, 2, b"none")), "");
    assert!(!c.rows_expire());
    let made = expiring(create(&c, "f", 1, 0));
    assert_eq!(code(&mut c, &made), "");
    assert!(c.rows_expire());
    let id = c.dataset_by_name("f").unwrap().id;
    assert_eq!(code(&mut c, &drop_dataset(id.0)), "");
    assert!(!c.rows_expire());
}

#[test]
fn a_retry_gets_the_first_answer_and_has_no_effect() {
    let mut c = with_dataset();
    assert_eq!(code(&mut c, &from(4, 1, write(3, 1, 1))), "UNKNOWN_PRODUCER");
    assert_eq!(code(&mut c, &open()), "");
    assert!(c.has_producer(5));
    let first = c.apply(6, &from(5, 1, write(3, 1, 1)));
    assert!(first.takes_effect());
    let refused = c.apply(7, &from(5, 2, write(9, 1, 1)));
    assert_eq!(refused.verdict.code, "DATASET_NOT_FOUND");
    let again = c.apply(8, &from(5, 1, write(3, 1, 1)));
    assert_eq!(
        (again.index, again.duplicate, again.takes_effect()),
        (6, true, false)
    );
    assert_eq!(again.verdict, first.verdict);
    // The refusal is remembered too, whatever the retry carries.
    let again = c.apply(9, &from(5, 2, write(3, 1, 1)));
    assert_eq!((again.index, again.verdict), (7, refused.verdict));
    assert_eq!(code(&mut c, &from(5, 0, write(3, 1, 1))), "INVALID_VALUE");
}

#[test]
fn what_the_window_forgot_is_refused() {
    let mut c = with_dataset();
    c.apply(4, &open());
    let last = ANSWERS_MAX as u64 + 3;
    for sequence in 2..=last {
        assert_eq!(code(&mut c, &from(4, sequence, write(3, 1, 1))), "");
    }
    for old in [1, 2, 3] {
        assert_eq!(code(&mut c, &from(4, old, write(3, 1, 1))), "SEQUENCE_TOO_OLD");
    }
    let lowest = last - ANSWERS_MAX as u64 + 1;
    let index = c.applied_index() + 1;
    assert!(c.apply(index, &from(4, lowest, write(3, 1, 1))).duplicate);
}

#[test]
fn the_most_silent_producer_is_forgotten() {
    let mut c = with_dataset();
    c.apply(4, &open());
    c.apply(5, &open());
    c.apply(6, &from(4, 1, write(3, 1, 1)));
    for _ in 0..PRODUCERS_MAX - 1 {
        assert_eq!(code(&mut c, &open()), "");
    }
    assert!(c.has_producer(4) && !c.has_producer(5));
}

#[test]
fn entries_are_applied_in_order() {
    let mut c = with_dataset();
    let before = c.clone();
    assert_eq!(c.apply(3, &register("late")).verdict.code, "INTERNAL");
    assert_eq!(c, before);
    assert_eq!(code(&mut c, &EntryHeader::default()), "");
    assert_eq!(code(&mut c, &from(0, 1, EntryHeader::default())), "UNSUPPORTED");
}

#[derive(Debug, Clone)]
enum Step {
    Register(u8),
    Create(u8, u32, u32),
    Drop(u64),
    Alter(u64, u32),
    Open,
    Write(u64, u32),
    Nothing,
}

fn step() -> impl Strategy<Value = (u64, u64, Step)> {
    let step = prop_oneof![
        (0u8..4).prop_map(Step::Register),
        (0u8..4, 0u32..5, 0u32..4).prop_map(|(n, p, r)| Step::Create(n, p, r)),
        (1u64..30).prop_map(Step::Drop),
        (1u64..30, 1u32..4).prop_map(|(d, v)| Step::Alter(d, v)),
        Just(Step::Open),
        (1u64..30, 1u32..3).prop_map(|(d, v)| Step::Write(d, v)),
        Just(Step::Nothing),
    ];
    (0u64..12, 0u64..4, step)
}

fn entry(catalogue: &Catalogue, (producer, sequence, step): &(u64, u64, Step)) -> EntryHeader {
    let header = match step {
        Step::Register(n) => register(&format!("s{n}")),
        Step::Create(n, partitions, copies) => create(catalogue, &format!("d{n}"), *partitions, *copies),
        Step::Drop(dataset) => drop_dataset(*dataset),
        Step::Alter(dataset, version) => alter(*dataset, *version, b"altered"),
        Step::Open => open(),
        Step::Write(dataset, version) => write(*dataset, *version, 1),
        Step::Nothing => return EntryHeader::default(),
    };
    from(*producer, *sequence, header)
}

proptest! {
    /// Two state machines, one of which is turned into a message and back after each entry, give equal answers.
    #[test]
    fn apply_is_deterministic_and_survives_messages(steps in proptest::collection::vec(step(), 1..60)) {
        let mut kept = Catalogue::new();
        let mut carried = Catalogue::new();
        for (index, step) in (1u64..).zip(&steps) {
            let header = entry(&kept, step);
            prop_assert_eq!(kept.apply(index, &header), carried.apply(index, &header));
            carried = Catalogue::from_proto(&carried.to_proto(true)).unwrap();
            prop_assert_eq!(&kept, &carried);
        }
        let names: Vec<_> = kept.datasets().map(|d| d.name.clone()).collect();
        prop_assert!(names.is_sorted());
        prop_assert!(kept.to_proto(false).producers.is_empty());
    }

    #[test]
    fn messages_never_panic(producers in proptest::collection::vec((any::<u64>(),
                            proptest::collection::vec((any::<u64>(), any::<u64>()), 0..4)), 0..4)) {
        let producers = producers.into_iter().map(|(producer, answers)| internal_producer(producer, answers));
        let message = longbow_wire::internal::Catalogue { producers: producers.collect(), ..Default::default() };
        if let Ok(catalogue) = Catalogue::from_proto(&message) {
            prop_assert_eq!(catalogue.to_proto(true).producers.len(), message.producers.len());
        }
    }
}

fn internal_producer(producer: u64, answers: Vec<(u64, u64)>) -> longbow_wire::internal::CatalogueProducer {
    let answers = answers
        .into_iter()
        .map(|(sequence, index)| longbow_wire::internal::ProducerAnswer {
            sequence,
            index,
            verdict: None,
        });
    longbow_wire::internal::CatalogueProducer {
        producer,
        answers: answers.collect(),
    }
}
