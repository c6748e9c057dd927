//! Columns as they come, and as they are kept.

use super::*;
use arrow::array::*;
use arrow::datatypes::Int8Type;
use arrow_schema::TimeUnit;
use longbow_types::schema::utf8_item;

fn to(source: ArrayRef, target: DataType) -> Result<ArrayRef> {
    adapt(&source, &Field::new("c", target, true), &|row| {
        format!("rows[{row}].c")
    })
}

#[test]
fn encodings_of_text_are_free() {
    let want: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None, Some("a")]));
    let dictionary: DictionaryArray<Int8Type> = vec![Some("a"), None, Some("a")].into_iter().collect();
    let same: [ArrayRef; 3] = [
        Arc::new(LargeStringArray::from(vec![Some("a"), None, Some("a")])),
        Arc::new(StringViewArray::from(vec![Some("a"), None, Some("a")])),
        Arc::new(dictionary),
    ];
    for source in same {
        assert_eq!(&to(source, DataType::Utf8).unwrap(), &want);
    }
    let list = |strings: [Option<&str>; 2]| {
        let mut builder = LargeListBuilder::new(StringViewBuilder::new());
        strings.iter().for_each(|s| builder.values().append_option(*s));
        builder.append(true);
        builder.append_null();
        Arc::new(builder.finish()) as ArrayRef
    };
    let lists = to(list([Some("x"), None]), DataType::List(utf8_item())).unwrap();
    assert_eq!(*lists.data_type(), DataType::List(utf8_item()));
    assert!(lists.is_null(1) && lists.as_list::<i32>().value(0).len() == 2);
}

#[test]
fn items_of_lists_are_adapted_as_columns_are() {
    use longbow_types::schema::list_item;
    let mut builder = LargeListBuilder::new(Int64Builder::new());
    builder.values().append_value(-3);
    builder.values().append_null();
    builder.append(true);
    builder.append_null();
    builder.values().append_value(300);
    builder.append(true);
    let source: ArrayRef = Arc::new(builder.finish());
    let narrow = to(source.clone(), DataType::List(list_item(DataType::Int16))).unwrap();
    let first = narrow.as_list::<i32>().value(0);
    let items: &Int16Array = first.as_primitive();
    assert_eq!(items.iter().collect::<Vec<_>>(), [Some(-3), None]);
    assert!(narrow.is_null(1));
    let error = to(source.clone(), DataType::List(list_item(DataType::Int8))).unwrap_err();
    assert_eq!(error.field.as_deref(), Some("rows[2].c"));
    assert!(to(source, DataType::List(list_item(DataType::Utf8))).is_err());
}

#[test]
fn children_are_adapted_by_name_and_nobody_minds_those_of_nulls() {
    let field = |name: &str, data_type, nullable| Field::new(name, data_type, nullable);
    let target = |required: bool| {
        DataType::Struct(Fields::from(vec![
            field("a", DataType::Int8, !required),
            field("b", DataType::Utf8, true),
            field("c", DataType::Float32, true),
        ]))
    };
    let texts: DictionaryArray<Int8Type> = vec![Some("x"), None, Some("y")].into_iter().collect();
    // 300 is no Int8, but stands in a null.
    let source = |nulls: Option<Vec<bool>>, last: Option<i64>| {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), Some(300), last]));
        let texts: ArrayRef = Arc::new(texts.clone());
        let fields = vec![
            field("b", texts.data_type().clone(), true),
            field("a", DataType::Int64, true),
        ];
        let structs = StructArray::new(fields.into(), vec![texts, numbers], nulls.map(Into::into));
        Arc::new(structs) as ArrayRef
    };
    let gap = || Some(vec![true, false, true]);
    let kept = to(source(gap(), Some(3)), target(true)).unwrap();
    assert_eq!(kept.data_type(), &target(true));
    let kept = kept.as_struct();
    assert!(kept.is_null(1) && kept.column(2).null_count() == 3);
    assert_eq!(kept.column(0).as_primitive::<Int8Type>().value(2), 3);
    assert_eq!(kept.column(1).as_string::<i32>().value(0), "x");
    let refused = |source, target| {
        let error = to(source, target).unwrap_err();
        (error.code, error.field.unwrap_or_default().into_owned())
    };
    use ErrorCode as E;
    let wrong = |code, field: &str| (code, field.to_owned());
    let all = || source(None, Some(3));
    assert_eq!(
        refused(all(), target(false)),
        wrong(E::TypeMismatch, "rows[1].c.a")
    );
    let null = source(gap(), None);
    assert_eq!(
        refused(null, target(true)),
        wrong(E::NullNotAllowed, "rows[2].c.a")
    );
    let fewer = DataType::Struct(vec![field("a", DataType::Int64, true)].into());
    assert_eq!(refused(all(), fewer), wrong(E::UnknownColumn, "c.b"));
    assert_eq!(refused(all(), DataType::Utf8), wrong(E::TypeMismatch, "c"));
}

#[test]
fn numbers_stay_what_they_are_or_are_refused() {
    use DataType as T;
    let ints: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(300)]));
    assert_eq!(to(ints.clone(), T::Int16).unwrap().data_type(), &T::Int16);
    let cases: [(ArrayRef, T, &str); 6] = [
        (ints.clone(), T::UInt8, "rows[2].c"),
        (Arc::new(Int32Array::from(vec![0, -1])), T::UInt64, "rows[1].c"),
        (
            Arc::new(Float64Array::from(vec![1.0, 1.5])),
            T::Int32,
            "rows[1].c",
        ),
        (
            Arc::new(Float64Array::from(vec![f64::NAN])),
            T::Int32,
            "rows[0].c",
        ),
        (
            Arc::new(Int64Array::from(vec![(1 << 53) + 1])),
            T::Float64,
            "rows[0].c",
        ),
        (
            Arc::new(Float64Array::from(vec![0.1, 1e300])),
            T::Float32,
            "rows[1].c",
        ),
    ];
    for (source, target, field) in cases {
        let error = to(source, target).unwrap_err();
        assert_eq!(
            (error.code, error.field.as_deref()),
            (ErrorCode::TypeMismatch, Some(field))
        );
    }
    // What pandas makes of integers with a gap.
    let gap: ArrayRef = Arc::new(Float64Array::from(vec![Some(1.0), None]));
    assert_eq!(
        to(gap, T::Int32).unwrap().as_ref(),
        &Int32Array::from(vec![Some(1), None])
    );
    let rounded = to(Arc::new(Float64Array::from(vec![0.1, f64::INFINITY])), T::Float32).unwrap();
    assert_eq!(rounded.as_ref(), &Float32Array::from(vec![0.1, f32::INFINITY]));
    assert_eq!(to(ints, T::Utf8).unwrap_err().field.as_deref(), Some("c"));
}

#[test]
fn instants_keep_their_moment() {
    let target = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let want = TimestampMicrosecondArray::from(vec![Some(2_000_000), None]).with_timezone("UTC");
    let same: [ArrayRef; 3] = [
        Arc::new(TimestampSecondArray::from(vec![Some(2), None])),
        Arc::new(TimestampNanosecondArray::from(vec![Some(2_000_000_000), None]).with_timezone("Asia/Tokyo")),
        Arc::new(TimestampMicrosecondArray::from(vec![Some(2_000_000), None]).with_timezone("+00:00")),
    ];
    for source in same {
        assert_eq!(to(source, target.clone()).unwrap().as_ref(), &want);
    }
    for odd in [
        Arc::new(TimestampNanosecondArray::from(vec![1])) as ArrayRef,
        Arc::new(TimestampSecondArray::from(vec![i64::MAX])),
    ] {
        assert_eq!(
            to(odd, target.clone()).unwrap_err().field.as_deref(),
            Some("rows[0].c")
        );
    }
}

#[test]
fn times_change_their_unit_only_exactly() {
    use DataType as T;
    use TimeUnit as U;
    let days: ArrayRef = Arc::new(Date32Array::from(vec![Some(2), None]));
    assert_eq!(
        to(days.clone(), T::Date64).unwrap().as_ref(),
        &Date64Array::from(vec![Some(172_800_000), None])
    );
    let zoned = T::Timestamp(U::Second, Some("+01:00".into()));
    let instants = TimestampSecondArray::from(vec![Some(172_800), None]).with_timezone("+01:00");
    assert_eq!(to(days.clone(), zoned).unwrap().as_ref(), &instants);
    let unzoned = to(Arc::new(instants), T::Timestamp(U::Millisecond, None)).unwrap();
    assert_eq!(
        unzoned.as_ref(),
        &TimestampMillisecondArray::from(vec![Some(172_800_000), None])
    );
    let times: ArrayRef = Arc::new(Time32SecondArray::from(vec![62]));
    assert_eq!(
        to(times, T::Time64(U::Microsecond)).unwrap().as_ref(),
        &Time64MicrosecondArray::from(vec![62_000_000])
    );
    let durations: ArrayRef = Arc::new(DurationMillisecondArray::from(vec![5_000]));
    assert_eq!(
        to(durations, T::Duration(U::Second)).unwrap().as_ref(),
        &DurationSecondArray::from(vec![5])
    );
    let inexact: [(ArrayRef, T); 4] = [
        (Arc::new(Date64Array::from(vec![1])), T::Date32),
        (
            Arc::new(Time64NanosecondArray::from(vec![1])),
            T::Time32(U::Second),
        ),
        (
            Arc::new(DurationMillisecondArray::from(vec![1])),
            T::Duration(U::Second),
        ),
        (
            Arc::new(Date32Array::from(vec![i32::MAX])),
            T::Timestamp(U::Nanosecond, None),
        ),
    ];
    for (source, target) in inexact {
        assert_eq!(
            to(source, target).unwrap_err().field.as_deref(),
            Some("rows[0].c")
        );
    }
    assert_eq!(to(days, T::Int32).unwrap_err().field.as_deref(), Some("c"));
}

#[test]
fn a_few_bytes_cannot_ask_for_gigabytes() {
    let keys = Int32Array::from(vec![0; 2_000]);
    let values = StringArray::from(vec!["x".repeat(1 << 20)]);
    let bomb: ArrayRef = Arc::new(DictionaryArray::new(keys, Arc::new(values)));
    assert_eq!(to(bomb, DataType::Utf8).unwrap_err().code, ErrorCode::TooLarge);
    let nulls = to(Arc::new(NullArray::new(3)), DataType::Utf8).unwrap();
    assert_eq!(nulls.null_count(), 3);
}
