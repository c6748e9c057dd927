//! Does a defect that one entry brings to light stop one replica, and nobody else?

use std::collections::BTreeMap;
use std::sync::Arc;

use longbow_storage::{Options, WriteKind};
use longbow_types::DatasetId;

use super::{Actors, Place};
use crate::apply::{Op, Work, Write};
use crate::partition::Key;
use crate::state::State;
use crate::state::tests::{schema, upsert_body};

fn key(ordinal: u32) -> Key {
    Key {
        dataset: DatasetId(3),
        ordinal,
    }
}

fn upsert(index: u64) -> Op {
    let work = Work::Write(Write {
        kind: WriteKind::Upsert,
        body: Some(upsert_body(&[index])),
        rows: 1,
    });
    Op { index, work }
}

fn defect(index: u64) -> Op {
    let work = Work::Defect;
    Op { index, work }
}

#[tokio::test]
async fn a_panic_stops_one_replica_at_the_entry_before() {
    let state = Arc::new(State::new("shard-1".parse().unwrap()));
    // One thread for both, which lives on.
    let actors = Actors::start(1, Options::default(), Arc::clone(&state)).unwrap();
    let place = Place {
        dataset: DatasetId(3),
        name: "d".into(),
        schema: schema(),
        partitions: vec![0, 1],
    };
    actors.place(place).await.unwrap();
    let deliver = async |entries: [(u32, Vec<Op>); 2]| {
        let entries: BTreeMap<Key, Vec<Op>> = entries
            .into_iter()
            .map(|(ordinal, ops)| (key(ordinal), ops))
            .collect();
        actors.deliver(entries).await.unwrap();
    };
    deliver([
        (0, vec![upsert(5), defect(6), upsert(7)]),
        (1, vec![upsert(5), upsert(7)]),
    ])
    .await;
    deliver([(0, vec![upsert(8)]), (1, vec![upsert(8)])]).await;
    let partitions = state.partitions();
    let of = |ordinal: u32| {
        let partition = &partitions[&key(ordinal)];
        let read = partition.read(8);
        (
            read.view.rows(),
            read.state.applied_index,
            partition.stopped().map(str::to_owned),
        )
    };
    let why = "entry 6: panic: a defect at 6".to_owned();
    assert_eq!(of(0), (1, 5, Some(why)));
    assert_eq!(of(1), (3, 8, None));
    // It is as if the entry had not come: a batch that holds nothing else leaves what was there, readable.
    actors
        .place(Place {
            dataset: DatasetId(9),
            name: "e".into(),
            schema: schema(),
            partitions: vec![0],
        })
        .await
        .unwrap();
    let other = Key {
        dataset: DatasetId(9),
        ordinal: 0,
    };
    actors.deliver([(other, vec![defect(10)])].into()).await.unwrap();
    let read = state.partitions()[&other].read(10);
    assert_eq!((read.view.rows(), read.state.applied_index), (0, 9));
    tokio::task::spawn_blocking(move || actors.stop()).await.unwrap();
}
