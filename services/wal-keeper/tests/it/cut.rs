//! The log of the only keeper is damaged: it refuses to start, and goes on after it was cut knowingly.

use std::path::{Path, PathBuf};

use longbow_cluster::catalogue::Catalogue;
use longbow_node::shutdown::Shutdown;
use longbow_types::{Error, ErrorCode, Role};
use longbow_wal_keeper::cut::plan;
use longbow_wire::{
    convert::status::from_status,
    entry::decode_header,
    internal::{
        BeginIncarnationCommand, DurableReplica, GetCatalogueRequest, ReportDurableRequest,
        entry_header::Command,
    },
};

use crate::{
    cluster::{Keepers, Node, create, dataset, header, write},
    tail,
};

/// Flips a bit of an entry whose data begins like this, in whichever file of the log it stands.
fn damage(data_path: &Path, marker: &[u8]) -> PathBuf {
    let files = std::fs::read_dir(data_path.join("wal")).unwrap();
    let files = files.map(|file| file.unwrap().path());
    for path in files.filter(|path| path.extension().is_some_and(|ext| ext == "wal")) {
        let mut bytes = std::fs::read(&path).unwrap();
        let found = bytes.windows(marker.len()).position(|part| part == marker);
        if let Some(at) = found {
            bytes[at] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            return path;
        }
    }
    panic!("it is in no file");
}

async fn refusal(keepers: &Keepers) -> Error {
    let started = longbow_wal_keeper::start(keepers.config(0), Shutdown::new()).await;
    started.err().expect("it must not start").downcast().unwrap()
}

async fn catalogue(shard: &Node, keepers: &Keepers) -> Catalogue {
    let mut keeper = shard.keeper(keepers.addr(0));
    let told = keeper
        .get_catalogue(GetCatalogueRequest {})
        .await
        .unwrap()
        .into_inner();
    let catalogue = Catalogue::from_proto(&told.catalogue.unwrap()).unwrap();
    assert_eq!(told.incarnation, catalogue.incarnation());
    catalogue
}

/// A body that is found again on the disk.
fn body(number: u64) -> Vec<u8> {
    format!("the body with the number {number:04}").into_bytes()
}

/// Writes so many bodies; the indexes of their entries.
async fn fill(router: &Node, id: u64, numbers: std::ops::Range<u64>) -> Vec<u64> {
    let mut indexes = Vec::new();
    for number in numbers {
        let body = body(number);
        let answer = router.append(&write(id, 0, 0, &body), &body).await.unwrap();
        assert_eq!(answer.verdict.unwrap().code, "");
        indexes.push(answer.index);
    }
    indexes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_log_is_cut_where_it_is_told_and_begins_a_new_life() {
    let mut keepers = Keepers::started(1).await;
    let router = Node::join(&keepers, Role::Router, "r1").await;
    let shard = Node::join(&keepers, Role::Shard, "s1").await;
    let id = dataset(&router, "d").await;
    let indexes = fill(&router, id, 0..60).await;
    let lost = router.append(&create("lost"), &[]).await.unwrap().index;
    let answer = router.append(&write(id, 0, 0, b"last"), b"last").await.unwrap();
    assert_eq!(answer.incarnation, 1);
    keepers.kill(0).await;
    let path = keepers.data_path(0);
    assert!(plan(&path).unwrap().is_none(), "nothing is damaged");
    damage(&path, &body(40));

    let error = refusal(&keepers).await;
    assert_eq!(error.code, ErrorCode::Corruption);
    let command = format!("longbow wal cut {}", path.display());
    assert!(error.message.contains(&command), "{error}");

    // Telling changes nothing, and neither does an entry or a reason that does not fit.
    let told = plan(&path).unwrap().unwrap();
    let last = indexes[39];
    assert_eq!((told.first, told.last, told.incarnation), (1, last, 2));
    assert!(
        told.bound >= answer.index && error.message.starts_with(&told.damage),
        "{}",
        told.damage
    );
    let error = told.perform(&path, last + 1, "why").unwrap_err();
    let limit = last.to_string();
    assert_eq!(
        (error.code, error.limit.as_deref()),
        (ErrorCode::InvalidValue, Some(limit.as_str()))
    );
    for reason in [String::new(), "x".repeat(2_000)] {
        let error = plan(&path)
            .unwrap()
            .unwrap()
            .perform(&path, last, &reason)
            .unwrap_err();
        assert_eq!(
            (error.code, error.field.as_deref()),
            (ErrorCode::InvalidValue, Some("reason"))
        );
    }
    assert_eq!(refusal(&keepers).await.code, ErrorCode::Corruption);

    let told = plan(&path).unwrap().unwrap();
    let bound = told.bound;
    told.perform(&path, last, "a test").unwrap();
    assert!(plan(&path).unwrap().is_none());
    keepers.start(0).await;
    keepers.ready().await;

    // What stayed is there, the rest is not, and no index comes twice.
    let now = catalogue(&shard, &keepers).await;
    assert_eq!(now.incarnation(), 2);
    assert!(now.dataset_by_name("d").is_some() && now.dataset_by_name("lost").is_none());
    assert!(now.admits(1, last) && !now.admits(1, last + 1));
    let again = router.append(&create("lost"), &[]).await.unwrap();
    assert_eq!(again.incarnation, 2);
    assert!(again.index > bound && again.index > lost);
    let next = fill(&router, id, 100..101).await[0];
    let mut stream = tail::open(&shard, &keepers, 0, 1).await;
    let entries = tail::read_to(&mut stream, 1, next).await;
    for (number, index) in (0..).zip(&indexes) {
        let entry = &entries[*index as usize - 1];
        assert_eq!(entry.body == body(number), number < 40, "{number}");
    }
    let begun = decode_header(&entries[last as usize].header).unwrap().command;
    let expected = BeginIncarnationCommand {
        incarnation: 2,
        reason: "a test".to_owned(),
    };
    assert_eq!(begun, Some(Command::BeginIncarnation(expected.clone())));
    let between = &entries[last as usize + 1..bound as usize];
    assert!(
        between
            .iter()
            .all(|entry| entry.header.is_empty() && entry.body.is_empty())
    );

    // Nobody begins a life by asking, and what was durable in another counts for nothing.
    let error = router
        .append(&header(Command::BeginIncarnation(expected)), &[])
        .await
        .unwrap_err();
    assert_eq!(error.code, ErrorCode::RoleNotAllowed);
    for (incarnation, fits) in [(0, false), (1, false), (2, true), (3, false)] {
        let report = ReportDurableRequest {
            replicas: vec![DurableReplica {
                dataset_id: id,
                partition: 0,
                index: next,
            }],
            log_id: now.log_id(),
            incarnation,
            credit: None,
        };
        let told = shard.keeper(keepers.addr(0)).report_durable(report).await;
        match told.map_err(|status| from_status(&status)) {
            Ok(_) => assert!(fits),
            Err(error) => {
                assert!(!fits);
                assert_eq!(
                    (error.code, error.field.as_deref()),
                    (ErrorCode::WrongCluster, Some("incarnation"))
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_cut_before_the_first_has_a_number_of_its_own() {
    let mut keepers = Keepers::started(1).await;
    let router = Node::join(&keepers, Role::Router, "r1").await;
    let shard = Node::join(&keepers, Role::Shard, "s1").await;
    let id = dataset(&router, "d").await;
    let path = keepers.data_path(0);
    let mut most = 0;
    for (round, number) in [(2, 20), (3, 10)] {
        let from = 100 * round;
        let last = *fill(&router, id, if round == 2 { 0..30 } else { from..from + 30 })
            .await
            .last()
            .unwrap();
        assert!(last > most);
        keepers.kill(0).await;
        damage(&path, &body(number));
        let told = plan(&path).unwrap().unwrap();
        assert_eq!(u64::from(told.incarnation), round);
        assert!(told.bound >= last);
        (most, _) = (told.bound, ());
        let after = told.last;
        told.perform(&path, after, "again").unwrap();
        keepers.start(0).await;
        keepers.ready().await;
        let now = catalogue(&shard, &keepers).await;
        assert_eq!(u64::from(now.incarnation()), round);
        assert!(now.admits(1, after) && !now.admits(2, after + 1) || round == 2);
    }
    // Restarted, also without its checkpoint, it is the same.
    for wiped in [false, true] {
        keepers.kill(0).await;
        if wiped {
            std::fs::remove_dir_all(path.join("catalogue")).unwrap();
        }
        keepers.start(0).await;
        keepers.ready().await;
        assert_eq!(catalogue(&shard, &keepers).await.incarnation(), 3);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_others_can_repair_it_nothing_is_cut() {
    let mut keepers = Keepers::started(3).await;
    let router = Node::join(&keepers, Role::Router, "r1").await;
    let id = dataset(&router, "d").await;
    fill(&router, id, 0..20).await;
    let at = keepers.leader(&router).await;
    let path = keepers.data_path(at);
    assert_eq!(
        plan(&path).err().unwrap().code,
        ErrorCode::StorageFailed,
        "it runs"
    );
    keepers.kill(at).await;
    damage(&path, &body(5));
    let error = plan(&path).err().unwrap();
    assert_eq!(error.code, ErrorCode::QuorumAtRisk, "{error}");
    let nowhere = plan(&path.join("nowhere")).err().unwrap();
    assert_eq!(
        (nowhere.code, nowhere.field.as_deref()),
        (ErrorCode::InvalidValue, Some("DIR"))
    );
}
