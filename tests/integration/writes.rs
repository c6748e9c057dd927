//! Writes that depend on what is there, and replicas that can be proved equal, while processes die.

use std::time::Duration;

use longbow_client::{
    Ack, Client, ClusterStatus, DatasetHandle, IdKind, Metric, Options, Row, SchemaBuilder, Value,
    VectorElement, col,
};
use longbow_harness::{
    cluster::{Cluster, PATIENCE, Shape},
    wait,
};
use longbow_types::ErrorCode;

use crate::shared::{binary, longbow};

const WRITERS: u64 = 4;
const ROUNDS: usize = 30;

fn counter(id: u64, count: i64) -> Row {
    let vector = vec![id as f32, count as f32];
    Row::new(id).vector(vector).column("count", count)
}

/// The count of a row, and its version.
async fn read(dataset: &DatasetHandle, id: u64) -> Option<(i64, u64)> {
    let found = dataset.get([id]).await.ok()?;
    let row = found.rows.into_iter().next()?;
    let Some(Value::I64(count)) = row.columns.get("count") else {
        panic!("{row:?} has no count")
    };
    Some((*count, row.row_version))
}

/// Raises the count of a row again and again, as one of many, and tells how often that certainly was done, and how often
/// nobody can say.
async fn raise(dataset: DatasetHandle, id: u64) -> (i64, i64) {
    let (mut done, mut unknown) = (0, 0);
    for _ in 0..ROUNDS {
        let Some((count, version)) = read(&dataset, id).await else {
            continue;
        };
        let raised = dataset
            .upsert([counter(id, count + 1)])
            .if_row_versions([version]);
        match raised.await {
            Ok(written) => {
                assert_eq!(written.ack, Ack::Applied);
                assert_eq!(written.rows, u64::from(written.unmatched.is_empty()));
                done += written.rows as i64;
            }
            Err(_) => unknown += 1,
        }
    }
    (done, unknown)
}

/// Whether every partition has replicas that were all changed last by one entry; they have one digest then.
pub fn agree(status: &ClusterStatus) -> bool {
    assert!(!status.partitions.is_empty());
    let differing = status
        .warnings
        .iter()
        .find(|warning| warning.contains("differ after"));
    assert_eq!(differing, None);
    status.partitions.iter().all(|partition| {
        let (one, others) = partition.replicas.split_first().unwrap();
        let meet = !others.is_empty()
            && others
                .iter()
                .all(|other| other.touched_index == one.touched_index);
        let known = partition.replicas.iter().all(|replica| replica.digest.is_some());
        if meet && known {
            assert!(
                others.iter().all(|other| other.digest == one.digest),
                "{partition:?}"
            );
        }
        meet && known
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counts_are_right_and_replicas_equal_although_processes_die() {
    let shape = Shape {
        keepers: 3,
        shards: 2,
        routers: 2,
    };
    // A snapshot after nearly every write, so that what starts again starts from one.
    let env = [("LONGBOW_SHARD_SNAPSHOT_EVERY".to_owned(), "1024".to_owned())];
    let mut cluster = Cluster::start_with(binary(), shape, &env).unwrap();
    let options = Options::default().timeout(Duration::from_secs(20));
    let client = Client::connect(cluster.endpoints(), options).await.unwrap();
    let schema = SchemaBuilder::new()
        .id("id", IdKind::U64)
        .vector("vector", 2, VectorElement::F32, Metric::L2)
        .int64("count")
        .build()
        .unwrap();
    let dataset = client.dataset("counters");
    dataset.create(&schema).await.unwrap();
    let ids = [1, 2, 3];
    let fresh = || ids.map(|id| counter(id, 0));
    let written = dataset.upsert(fresh()).if_absent().await.unwrap();
    assert_eq!((written.rows, written.unmatched.len()), (3, 0));
    let again = dataset.upsert(fresh()).if_absent().await.unwrap();
    assert_eq!((again.rows, again.unmatched), (0, vec![0, 1, 2]));

    let writers = (0..WRITERS).flat_map(|_| ids.map(|id| (id, tokio::spawn(raise(dataset.clone(), id)))));
    let writers: Vec<_> = writers.collect();
    for node in ["shard-1", "router-0", "shard-0"] {
        cluster.kill(node).unwrap();
        cluster.restart(node).unwrap();
        cluster.ready(node).await.unwrap();
    }
    let mut raised = ids.map(|_| (0, 0));
    for (id, writer) in writers {
        let (done, unknown) = writer.await.unwrap();
        let sum = &mut raised[id as usize - 1];
        *sum = (sum.0 + done, sum.1 + unknown);
    }
    for (id, (done, unknown)) in ids.into_iter().zip(raised) {
        let (count, _) = read(&dataset, id).await.unwrap();
        assert!(
            done > 0 && (done..=done + unknown).contains(&count),
            "{count} of {done} and {unknown}"
        );
    }

    let version = read(&dataset, 1).await.unwrap().1;
    let refused = dataset
        .delete([1_u64])
        .if_row_versions([version - 1])
        .await
        .unwrap();
    assert_eq!((refused.rows, refused.unmatched), (0, vec![0]));
    let shown = longbow(
        &cluster,
        &[
            "delete",
            "counters",
            "1",
            "--if-row-version",
            &version.to_string(),
        ],
    );
    assert_eq!(
        (&shown["deleted_ids"], &shown["ack"]),
        (&1.into(), &"applied".into())
    );
    assert_eq!(read(&dataset, 1).await, None);
    // The vector is not told, and stays.
    let row = Row::new(2_u64).column("count", 1_000_i64);
    let updated = dataset.update([row]).await.unwrap();
    assert_eq!((updated.rows, updated.ack), (1, Ack::Applied));
    assert_eq!(read(&dataset, 2).await.map(|(count, _)| count), Some(1_000));
    let three = dataset.upsert([5, 6, 7].map(|id| counter(id, -1))).await.unwrap();
    assert_eq!(three.rows, 3);
    let deleted = dataset
        .delete_where(col("count").lt(0).and(col("id").ne(6_u64)))
        .await
        .unwrap();
    assert_eq!((deleted.rows, deleted.ack), (2, Ack::Applied));
    let shown = longbow(&cluster, &["delete", "counters", "--where", "count < 0"]);
    assert_eq!(
        (&shown["deleted_rows"], &shown["ack"]),
        (&1.into(), &"applied".into())
    );
    assert_eq!(read(&dataset, 6).await, None);
    let twice = [counter(7, 1), counter(7, 2)];
    let error = dataset.upsert(twice).if_absent().await.unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidValue);

    wait::until("replicas to meet", PATIENCE, || async {
        let status = client.status().await?;
        anyhow::ensure!(agree(&status), "{:?}", status.partitions);
        Ok(())
    })
    .await
    .unwrap();
    let shown = longbow(&cluster, &["status"]);
    let replicas = &shown["partitions"][0]["replicas"];
    assert_eq!(replicas[0]["digest"], replicas[1]["digest"]);
    assert_eq!(replicas[0]["digest"].as_str().map(str::len), Some(32));
}
