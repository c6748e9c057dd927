//! Writes with conditions, end to end: each row is judged by what is there before the call, and the answer tells of each.

use std::collections::BTreeMap;

use longbow_types::{ErrorCode, limits::COMMAND_BYTES_MAX};
use longbow_wire::v1::{self, AckLevel, upsert_request::Payload, value::Kind};
use tonic::{Response, Status};

use crate::cluster::{Client, id, number, refused, row, shared, value, vector};

/// An upsert of rows, without conditions yet.
fn upsert(dataset: &str, rows: impl IntoIterator<Item = v1::Row>) -> v1::UpsertRequest {
    let rows = rows.into_iter().collect();
    v1::UpsertRequest {
        dataset: dataset.to_owned(),
        payload: Some(Payload::Rows(v1::Rows { rows })),
        ..v1::UpsertRequest::default()
    }
}

/// An upsert of rows that each ask for a version.
fn upsert_if(dataset: &str, rows: impl IntoIterator<Item = (v1::Row, u64)>) -> v1::UpsertRequest {
    let (rows, versions): (Vec<v1::Row>, Vec<u64>) = rows.into_iter().unzip();
    v1::UpsertRequest {
        if_row_version: versions,
        ..upsert(dataset, rows)
    }
}

async fn sent(client: &mut Client, request: v1::UpsertRequest) -> Result<v1::UpsertResponse, Status> {
    client.writes.upsert(request).await.map(Response::into_inner)
}

/// A row whose `number` is another one than its id.
fn numbered(id: u64, number: i64) -> v1::Row {
    let mut row = row(id);
    row.columns.insert("number".into(), value(Kind::I64(number)));
    row
}

/// Of each id that is there, its `number` and its version.
async fn state(client: &mut Client, dataset: &str, ids: std::ops::Range<u64>) -> BTreeMap<u64, (i64, u64)> {
    let found = client.get(dataset, &ids.collect::<Vec<_>>()).await.unwrap();
    let told = |row: v1::FoundRow| {
        let Some(Kind::I64(count)) = &row.columns["number"].kind else {
            panic!("{row:?} has no number")
        };
        (number(row.id.as_ref()), (*count, row.row_version))
    };
    found.rows.into_iter().map(told).collect()
}

#[tokio::test]
async fn every_row_is_judged_by_what_was_there() {
    let mut client = shared().await;
    let dataset = client.create("judged").await;
    let mut insert = upsert(&dataset, (0..20).map(row));
    insert.if_absent = true;
    let written = sent(&mut client, insert).await.unwrap();
    assert_eq!((written.rows, written.ack()), (20, AckLevel::Applied));
    assert!(written.unmatched.is_empty());
    // Beside rows that are there, in an order that is not that of the partitions.
    let mut insert = upsert(&dataset, (10..30).rev().map(|id| numbered(id, -1)));
    (insert.if_absent, insert.ack) = (true, AckLevel::Indexed as i32);
    let written = sent(&mut client, insert).await.unwrap();
    assert_eq!((written.rows, written.ack()), (10, AckLevel::Indexed));
    assert_eq!(written.unmatched, (10..20).collect::<Vec<_>>());
    let before = state(&mut client, &dataset, 0..40).await;
    assert_eq!(before.len(), 30);
    assert!(
        before
            .iter()
            .all(|(&id, &(number, _))| number == if id < 20 { id as i64 } else { -1 })
    );

    // The right version, that of another row, none, and one for a row that is not there.
    let version = |id: u64| before[&id].1;
    let written = sent(
        &mut client,
        upsert_if(
            &dataset,
            [
                (numbered(25, 100), version(25)),
                (numbered(3, 100), version(25)),
                (numbered(4, 100), 0),
                (numbered(33, 100), version(3)),
                (numbered(34, 100), 0),
                (numbered(5, 100), version(5)),
            ],
        ),
    )
    .await
    .unwrap();
    assert_eq!((written.rows, written.unmatched), (3, vec![1, 2, 3]));
    let after = state(&mut client, &dataset, 0..40).await;
    for id in 0..40 {
        match id {
            5 | 25 | 34 => assert!(after[&id].0 == 100 && after[&id].1 > version(25)),
            _ => assert_eq!(after.get(&id), before.get(&id)),
        }
    }

    let delete = v1::DeleteRequest {
        dataset: dataset.clone(),
        ids: [5, 6, 7, 39].map(id).into(),
        if_row_version: vec![version(5), version(6), after[&34].1, version(6)],
        ..v1::DeleteRequest::default()
    };
    let deleted = client.writes.delete(delete).await.unwrap().into_inner();
    assert_eq!((deleted.rows, deleted.ack()), (1, AckLevel::Applied));
    assert_eq!(deleted.unmatched, [0, 2, 3]);
    let left = state(&mut client, &dataset, 5..8).await;
    assert_eq!(left.keys().copied().collect::<Vec<_>>(), [5, 7]);
}

#[tokio::test]
async fn of_many_who_change_a_row_at_once_one_wins_each_time() {
    const WRITERS: usize = 6;
    const WINS: usize = 5;
    let mut client = shared().await;
    let dataset = client.create("counter").await;
    sent(&mut client, upsert(&dataset, [numbered(1, 0)]))
        .await
        .unwrap();
    let count = |mut client: Client, dataset: String| async move {
        let mut won = 0;
        while won < WINS {
            let (number, version) = state(&mut client, &dataset, 1..2).await[&1];
            let request = upsert_if(&dataset, [(numbered(1, number + 1), version)]);
            won += sent(&mut client, request).await.unwrap().rows as usize;
        }
    };
    let writers = (0..WRITERS).map(|_| tokio::spawn(count(client.clone(), dataset.clone())));
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let (number, _) = state(&mut client, &dataset, 1..2).await[&1];
    assert_eq!(
        number as usize,
        WRITERS * WINS,
        "no change was lost, and none counted twice"
    );
}

#[tokio::test]
async fn conditions_that_mean_nothing_are_refused_and_nothing_is_written() {
    let mut client = shared().await;
    let dataset = client.create("meaningless").await;
    let large = (0..40).map(|id| {
        let mut row = row(id);
        let text = "x".repeat(COMMAND_BYTES_MAX / 20);
        row.columns.insert("text".into(), value(Kind::Utf8(text)));
        (row, 0)
    });
    let mut both = upsert_if(&dataset, [(row(1), 0)]);
    both.if_absent = true;
    let mut few = upsert_if(&dataset, [(row(1), 0), (row(2), 0)]);
    few.if_row_version.pop();
    let cases = [
        (both, ErrorCode::InvalidValue, "if_absent"),
        (few, ErrorCode::InvalidValue, "if_row_version"),
        (
            upsert_if(&dataset, [(row(1), 0), (row(2), 0), (row(1), 0)]),
            ErrorCode::InvalidValue,
            "rows[2]",
        ),
        (upsert_if(&dataset, large), ErrorCode::TooLarge, "rows"),
    ];
    for (request, code, field) in cases {
        let error = refused(sent(&mut client, request).await);
        assert_eq!(
            (error.code, error.field.as_deref()),
            (code, Some(field)),
            "{error}"
        );
        assert!(error.limit.is_some(), "{error}");
    }
    let delete = |ids: &[u64], versions: &[u64]| v1::DeleteRequest {
        dataset: dataset.clone(),
        ids: ids.iter().copied().map(id).collect(),
        if_row_version: versions.to_vec(),
        ..v1::DeleteRequest::default()
    };
    for (request, field) in [
        (delete(&[1, 2], &[7, 0]), "if_row_version[1]"),
        (delete(&[1, 2], &[7]), "if_row_version"),
        (delete(&[1, 2, 2], &[7, 7, 7]), "ids[2]"),
    ] {
        let error = refused(client.writes.delete(request).await);
        assert_eq!(
            (error.code, error.field.as_deref()),
            (ErrorCode::InvalidValue, Some(field)),
            "{error}"
        );
    }
    assert!(client.get(&dataset, &[1, 2]).await.unwrap().rows.is_empty());
}

fn number_below(number: i64) -> v1::Filter {
    let comparison = v1::Comparison {
        column: "number".into(),
        op: v1::CompareOp::Lt as i32,
        value: Some(value(Kind::I64(number))),
    };
    v1::Filter {
        node: Some(v1::filter::Node::Compare(comparison)),
    }
}

#[tokio::test]
async fn a_filter_deletes_what_it_is_true_of_and_says_how_many() {
    let mut client = shared().await;
    let dataset = client.create("filtered").await;
    sent(&mut client, upsert(&dataset, (0..50).map(row)))
        .await
        .unwrap();
    let delete = |filter| v1::DeleteRequest {
        dataset: dataset.clone(),
        filter: Some(filter),
        ..v1::DeleteRequest::default()
    };
    for (bound, rows) in [(20, 20), (20, 0), (30, 10)] {
        let request = delete(number_below(bound));
        let deleted = client.writes.delete(request).await.unwrap().into_inner();
        assert_eq!(
            (deleted.rows, deleted.ack()),
            (rows, AckLevel::Applied),
            "below {bound}"
        );
    }
    let left = state(&mut client, &dataset, 0..60).await;
    assert_eq!(
        left.keys().copied().collect::<Vec<_>>(),
        (30..50).collect::<Vec<_>>()
    );

    let mut unknown = number_below(40);
    if let Some(v1::filter::Node::Compare(comparison)) = &mut unknown.node {
        comparison.column = "nothing".into();
    }
    let mut both = delete(number_below(40));
    both.ids = vec![id(31)];
    for (request, code) in [
        (delete(unknown), ErrorCode::UnknownColumn),
        (delete(v1::Filter::default()), ErrorCode::MissingField),
        (both, ErrorCode::InvalidValue),
    ] {
        let error = refused(client.writes.delete(request).await);
        assert_eq!(error.code, code, "{error}");
    }
    assert_eq!(state(&mut client, &dataset, 0..60).await, left);
}

#[tokio::test]
async fn an_update_changes_what_it_tells_and_nothing_else() {
    let mut client = shared().await;
    let dataset = client.create("updated").await;
    sent(&mut client, upsert(&dataset, (0..10).map(row)))
        .await
        .unwrap();
    let change = |number: u64, columns: &[(&str, Kind)], vector: Option<Vec<f32>>| v1::Row {
        id: Some(id(number)),
        vector: vector.map(|values| v1::Vector { values }),
        columns: columns
            .iter()
            .map(|(name, kind)| ((*name).to_owned(), value(kind.clone())))
            .collect(),
    };
    let request = |rows: Vec<v1::Row>, versions: &[u64]| v1::UpdateRequest {
        dataset: dataset.clone(),
        rows: Some(v1::Rows { rows }),
        if_row_version: versions.to_vec(),
        ..v1::UpdateRequest::default()
    };
    let text = |text: &str| [("text", Kind::Utf8(text.into()))];
    let rows = [3, 99, 5].map(|id| change(id, &text("new"), None));
    let changed = client
        .writes
        .update(request(rows.into(), &[]))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((changed.rows, changed.ack()), (2, AckLevel::Applied));
    assert_eq!(changed.unmatched, [1]);
    let found = client.get(&dataset, &[3, 4, 99]).await.unwrap().rows;
    assert_eq!(found.len(), 2, "nothing is inserted");
    assert_eq!(found[0].columns["text"], value(Kind::Utf8("new".into())));
    assert_eq!(found[0].columns["number"], value(Kind::I64(3)));
    assert_eq!(found[0].vector.as_ref().unwrap().values, vector(3));
    assert_eq!(found[1].columns["text"], value(Kind::Utf8("row 4".into())));
    let (old, new) = (found[1].row_version, found[0].row_version);
    assert!(new > old);

    let rows = [3, 4].map(|id| change(id, &[("number", Kind::Null(0))], Some(vector(id + 50))));
    let changed = client
        .writes
        .update(request(rows.into(), &[old, old]))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((changed.rows, changed.unmatched), (1, vec![0]));
    let found = client.get(&dataset, &[3, 4]).await.unwrap().rows;
    assert_eq!(found[0].vector.as_ref().unwrap().values, vector(3));
    assert_eq!(found[1].vector.as_ref().unwrap().values, vector(54));
    assert_eq!(found[1].columns["number"], value(Kind::Null(0)));
    assert_eq!(found[1].columns["text"], value(Kind::Utf8("row 4".into())));

    let good = change(1, &text("x"), None);
    let other = change(2, &[("number", Kind::I64(1))], None);
    let wrong = change(1, &[("nothing", Kind::I64(1))], None);
    for (rows, versions, code, field) in [
        (vec![], &[][..], ErrorCode::MissingField, "rows"),
        (
            vec![change(1, &[], None)],
            &[],
            ErrorCode::MissingField,
            "rows[0].columns",
        ),
        (vec![good.clone(), other], &[], ErrorCode::InvalidValue, "rows[1]"),
        (vec![wrong], &[], ErrorCode::UnknownColumn, "rows[0].nothing"),
        (
            vec![good.clone(), good.clone()],
            &[],
            ErrorCode::InvalidValue,
            "rows[1]",
        ),
        (
            vec![good.clone()],
            &[0],
            ErrorCode::InvalidValue,
            "if_row_version[0]",
        ),
        (vec![good], &[7, 7], ErrorCode::InvalidValue, "if_row_version"),
    ] {
        let error = refused(client.writes.update(request(rows, versions)).await);
        assert_eq!(
            (error.code, error.field.as_deref()),
            (code, Some(field)),
            "{error}"
        );
    }
}
