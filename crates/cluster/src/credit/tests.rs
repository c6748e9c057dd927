//! The wishes, one by one, and over arbitrary histories.

use longbow_wire::internal::{self, CatalogueDataset, PartitionRange, ReplicaCredit, ReplicaSet};
use proptest::prelude::*;

use super::*;

const DATASET: u64 = 4;
const BUDGET: u64 = 1_000_000;

fn node(id: &str) -> NodeId {
    id.parse().unwrap()
}

/// One dataset, whose partition 0 is on both shards, 1 on the first and 2 on the second.
fn catalogue() -> Catalogue {
    let set = |nodes: &[&str]| ReplicaSet {
        node_ids: nodes.iter().map(|&node| node.to_owned()).collect(),
    };
    let dataset = CatalogueDataset {
        dataset_id: DATASET,
        name: "d".to_owned(),
        schema_version: 1,
        partitions: vec![set(&["s1", "s2"]), set(&["s1"]), set(&["s2"])],
        ..CatalogueDataset::default()
    };
    Catalogue::from_proto(&internal::Catalogue {
        applied_index: DATASET,
        datasets: vec![dataset],
        shards: vec!["s1".to_owned(), "s2".to_owned()],
        map_epoch: 1,
        ..internal::Catalogue::default()
    })
    .unwrap()
}

fn write(kind: WriteKind, ranges: &[(u32, u64)]) -> WriteCommand {
    let range = |&(partition, length): &(u32, u64)| PartitionRange {
        partition,
        length,
        ..PartitionRange::default()
    };
    WriteCommand {
        dataset_id: DATASET,
        kind: kind as i32,
        ranges: ranges.iter().map(range).collect(),
        ..WriteCommand::default()
    }
}

fn rows(partition: u32, bytes: u64) -> WriteCommand {
    write(WriteKind::Upsert, &[(partition, bytes)])
}

/// Every partition's rows take twice their bytes, and those that find a free slot half.
fn credit(applied_index: u64, free_bytes: u64, reusable_bytes: u64) -> ShardCredit {
    let replica = |partition| ReplicaCredit {
        dataset_id: DATASET,
        partition,
        reusable_bytes,
        reused_growth_permille: 500,
        growth_permille: 2_000,
    };
    ShardCredit {
        applied_index,
        free_bytes,
        budget_bytes: BUDGET,
        replicas: (0..3).map(replica).collect(),
    }
}

struct Scene {
    ledger: Ledger,
    catalogue: Catalogue,
    now: Instant,
}

impl Scene {
    fn new() -> Self {
        Self {
            ledger: Ledger::new(500, DATASET),
            catalogue: catalogue(),
            now: Instant::now(),
        }
    }

    fn tell(&mut self, shard: &str, credit: &ShardCredit) {
        self.ledger.report(&node(shard), Some(credit), self.now);
    }

    fn admits(&self, write: &WriteCommand) -> Result<(), Error> {
        self.ledger.admits(write, &self.catalogue, self.now)
    }

    fn log(&mut self, index: u64, write: &WriteCommand) {
        self.ledger.logged(index, write, &self.catalogue);
    }
}

#[test]
fn rows_are_let_in_as_long_as_the_memory_that_they_take_is_free() {
    let mut scene = Scene::new();
    scene.tell("s1", &credit(4, 1_000, 0));
    scene.tell("s2", &credit(4, 1_000_000, 0));
    scene.admits(&rows(1, 500)).unwrap();
    let error = scene.admits(&rows(1, 501)).unwrap_err();
    assert_eq!(error.code, ErrorCode::MemoryFull);
    assert_eq!(
        (error.field.as_deref(), error.limit.as_deref()),
        (Some("shard.memory_budget"), Some("1000000"))
    );
    assert_eq!(error.retry_after, Some(RETRY_AFTER));
    assert!(error.message.contains("s1"), "{error}");
    // The memory is the shard's, whichever of its partitions takes it, and every replica needs it.
    scene.log(5, &rows(1, 300));
    scene.admits(&rows(0, 200)).unwrap();
    scene.admits(&rows(0, 201)).unwrap_err();
    scene.admits(&rows(2, 400_000)).unwrap();
    scene
        .admits(&write(WriteKind::UpsertIf, &[(2, 1), (1, 201)]))
        .unwrap_err();
    // Applied: what is free tells it.
    scene.tell("s1", &credit(5, 400, 0));
    scene.admits(&rows(1, 200)).unwrap();
    scene.admits(&rows(1, 201)).unwrap_err();
}

#[test]
fn rows_that_find_a_free_slot_take_less() {
    let mut scene = Scene::new();
    scene.tell("s1", &credit(4, 1_000, 1_000));
    // 1,000 bytes by halves and 250 twice over.
    scene.admits(&rows(1, 1_250)).unwrap();
    scene.admits(&rows(1, 1_251)).unwrap_err();
    scene.log(5, &rows(1, 1_000));
    scene.admits(&rows(1, 250)).unwrap();
    scene.admits(&rows(1, 251)).unwrap_err();
}

#[test]
fn an_entry_is_charged_once_and_until_it_is_applied() {
    let mut scene = Scene::new();
    scene.tell("s1", &credit(4, 1_000, 0));
    scene.log(5, &rows(1, 200));
    scene.log(5, &rows(1, 200));
    scene.log(6, &rows(1, 200));
    scene.admits(&rows(1, 100)).unwrap();
    scene.admits(&rows(1, 101)).unwrap_err();
    scene.tell("s1", &credit(5, 600, 0));
    scene.admits(&rows(1, 100)).unwrap();
    scene.admits(&rows(1, 101)).unwrap_err();
    // Another leader's entry took the place of the last: it may be charged in addition, but not forgotten.
    scene.ledger.rewind(5);
    scene.log(6, &rows(1, 50));
    scene.admits(&rows(1, 100)).unwrap_err();
    scene.tell("s1", &credit(6, 500, 0));
    scene.admits(&rows(1, 250)).unwrap();
}

#[test]
fn deletes_are_let_in_when_rows_are_not() {
    let mut scene = Scene::new();
    scene.tell("s1", &credit(4, 0, 0));
    for kind in [
        WriteKind::Upsert,
        WriteKind::UpsertIf,
        WriteKind::Update,
        WriteKind::Unspecified,
    ] {
        scene.admits(&write(kind, &[(1, 1)])).unwrap_err();
    }
    for kind in [WriteKind::Delete, WriteKind::DeleteIf, WriteKind::DeleteWhere] {
        scene.admits(&write(kind, &[(1, RESERVE_BYTES)])).unwrap();
        scene.admits(&write(kind, &[(1, RESERVE_BYTES + 1)])).unwrap_err();
    }
    scene.log(5, &write(WriteKind::Delete, &[(1, RESERVE_BYTES)]));
    let error = scene.admits(&write(WriteKind::Delete, &[(1, 1)])).unwrap_err();
    assert_eq!(
        (error.code, error.retry_after),
        (ErrorCode::MemoryFull, Some(RETRY_AFTER))
    );
    scene.tell("s1", &credit(5, 0, 0));
    scene.admits(&write(WriteKind::Delete, &[(1, 1)])).unwrap();
}

#[test]
fn a_silent_shard_is_given_so_much_and_holds_nobody_up() {
    let mut scene = Scene::new();
    scene.log(5, &rows(1, 300));
    scene.admits(&rows(1, 200)).unwrap();
    let error = scene.admits(&rows(1, 201)).unwrap_err();
    assert_eq!(
        (error.code, error.field.as_deref()),
        (ErrorCode::MemoryFull, Some("keeper.silent_credit_bytes"))
    );
    // Of partition 0, the other one tells.
    scene.tell("s2", &credit(5, 1_000_000, 0));
    scene.admits(&rows(0, 10_000)).unwrap();
    scene.log(6, &rows(0, 10_000));
    scene.admits(&rows(0, 10_000)).unwrap();
    // It falls silent, having applied nothing of that.
    scene.now += SILENT_AFTER + Duration::from_millis(1);
    scene.admits(&rows(0, 1)).unwrap_err();
    scene.admits(&write(WriteKind::Delete, &[(0, 1)])).unwrap();
    scene.tell("s1", &credit(6, 1_000_000, 0));
    scene.admits(&rows(0, 1)).unwrap();
}

#[test]
fn a_shard_that_does_not_know_how_to_tell_is_not_held_to_it() {
    let mut scene = Scene::new();
    scene.ledger.report(&node("s1"), None, scene.now);
    scene.log(5, &rows(1, 1 << 40));
    scene.admits(&rows(1, 1 << 40)).unwrap();
    // Once it has told, it is.
    scene.tell("s1", &credit(5, 10, 0));
    scene.ledger.report(&node("s1"), None, scene.now);
    scene.admits(&rows(1, 6)).unwrap_err();
}

#[test]
fn what_is_kept_is_bounded_and_goes_with_what_it_is_of() {
    let mut scene = Scene::new();
    scene.tell("s1", &credit(4, u64::MAX, 0));
    let many = 10 * CHARGES_MAX as u64;
    (0..many).for_each(|at| scene.log(5 + at, &rows(1, 1)));
    let shard = &scene.ledger.shards[&node("s1")];
    let charges = &shard.charges[&(DatasetId(DATASET), 1)];
    assert_eq!((charges.of.len(), charges.sum), (CHARGES_MAX, many));
    // What was added up stays until the last of it is applied.
    scene.tell("s1", &credit(5 + many - 2, 0, 0));
    scene.admits(&rows(1, 0)).unwrap_err();
    scene.tell("s1", &credit(5 + many - 1, 0, 0));
    scene.admits(&rows(1, 0)).unwrap();
    scene.log(many + 10, &rows(1, 1));
    scene.ledger.retain(&Catalogue::new());
    assert!(scene.ledger.shards.is_empty());
}

#[derive(Debug, Clone)]
enum Event {
    Write(u32, u64),
    Apply(usize),
    Report,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0u32..2, 1u64..60_000).prop_map(|(partition, bytes)| Event::Write(partition, bytes)),
        3 => (0usize..4).prop_map(Event::Apply),
        2 => Just(Event::Report),
    ]
}

proptest! {
    /// Of shard 1: what its rows take never exceeds its budget, whenever they are applied and told of.
    #[test]
    fn what_is_let_in_fits(events in proptest::collection::vec(event(), 1..200)) {
        let mut scene = Scene::new();
        let (mut index, mut applied, mut used) = (DATASET, DATASET, 0);
        let mut behind: VecDeque<u64> = VecDeque::new();
        scene.tell("s1", &credit(applied, BUDGET, 0));
        scene.tell("s2", &credit(applied, u64::MAX, 0));
        for event in events {
            match event {
                Event::Write(partition, bytes) => {
                    let write = rows(partition, bytes);
                    if scene.admits(&write).is_ok() {
                        index += 1;
                        scene.log(index, &write);
                        behind.push_back(bytes);
                    }
                }
                Event::Apply(count) => {
                    for bytes in behind.drain(..count.min(behind.len())) {
                        used += 2 * bytes;
                        applied += 1;
                    }
                }
                Event::Report => scene.tell("s1", &credit(applied, BUDGET - used, 0)),
            }
            prop_assert!(used + 2 * behind.iter().sum::<u64>() <= BUDGET);
        }
        // And nothing that fits is refused once all is applied and told of.
        used += 2 * behind.iter().sum::<u64>();
        scene.tell("s1", &credit(index, BUDGET - used, 0));
        prop_assert!(scene.admits(&rows(1, (BUDGET - used) / 2)).is_ok());
    }
}
