//! `longbow search --explain`, and the same from a program: what a search says of itself.

use longbow_client::{
    Ack, Client, Explanation, IdKind, Metric, Options, Row, SchemaBuilder, SearchPlan, VectorElement, col,
};
use rand::{Rng, SeedableRng, rngs::SmallRng};

use crate::shared::{longbow, small_cluster};

const DIMENSION: usize = 128;
/// So many that the graph is walked where a fifth match.
const ROWS: u64 = 16_000;
const NAME: &str = "explained";

fn vector(row: u64) -> Vec<f32> {
    let mut random = SmallRng::seed_from_u64(row);
    (0..DIMENSION)
        .map(|_| random.random_range(-1.0f32..1.0))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plans_counts_and_times_are_told() {
    let cluster = small_cluster();
    let client = Client::connect(cluster.endpoints(), Options::default())
        .await
        .unwrap();
    let schema = SchemaBuilder::new()
        .id("id", IdKind::U64)
        .vector("vector", DIMENSION, VectorElement::F32, Metric::L2)
        .int64("hundredth")
        .build()
        .unwrap();
    let dataset = client.dataset(NAME);
    dataset.create(&schema).partitions(1).await.unwrap();
    let rows = (0..ROWS).map(|id| {
        let row = Row::new(id).vector(vector(id));
        row.column("hundredth", (id % 100) as i64)
    });
    let written = dataset.upsert(rows).ack(Ack::Indexed).await.unwrap();

    let plans = [
        (100, SearchPlan::Walk),
        (97, SearchPlan::PostFilter),
        (50, SearchPlan::FilteredWalk),
        (19, SearchPlan::TwoHop),
        (1, SearchPlan::Scan),
    ];
    for (percent, plan) in plans {
        let mut search = dataset
            .search()
            .near(vector(ROWS))
            .ef(10)
            .filter(col("hundredth").lt(percent))
            .explain();
        if plan == SearchPlan::TwoHop {
            // Comparing codes of so few is cheaper than any walk.
            search = search.full_precision();
        }
        let found = search.await.unwrap();
        let Explanation {
            partitions,
            near,
            scatter,
            merge,
        } = found.explanation.expect("it was asked for");
        let [told] = partitions.as_slice() else {
            panic!("{partitions:?}")
        };
        let matching = ROWS * percent as u64 / 100;
        assert_eq!(
            (told.rows, told.rows_matching, told.rows_unlinked),
            (ROWS, matching, 0)
        );
        assert_eq!(told.planned, plan, "{told:?}");
        assert!(told.repeated || told.taken == plan, "{told:?}");
        assert!(told.applied_index >= found.hits[0].row_version);
        match plan {
            SearchPlan::Scan => assert_eq!((told.ef, told.hops), (0, 0)),
            _ => {
                assert!(told.ef >= 10 && told.hops > 0, "{told:?}");
                assert!(told.distances > told.hops, "{told:?}");
            }
        }
        assert!(told.refined <= told.distances);
        let times = told.times.by_name();
        let parts: std::time::Duration = times.iter().map(|(_, time)| *time).sum();
        assert!(parts <= scatter, "{times:?} in {scatter:?}");
        assert!(!told.times.graph.is_zero() && !told.times.fetch.is_zero() && !merge.is_zero());
        assert!(near <= scatter, "a vector that was sent is there at once");
    }

    let exact = dataset.search().near(vector(ROWS)).exact().explain();
    let exact = exact.at_least(&written.token).await.unwrap().explanation.unwrap();
    let told = &exact.partitions[0];
    assert_eq!(
        (told.planned, told.exact, told.distances),
        (SearchPlan::Scan, true, ROWS)
    );
    assert_eq!(told.expected_recall, Some(1.0));
    let silent = dataset.search().near(vector(ROWS)).await.unwrap();
    assert_eq!(silent.explanation, None);

    let line = [
        "search",
        NAME,
        "--id",
        "7",
        "--ef",
        "10",
        "--filter",
        "hundredth < 50",
        "--explain",
    ];
    let told = longbow(&cluster, &line);
    let told = &told["explanation"];
    assert_eq!(told["partitions"][0]["planned"], "filtered_walk", "{told}");
    assert_eq!(told["partitions"][0]["rows_matching"], ROWS / 2);
    assert!(told["near_nanos"].as_u64().unwrap() > 0);
    let silent = longbow(&cluster, &line[..8]);
    assert!(silent.get("explanation").is_none());
}
