//! What is a request answered that was made for another version of the schema than the shard has?

use bytes::Bytes;
use longbow_types::ErrorCode;
use longbow_wire::convert;
use longbow_wire::internal::entry_header::Command;
use longbow_wire::internal::*;
use prost::Message as _;

use crate::cluster::{Cluster, near};
use crate::rows::{columns, ids, schema};

fn alter(dataset: u64, schema_version: u32) -> (Command, Bytes) {
    let note = arrow::datatypes::Field::new("note", arrow::datatypes::DataType::Utf8, true);
    let next = schema().with_column(note, None).unwrap();
    let command = AlterDatasetCommand {
        dataset_id: dataset,
        schema_version,
        schema: convert::schema::to_proto(&next).encode_to_vec().into(),
        rows_expire: false,
    };
    (Command::AlterDataset(command), Bytes::new())
}

/// A search made for a version, of all columns.
fn made_for(dataset: u64, min_index: u64, version: u32) -> SearchPartitionsRequest {
    let mut search = near(dataset, min_index, 0.0, 10);
    search.target.as_mut().unwrap().schema_version = version;
    search.columns = vec!["*".into()];
    search
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_of_the_version_that_was_asked_for() {
    let cluster = Cluster::start(1).await;
    let dataset = cluster.create("d");
    let written = cluster.upsert(dataset, 1..=5, "x");
    let before = cluster.search(made_for(dataset, written, 1)).await.unwrap();
    assert!(!columns(&before.arrow_ipc).contains(&"note".to_owned()));

    // A shard that has not got there yet is not the one to ask.
    let early = cluster.search(made_for(dataset, written, 2)).await.unwrap_err();
    assert_eq!(early.code, ErrorCode::NoReplica, "{early}");
    assert!(early.retry_after.is_some());

    // One that is about to get there waits, whatever index it was told to wait for.
    let (waiting, altered) = tokio::join!(cluster.search(made_for(dataset, written, 2)), async {
        cluster.append(alter(dataset, 1))
    });
    let after = waiting.unwrap();
    assert_eq!(ids(&after.arrow_ipc), ids(&before.arrow_ipc));
    assert!(columns(&after.arrow_ipc).contains(&"note".to_owned()));

    let late = cluster.search(made_for(dataset, altered, 1)).await.unwrap_err();
    assert_eq!(
        (late.code, late.limit.as_deref()),
        (ErrorCode::SchemaVersionStale, Some("2")),
        "{late}"
    );
    // Whoever names no version is answered as it is.
    let any = cluster.search(made_for(dataset, altered, 0)).await.unwrap();
    assert_eq!(columns(&any.arrow_ipc), columns(&after.arrow_ipc));
}
