//! Who says in the log what time it is, and when.

use longbow_types::{ErrorCode, Role};
use longbow_wire::{
    entry::decode_header,
    internal::{
        AlterDatasetCommand, EntryHeader, TailPartitions, TailRequest, TickCommand, entry_header::Command,
    },
};

use crate::{
    cluster::{Keepers, Node, PATIENCE, create, dataset, header},
    tail::{open, read_to},
};

fn expiring(name: &str) -> EntryHeader {
    let mut created = create(name);
    if let Some(Command::CreateDataset(command)) = &mut created.command {
        command.rows_expire = true;
    }
    created
}

fn time_of(encoded: &bytes::Bytes) -> Option<u64> {
    match decode_header(encoded).unwrap().command {
        Some(Command::Tick(tick)) => Some(tick.time_ms),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_are_ticks_while_rows_of_some_dataset_go() {
    let keepers = Keepers::started(1).await;
    let router = Node::join(&keepers, Role::Router, "r1").await;
    let shard = Node::join(&keepers, Role::Shard, "s1").await;
    let plain = dataset(&router, "plain").await;
    let created = router.append(&expiring("brief"), &[]).await.unwrap();
    assert_eq!(created.verdict.unwrap().code, "");
    // Of a reader that wants no rows at all, too.
    let request = TailRequest {
        from_index: 1,
        partitions: [plain, created.index]
            .map(|dataset_id| TailPartitions {
                dataset_id,
                partitions: Vec::new(),
            })
            .to_vec(),
    };
    let mut tail = shard
        .keeper(keepers.addr(0))
        .tail(request)
        .await
        .unwrap()
        .into_inner();
    let (mut before, mut ticks) = (0, Vec::new());
    while ticks.len() < 3 {
        let message = tokio::time::timeout(PATIENCE, tail.message())
            .await
            .expect("time goes on");
        for entry in message.unwrap().unwrap().entries {
            let time = time_of(&entry.header);
            before += usize::from(time.is_some() && entry.index < created.index);
            ticks.extend(time);
        }
    }
    assert_eq!(before, 0, "nothing went by it then");
    assert!(ticks.is_sorted() && ticks[0] > 1_600_000_000_000, "{ticks:?}");

    // Rows stay from now on. What was on its way may come yet, and then nothing does.
    let stay = AlterDatasetCommand {
        dataset_id: created.index,
        schema_version: 1,
        ..AlterDatasetCommand::default()
    };
    let altered = router
        .append(&header(Command::AlterDataset(stay)), &[])
        .await
        .unwrap();
    let mut last = altered.index;
    for _ in 0..20 {
        last = router.open_producer().await;
    }
    let mut whole = open(&shard, &keepers, 0, 1).await;
    let entries = read_to(&mut whole, 1, last).await;
    let late = entries.iter().filter(|entry| entry.index > altered.index + 1);
    assert_eq!(late.filter_map(|entry| time_of(&entry.header)).count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_else_says_what_time_it_is() {
    let keepers = Keepers::started(1).await;
    let router = Node::join(&keepers, Role::Router, "r1").await;
    let tick = header(Command::Tick(TickCommand { time_ms: u64::MAX }));
    let error = router.append(&tick, &[]).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::RoleNotAllowed);
    assert_eq!(error.field.as_deref(), Some("header.command"));
}
