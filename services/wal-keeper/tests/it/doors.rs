//! Who may do what.

use bytes::Bytes;
use longbow_node::{
    identity::Identity,
    rpc::{ClusterAuth, Peers},
    shutdown::Shutdown,
};
use longbow_types::{ErrorCode, Role};
use longbow_wire::{
    convert::status::from_status,
    internal::{
        AppendRequest, EntryHeader, GetCatalogueRequest, RaftMessage, RaftRequest, ReadIndexRequest,
        ResetKeeperLatchRequest, TailRequest, keeper_service_client::KeeperServiceClient,
    },
};
use prost::Message;

use crate::cluster::{Keepers, Node, SECRET, create, node_id, open_producer, register, write};

fn request(header: &EntryHeader, body: &'static [u8]) -> AppendRequest {
    AppendRequest {
        header: header.encode_to_vec().into(),
        body: Bytes::from_static(body),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_routers_append_and_only_members_vote() {
    let keepers = Keepers::started(1).await;
    let addr = keepers.addr(0);
    let shard = Node::join(&keepers, Role::Shard, "s1").await;
    let router = Node::join(&keepers, Role::Router, "r1").await;
    let stranger = Node::join(&keepers, Role::WalKeeper, "k9").await;
    let code = |status: tonic::Status| from_status(&status).code;

    for header in [open_producer(), create("d"), register("s2")] {
        let error = shard
            .keeper(addr)
            .append(request(&header, b""))
            .await
            .unwrap_err();
        assert_eq!(code(error), ErrorCode::RoleNotAllowed);
    }
    // Its own registration is a shard's one append.
    shard
        .keeper(addr)
        .append(request(&register("s1"), b""))
        .await
        .unwrap();
    let error = stranger
        .keeper(addr)
        .append(request(&open_producer(), b""))
        .await
        .unwrap_err();
    assert_eq!(code(error), ErrorCode::RoleNotAllowed);
    let error = stranger
        .keeper(addr)
        .tail(TailRequest {
            from_index: 1,
            ..Default::default()
        })
        .await
        .unwrap_err();
    assert_eq!(code(error), ErrorCode::RoleNotAllowed);
    for node in [&router, &stranger] {
        let error = node.keeper(addr).get_catalogue(GetCatalogueRequest {}).await;
        assert_eq!(code(error.unwrap_err()), ErrorCode::RoleNotAllowed);
    }
    let error = shard
        .keeper(addr)
        .reset_keeper_latch(ResetKeeperLatchRequest::default())
        .await
        .unwrap_err();
    assert_eq!(code(error), ErrorCode::RoleNotAllowed);

    let vote = RaftMessage {
        msg_type: 5,
        to: 1,
        from: 2,
        term: 1_000,
        ..RaftMessage::default()
    };
    let messages = || {
        tokio_stream::iter([RaftRequest {
            messages: vec![vote.clone()],
        }])
    };
    for node in [&router, &stranger] {
        let error = node.keeper(addr).raft(messages()).await.unwrap_err();
        assert_eq!(code(error), ErrorCode::RoleNotAllowed);
    }
    // Nothing of this disturbed the term.
    let status = router
        .keeper(addr)
        .get_keeper_status(longbow_wire::internal::GetKeeperStatusRequest {})
        .await
        .unwrap();
    assert_eq!(status.get_ref().term, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_clusters_and_wrong_secrets_are_refused() {
    let keepers = Keepers::started(1).await;
    let cases = [
        ("other", SECRET, ErrorCode::WrongCluster),
        ("test", "another secret of the tests", ErrorCode::Unauthenticated),
    ];
    for (cluster, secret, expected) in cases {
        let identity = Identity {
            cluster_id: cluster.parse().unwrap(),
            node_id: node_id("r1"),
            role: Role::Router,
            generation: 1,
        };
        let peers = Peers::new(ClusterAuth::new(&identity, secret.as_bytes()));
        let mut keeper = KeeperServiceClient::new(peers.channel(keepers.addr(0)));
        let error = keeper.append(request(&open_producer(), b"")).await.unwrap_err();
        assert_eq!(from_status(&error).code, expected);
        let error = keeper.read_index(ReadIndexRequest {}).await.unwrap_err();
        assert_eq!(from_status(&error).code, expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_appends_are_refused_and_write_nothing() {
    let keepers = Keepers::started(1).await;
    let addr = keepers.addr(0);
    let router = Node::join(&keepers, Role::Router, "r1").await;
    let before = router
        .keeper(addr)
        .read_index(ReadIndexRequest {})
        .await
        .unwrap()
        .into_inner()
        .index;
    let garbage = AppendRequest {
        header: Bytes::from_static(b"\xff\xff\xff\xff"),
        body: Bytes::new(),
    };
    let huge = AppendRequest {
        body: Bytes::from(vec![0; 9 << 20]),
        ..request(&open_producer(), b"")
    };
    let cases = [
        (AppendRequest::default(), ErrorCode::MissingField),
        (garbage, ErrorCode::InvalidValue),
        (huge, ErrorCode::TooLarge),
        (
            request(
                &EntryHeader {
                    producer: 3,
                    ..EntryHeader::default()
                },
                b"",
            ),
            ErrorCode::Unsupported,
        ),
        (request(&open_producer(), b"what for"), ErrorCode::InvalidValue),
        (
            request(&write(1, 0, 0, b"shorter"), b"longer than that"),
            ErrorCode::InvalidValue,
        ),
        (
            request(&write(1, 0, 0, b"longer than that"), b"shorter"),
            ErrorCode::InvalidValue,
        ),
    ];
    for (request, expected) in cases {
        let error = router.keeper(addr).append(request).await.unwrap_err();
        assert_eq!(from_status(&error).code, expected);
    }
    let error = router
        .keeper(addr)
        .tail(TailRequest {
            from_index: 0,
            ..Default::default()
        })
        .await
        .unwrap_err();
    assert_eq!(from_status(&error).code, ErrorCode::InvalidValue);
    let after = router
        .keeper(addr)
        .read_index(ReadIndexRequest {})
        .await
        .unwrap()
        .into_inner()
        .index;
    assert_eq!(before, after);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_path_belongs_to_one_cluster_and_keeper() {
    let mut keepers = Keepers::started(1).await;
    keepers.kill(0).await;
    let mut other = keepers.config(0);
    other.node.cluster_id = "other".parse().unwrap();
    assert!(longbow_wal_keeper::start(other, Shutdown::new()).await.is_err());
    // Even where the node's own file is gone the log knows whose it is.
    std::fs::remove_file(keepers.data_path(0).join("node.json")).unwrap();
    let mut other = keepers.config(0);
    other.node.cluster_id = "other".parse().unwrap();
    let error = longbow_wal_keeper::start(other, Shutdown::new())
        .await
        .err()
        .unwrap();
    let error = error.downcast::<longbow_types::Error>().unwrap();
    assert_eq!(error.code, ErrorCode::WrongCluster);
    std::fs::remove_file(keepers.data_path(0).join("node.json")).unwrap();
    keepers.start(0).await;
    keepers.ready().await;
}
