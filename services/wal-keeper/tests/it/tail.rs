//! What shards read.

use bytes::Bytes;
use longbow_types::Role;
use longbow_wire::internal::{TailEntry, TailRequest, TailResponse};
use tonic::Streaming;

use crate::cluster::{Keepers, Node, PATIENCE, dataset, write};

pub async fn open(node: &Node, keepers: &Keepers, at: usize, from_index: u64) -> Streaming<TailResponse> {
    let request = TailRequest { from_index };
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
