//! Bodies that no router writes: refused by name, and nothing changes.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int32Array, RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema};
use longbow_storage::{Options, Projection, Query, Replica, Searched, WriteKind, batch_to_ipc};
use longbow_types::{ErrorCode, IdKind, Metric, VectorElement};
use proptest::prelude::*;

use crate::rows::{Kind, Life, Row};

const KIND: Kind = Kind {
    id: IdKind::U64,
    element: VectorElement::F32,
    metric: Metric::L2,
    life: Life::FOR_EVER,
};

fn rows(ids: &[u64]) -> Vec<Row> {
    let row = |&id: &u64| Row {
        id,
        number: Some(1),
        text: Some("text".into()),
        tags: Some(vec!["tag".into()]),
        vector: [1.0, 2.0, 3.0],
        until: None,
    };
    ids.iter().map(row).collect()
}

fn replica() -> Replica {
    let mut replica = Replica::new(KIND.schema(), &Options::default(), 1);
    replica
        .apply(2, WriteKind::Upsert, &KIND.upsert(&rows(&[1, 2])), 2)
        .unwrap();
    replica.publish();
    replica
}

/// Applies, expects a refusal, and checks that the state before is still there.
fn refused(replica: &mut Replica, kind: WriteKind, body: &[u8], rows: u32) -> longbow_types::Error {
    let error = replica.apply(3, kind, body, rows).expect_err("refused");
    replica.publish();
    let view = replica.reader().view();
    assert_eq!((view.applied_index(), view.rows()), (2, 2));
    error
}

/// The good batch with one column exchanged.
fn with(column: usize, field: Field, array: ArrayRef) -> RecordBatch {
    let batch = KIND.batch(&rows(&[3, 4]));
    let mut fields: Vec<Field> = batch
        .schema()
        .fields()
        .iter()
        .map(|field| field.as_ref().clone())
        .collect();
    let mut columns = batch.columns().to_vec();
    (fields[column], columns[column]) = (field, array);
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

#[test]
fn what_does_not_fit_the_schema_is_named() {
    let numbers = || Arc::new(Int32Array::from(vec![1, 2])) as ArrayRef;
    let ids = Arc::new(UInt64Array::from(vec![Some(3), None])) as ArrayRef;
    let other = Kind {
        element: VectorElement::F64,
        ..KIND
    };
    let cases: Vec<(RecordBatch, &str)> = vec![
        (
            with(0, Field::new("count", DataType::Int32, true), numbers()),
            "number",
        ),
        (
            with(3, Field::new("text", DataType::Int32, true), numbers()),
            "text",
        ),
        (with(2, Field::new("key", DataType::UInt64, true), ids), "key"),
        (other.batch(&rows(&[3, 4])), "vector"),
        (
            KIND.batch(&rows(&[3, 4])).project(&[0, 1, 2, 3]).unwrap(),
            "columns",
        ),
        (
            KIND.batch(&rows(&[3, 4])).project(&[1, 0, 2, 3, 4]).unwrap(),
            "number",
        ),
    ];
    for (batch, field) in cases {
        let error = refused(
            &mut replica(),
            WriteKind::Upsert,
            &batch_to_ipc(&batch).unwrap(),
            2,
        );
        assert_eq!(
            (error.code, error.field.as_deref()),
            (ErrorCode::SchemaMismatch, Some(field)),
            "{error}"
        );
    }
    let whole_rows = KIND.upsert(&rows(&[1]));
    let error = refused(&mut replica(), WriteKind::Delete, &whole_rows, 1);
    assert_eq!(error.code, ErrorCode::SchemaMismatch);
}

#[test]
fn the_header_counts_the_rows() {
    let body = KIND.upsert(&rows(&[3, 4]));
    for count in [0, 1, 3] {
        let error = refused(&mut replica(), WriteKind::Upsert, &body, count);
        assert_eq!(error.code, ErrorCode::MalformedArrow);
    }
    let error = refused(&mut replica(), WriteKind::Delete, &KIND.delete(&[1]), 2);
    assert_eq!(error.code, ErrorCode::MalformedArrow);
}

#[test]
fn entries_come_in_order() {
    let mut replica = replica();
    let error = replica
        .apply(2, WriteKind::Upsert, &KIND.upsert(&rows(&[3])), 1)
        .unwrap_err();
    assert_eq!(error.code, ErrorCode::Internal);
}

#[test]
fn several_batches_in_one_stream_are_one_write() {
    use arrow::ipc::writer::StreamWriter;
    let (first, second) = (KIND.batch(&rows(&[1, 5])), KIND.batch(&rows(&[5, 6, 7])));
    let mut writer = StreamWriter::try_new(Vec::new(), &first.schema()).unwrap();
    writer.write(&first).unwrap();
    writer.write(&second).unwrap();
    let mut replica = replica();
    let applied = replica
        .apply(3, WriteKind::Upsert, &writer.into_inner().unwrap(), 5)
        .unwrap();
    assert_eq!(
        (applied.rows, applied.retired),
        (5, 2),
        "row 1 was there, row 5 comes twice"
    );
    replica.publish();
    assert_eq!(replica.reader().view().rows(), 5);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_024))]

    /// Any byte changed, or the end cut off: an error or rows, never a panic, and every row readable afterwards.
    #[test]
    fn damaged_bodies_never_panic(
        at in any::<prop::sample::Index>(),
        flip in 1..=u8::MAX,
        cut in proptest::option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        let mut body = KIND.upsert(&rows(&[2, 3])).to_vec();
        let at = at.index(body.len());
        body[at] ^= flip;
        if let Some(cut) = cut {
            body.truncate(cut.index(body.len()));
        }
        let mut replica = replica();
        if replica.apply(3, WriteKind::Upsert, &body, 2).is_ok() {
            replica.publish();
        }
        let view = replica.reader().view();
        let projection = Projection::new(view.layout(), &["*".into()], true).unwrap();
        let found = view.scan(None, projection.clone(), 0, &|| false).unwrap();
        let rows: usize = found.map(|piece| piece.unwrap().num_rows()).sum();
        prop_assert_eq!(rows, view.rows());
        let query =
            Query { searched: Searched::default(), vector: (&[1.0f32; 3]).into(), k: 10, ef: 0, recall_target: None, full_precision: false, exact: true, predicate: None, projection: &projection };
        prop_assert_eq!(view.search(&query, &|| false).unwrap().batch.num_rows(), view.rows());
    }
}

#[test]
fn projections_name_what_is_not_there() {
    let replica = replica();
    let view = replica.reader().view();
    let error = Projection::new(view.layout(), &["nope".into()], false).unwrap_err();
    assert_eq!(
        (error.code, error.field.as_deref()),
        (ErrorCode::UnknownColumn, Some("nope"))
    );
    let names = ["text", "key", "vector", "text", "*"].map(str::to_owned);
    let projection = Projection::new(view.layout(), &names, false).unwrap();
    let found = view.fetch(&UInt64Array::from(vec![1]), &projection).unwrap();
    let schema = found.schema();
    let columns: Vec<&str> = schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    assert_eq!(
        columns,
        ["key", "_row_version", "text", "number", "tags", "vector"]
    );
    assert_eq!(found.num_rows(), 1);
}

#[test]
fn bad_questions_are_refused_by_name() {
    let replica = replica();
    let view = replica.reader().view();
    let projection = Projection::new(view.layout(), &[], false).unwrap();
    let ask = |vector: &[f32], k: usize, ef: usize| {
        let query = Query {
            searched: Searched::default(),
            vector: vector.into(),
            k,
            ef,
            recall_target: None,
            full_precision: false,
            exact: false,
            predicate: None,
            projection: &projection,
        };
        let error = view.search(&query, &|| false).unwrap_err();
        (error.code, error.field.unwrap().into_owned())
    };
    assert_eq!(
        ask(&[1.0; 2], 1, 0),
        (ErrorCode::DimensionMismatch, "vector".into())
    );
    assert_eq!(
        ask(&[1.0, f32::NAN, 1.0], 1, 0),
        (ErrorCode::InvalidVector, "vector".into())
    );
    assert_eq!(ask(&[1.0; 3], 0, 0), (ErrorCode::InvalidValue, "k".into()));
    assert_eq!(ask(&[1.0; 3], 10_002, 0), (ErrorCode::InvalidValue, "k".into()));
    assert_eq!(ask(&[1.0; 3], 1, 100_001), (ErrorCode::InvalidValue, "ef".into()));
    let texts = arrow::array::StringArray::from(vec!["1"]);
    assert_eq!(
        view.fetch(&texts as &dyn Array, &projection).unwrap_err().code,
        ErrorCode::TypeMismatch
    );
}

#[test]
fn conditions_are_numbers_one_for_each_row() {
    let whole = KIND.batch(&rows(&[3, 4]));
    let conditions = |name: &str, values: ArrayRef, nullable| {
        let mut fields: Vec<Arc<Field>> = whole.schema().fields().iter().cloned().collect();
        fields.push(Arc::new(Field::new(name, values.data_type().clone(), nullable)));
        let columns = [whole.columns(), &[values]].concat();
        batch_to_ipc(&RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()).unwrap()
    };
    let numbers = || Arc::new(UInt64Array::from(vec![0, 2])) as ArrayRef;
    let ints = Arc::new(Int32Array::from(vec![0, 2]));
    let nulls = Arc::new(UInt64Array::from(vec![Some(0), None]));
    for body in [
        batch_to_ipc(&whole).unwrap(),
        conditions("_row_version", numbers(), false),
        conditions("_if_row_version", ints, false),
        conditions("_if_row_version", nulls, true),
    ] {
        let error = refused(&mut replica(), WriteKind::UpsertIf, &body, 2);
        assert_eq!(error.code, ErrorCode::SchemaMismatch, "{error}");
    }
    let good = conditions("_if_row_version", numbers(), false);
    for kind in [WriteKind::Upsert, WriteKind::DeleteIf] {
        let error = refused(&mut replica(), kind, &good, 2);
        assert_eq!(error.code, ErrorCode::SchemaMismatch, "{error}");
    }
    let error = refused(&mut replica(), WriteKind::UpsertIf, &good, 1);
    assert_eq!(error.code, ErrorCode::MalformedArrow);
    let error = refused(&mut replica(), WriteKind::DeleteIf, &KIND.delete(&[1]), 1);
    assert_eq!(error.code, ErrorCode::SchemaMismatch);

    let mut replica = replica();
    replica.apply(3, WriteKind::UpsertIf, &good, 2).unwrap();
    let outcome = replica.reader().outcome(3).unwrap();
    assert_eq!((outcome.rows(), outcome.to_bytes()), (2, vec![0b01]));
    let unknown = |index| replica.reader().outcome(index).unwrap_err().code;
    assert_eq!(unknown(1), ErrorCode::OutcomeUnknown);
    assert_eq!(unknown(2), ErrorCode::InvalidValue, "it had no conditions");
}
