//! Columns of decimals and of lists, through every door: the SDK, the command, and a batch of Arrow in other widths.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Decimal256Array, FixedSizeListArray, Float32Array, Int64Builder, LargeListBuilder, RecordBatch,
    StringViewArray, UInt64Array,
};
use arrow::datatypes::i256;
use arrow_schema::{DataType, Field};
use longbow_client::{Ack, Client, Filter, Options, Row, Value, col};
use longbow_types::ErrorCode;

use crate::shared::{longbow, small_cluster};

fn batch() -> RecordBatch {
    let item = Arc::new(Field::new("item", DataType::Float32, true));
    let vectors = FixedSizeListArray::new(item, 2, Arc::new(Float32Array::from(vec![1.0; 4])), None);
    let prices = Decimal256Array::from(vec![Some(i256::from_i128(199_900)), None]);
    let mut numbers = LargeListBuilder::new(Int64Builder::new());
    numbers.append_value([Some(7), None]);
    numbers.append_null();
    let columns: [(&str, ArrayRef); 5] = [
        ("id", Arc::new(UInt64Array::from(vec![3, 4]))),
        ("vector", Arc::new(vectors)),
        ("price", Arc::new(prices.with_precision_and_scale(50, 3).unwrap())),
        ("numbers", Arc::new(numbers.finish())),
        (
            "note",
            Arc::new(StringViewArray::from(vec![Some("a view"), None])),
        ),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn decimals_and_lists_come_back_as_they_were_and_are_found() {
    let cluster = small_cluster();
    let longbow = |line: &[&str]| longbow(&cluster, line);
    let columns = [
        "--column=price:decimal[10,2]",
        "--column=numbers:list<int32>",
        "--column=note:utf8",
        "--column=wide:decimal[60,1]",
        "--column=made:struct<by:utf8,year:int16>",
    ];
    let create = ["dataset", "create", "typed-columns", "--dimension=2"];
    let made = longbow(&[&create[..], &columns[..]].concat());
    assert_eq!(made["dataset"]["schema"]["columns"][2]["type"], "decimal[10,2]");
    assert_eq!(made["dataset"]["schema"]["columns"][3]["type"], "list<int32>");

    let client = Client::connect(cluster.endpoints(), Options::default())
        .await
        .unwrap();
    let dataset = client.dataset("typed-columns");
    let row = |id: u64, price: Value, numbers: Value| {
        let row = Row::new(id).vector(vec![id as f32, 1.0]);
        let wide = format!("{}.{id}", "7".repeat(59));
        let row = row.column("price", price).column("numbers", numbers);
        let made = BTreeMap::from([
            ("by".to_owned(), "me".into()),
            ("year".to_owned(), (1_990 + id).into()),
        ]);
        row.column("wide", wide).column("made", made)
    };
    let rows = [
        row(1, "12.34".into(), vec![1, 2, 3].into()),
        row(2, (-5).into(), Value::List(vec![Value::I64(3), Value::Null])),
    ];
    dataset.upsert(rows).await.unwrap();
    dataset.upsert_batches([batch()]).ack(Ack::Applied).await.unwrap();
    // A digit more than the column holds, a number wider than an item, and a list in a list.
    for (bad, code) in [
        (row(9, "0.001".into(), Value::Null), ErrorCode::TypeMismatch),
        (
            row(9, Value::Null, vec![1_i64 << 40].into()),
            ErrorCode::TypeMismatch,
        ),
        (
            row(9, Value::Null, Value::List(vec![Value::List(Vec::new())])),
            ErrorCode::TypeMismatch,
        ),
    ] {
        let error = dataset.upsert([bad]).await.unwrap_err();
        assert_eq!(error.code, code, "{error}");
    }

    let found = dataset.get(1..=4_u64).await.unwrap().rows;
    let cells: Vec<_> = found
        .iter()
        .map(|row| (row.columns["price"].clone(), row.columns["numbers"].clone()))
        .collect();
    let ints = |values: &[i64]| Value::List(values.iter().map(|&value| Value::I64(value)).collect());
    assert_eq!(
        cells,
        [
            ("12.34".into(), ints(&[1, 2, 3])),
            ("-5.00".into(), Value::List(vec![Value::I64(3), Value::Null])),
            ("199.90".into(), Value::List(vec![Value::I64(7), Value::Null])),
            (Value::Null, Value::Null),
        ]
    );
    assert_eq!(found[2].columns["note"], "a view".into());

    let wides: Vec<_> = found.iter().map(|row| row.columns["wide"].clone()).collect();
    let sevens = "7".repeat(59);
    let told = |id: u64| Value::from(format!("{sevens}.{id}"));
    assert_eq!(wides, [told(1), told(2), Value::Null, Value::Null]);
    let above = format!("wide > '{sevens}.1'");
    let made: Vec<_> = found.iter().map(|row| row.columns["made"].to_string()).collect();
    assert_eq!(
        made,
        ["{by: me, year: 1991}", "{by: me, year: 1992}", "null", "null"]
    );
    let cases: [(Filter, &str, &[u64]); 10] = [
        (col("made.year").le(1_991), "made.year <= 1991", &[1]),
        (col("made.by").is_null(), "made is null", &[3, 4]),
        (col("wide").gt(told(1)), &above, &[2]),
        (col("price").ge("12.34"), "price >= 12.34", &[1, 3]),
        (col("price").lt(0), "price < 0", &[2]),
        (col("price").eq(199.9), "price = '199.9'", &[3]),
        (col("price").is_null(), "price is null", &[4]),
        (
            col("numbers").contains_any([3, 9]),
            "numbers contains any (3, 9)",
            &[1, 2],
        ),
        (
            col("numbers").contains_all([3, 1]),
            "numbers contains all (3, 1)",
            &[1],
        ),
        (col("numbers").contains_any([7]), "numbers contains 7", &[3]),
    ];
    for (filter, text, expected) in cases {
        let search = dataset.search().near(vec![0.0, 1.0]).k(10).filter(filter);
        let mut ids: Vec<u64> = search
            .await
            .unwrap()
            .hits
            .iter()
            .map(|hit| hit.id.to_string().parse().unwrap())
            .collect();
        ids.sort_unstable();
        assert_eq!(ids, expected, "{text}");
        let typed = longbow(&[
            "search",
            "typed-columns",
            "--vector",
            "0,1",
            "-k",
            "10",
            "--filter",
            text,
        ]);
        let mut ids: Vec<u64> = typed["hits"]
            .as_array()
            .unwrap()
            .iter()
            .map(|hit| hit["id"].as_u64().unwrap())
            .collect();
        ids.sort_unstable();
        assert_eq!(ids, expected, "{text}");
    }
    let whole = dataset
        .search()
        .near(vec![0.0, 1.0])
        .k(10)
        .filter(col("numbers").eq(vec![1, 2, 3]));
    assert_eq!(whole.await.unwrap().hits.len(), 1);
    // A child more and a wider one: what is there stays.
    let line = [
        "dataset",
        "alter",
        "typed-columns",
        "--widen=made:struct<by:utf8,year:int32,note:utf8>",
        "--expected-version=1",
    ];
    longbow(&line);
    let later = BTreeMap::from([
        ("year".to_owned(), 70_000.into()),
        ("note".to_owned(), "late".into()),
    ]);
    let late = Row::new(5_u64).vector(vec![5.0, 1.0]).column("made", later);
    dataset.upsert([late]).ack(Ack::Applied).await.unwrap();
    let years = dataset.search().near(vec![0.0, 1.0]).k(10).columns(["made"]);
    let found = years.filter(col("made.year").ge(1_992)).await.unwrap().hits;
    let made: Vec<_> = found.iter().map(|hit| hit.columns["made"].to_string()).collect();
    assert_eq!(
        made,
        [
            "{by: me, note: null, year: 1992}",
            "{by: null, note: late, year: 70000}"
        ]
    );
    let wrong = dataset
        .search()
        .near(vec![0.0, 1.0])
        .k(1)
        .filter(col("price").eq("12.345"));
    assert_eq!(wrong.await.unwrap_err().code, ErrorCode::TypeMismatch);
}
