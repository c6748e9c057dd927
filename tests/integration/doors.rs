//! Internal doors: without the cluster's secret nobody appends, tails, searches or speaks raft.

use longbow_harness::load::channel;
use longbow_types::ErrorCode;
use longbow_wire::{
    convert::status::from_status,
    internal::{
        AppendRequest, GetKeeperStatusRequest, GetShardStatusRequest, RaftRequest, ReadIndexRequest,
        SearchPartitionsRequest, TailRequest, WatchCatalogueRequest,
        keeper_service_client::KeeperServiceClient, shard_service_client::ShardServiceClient,
    },
};
use tonic::Status;

use crate::shared::small_cluster;

fn refused<T: std::fmt::Debug>(what: &str, outcome: Result<T, Status>) {
    let error = from_status(&outcome.expect_err(what));
    assert_eq!(error.code, ErrorCode::Unauthenticated, "{what}: {error}");
}

#[tokio::test]
async fn a_stranger_gets_nothing_from_a_keeper() {
    let cluster = small_cluster();
    let addr = &cluster.of_role("wal-keeper").next().unwrap().rpc_addr;
    let mut keeper = KeeperServiceClient::new(channel(&format!("http://{addr}")).unwrap());
    refused("append", keeper.append(AppendRequest::default()).await);
    refused("read index", keeper.read_index(ReadIndexRequest {}).await);
    refused(
        "tail",
        keeper
            .tail(TailRequest {
                from_index: 1,
                ..Default::default()
            })
            .await,
    );
    refused("watch", keeper.watch_catalogue(WatchCatalogueRequest {}).await);
    refused(
        "status",
        keeper.get_keeper_status(GetKeeperStatusRequest {}).await,
    );
    let messages = futures::stream::iter([RaftRequest::default()]);
    refused("raft", keeper.raft(messages).await);
}

#[tokio::test]
async fn a_stranger_gets_nothing_from_a_shard() {
    let cluster = small_cluster();
    let addr = &cluster.of_role("shard").next().unwrap().rpc_addr;
    let mut shard = ShardServiceClient::new(channel(&format!("http://{addr}")).unwrap());
    refused(
        "search",
        shard.search_partitions(SearchPartitionsRequest::default()).await,
    );
    refused("status", shard.get_shard_status(GetShardStatusRequest {}).await);
}
