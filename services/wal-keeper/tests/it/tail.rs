//! What shards read.

use bytes::Bytes;
use longbow_types::Role;
use longbow_wire::internal::{
    PartitionRange, TailEntry, TailPartitions, TailRequest, TailResponse, entry_header::Command,
};
use tonic::Streaming;

use crate::cluster::{Keepers, Node, PATIENCE, dataset, write};

pub async fn open(node: &Node, keepers: &Keepers, at: usize, from_index: u64) -> Streaming<TailResponse> {
    let request = TailRequest {
        from_index,
        ..TailRequest::default()
    };
    node.keeper(keepers.addr(at))
        .tail(request)
        .await
        .unwrap()
        .into_inner()
}

/// Reads up to an index; checks that nothing is left out.
pub async fn read_to(stream: &mut Streaming<TailResponse>, from: u64, to: u64) -> Vec<TailEntry> {
    let mut entries: Vec<TailEntry> = Vec::new();
    while from + (entries.len() as u64) <= to {
        let message = tokio::time::timeout(PATIENCE, stream.message())
            .await
            .expect("the tail goes on");
        let message = message.unwrap().expect("the tail does not end");
        for entry in message.entries {
            assert_eq!(entry.index, from + entries.len() as u64, "the tail has no gaps");
            assert!(entry.index <= message.commit_index);
            entries.push(entry);
        }
    }
    entries
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tail_gives_everything_in_order_and_goes_on() {
    let keepers = Keepers::started(1).await;
    let router = Node::join(&keepers, Role::Router, "r1").await;
    let shard = Node::join(&keepers, Role::Shard, "s1").await;
    let id = dataset(&router, "d").await;
    let mut live = open(&shard, &keepers, 0, 1).await;
    let mut last = 0;
    let mut bodies = Vec::new();
    for n in 0..40u8 {
        // More than a segment in all, so that early ones are read from files.
        let body = vec![n; 20_000];
        last = router.append(&write(id, 0, 0, &body), &body).await.unwrap().index;
        bodies.push(Bytes::from(body));
    }
    let seen = read_to(&mut live, 1, last).await;
    let written: Vec<&Bytes> = seen
        .iter()
        .map(|entry| &entry.body)
        .filter(|body| !body.is_empty())
        .collect();
    assert_eq!(written, bodies.iter().collect::<Vec<_>>());
    // Raft's own entries have no header.
    assert!(seen[0].header.is_empty());

    // From the middle, and ahead of the log.
    let mut middle = open(&shard, &keepers, 0, last - 5).await;
    assert_eq!(
        read_to(&mut middle, last - 5, last).await[..],
        seen[seen.len() - 6..]
    );
    let mut ahead = open(&shard, &keepers, 0, last + 1).await;
    let first = ahead.message().await.unwrap().unwrap();
    assert_eq!((first.entries.len(), first.commit_index), (0, last));
    let body = b"one more";
    let next = router.append(&write(id, 0, 0, body), body).await.unwrap().index;
    assert_eq!(read_to(&mut ahead, last + 1, next).await[0].body[..], body[..]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_gets_the_rows_of_its_partitions_alone() {
    let keepers = Keepers::started(1).await;
    let router = Node::join(&keepers, Role::Router, "r1").await;
    let shard = Node::join(&keepers, Role::Shard, "s1").await;
    let id = dataset(&router, "d").await;
    let mut last = 0;
    for n in 0..40u8 {
        // More than a segment in all, so that early ones are read from files.
        let body = [vec![n; 12_000], vec![n + 100; 8_000]].concat();
        let mut header = write(id, 0, 0, &body);
        let Some(Command::Write(write)) = &mut header.command else {
            panic!("it writes")
        };
        let range = |partition, offset, length| PartitionRange {
            partition,
            offset,
            length,
            rows: 1,
        };
        write.ranges = vec![range(0, 0, 12_000), range(1, 12_000, 8_000)];
        last = router.append(&header, &body).await.unwrap().index;
    }
    let tail = async |partitions: Vec<TailPartitions>| {
        let request = TailRequest {
            from_index: 1,
            partitions,
        };
        let mut keeper = shard.keeper(keepers.addr(0));
        let mut stream = keeper.tail(request).await.unwrap().into_inner();
        read_to(&mut stream, 1, last).await
    };
    let of = |partitions: &[u32]| TailPartitions {
        dataset_id: id,
        partitions: partitions.to_vec(),
    };
    let whole = tail(Vec::new()).await;
    let second = tail(vec![of(&[1])]).await;
    let none = tail(vec![of(&[])]).await;
    for ((whole, second), none) in whole.iter().zip(&second).zip(&none) {
        assert_eq!((&whole.header, &whole.header), (&second.header, &none.header));
        assert!(none.body.is_empty());
        if whole.body.is_empty() {
            assert_eq!(whole, second);
            continue;
        }
        assert_eq!(whole.body[12_000..], second.body[..]);
        assert_eq!(
            (second.left_out_bytes, &second.kept_ranges[..]),
            (12_000, &[1][..])
        );
        assert_eq!(none.left_out_bytes, 20_000);
    }
}
