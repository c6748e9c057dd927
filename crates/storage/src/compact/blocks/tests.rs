//! Blocks beside a copy that takes each row by itself.

use arrow::array::*;
use arrow::buffer::NullBuffer;
use arrow::datatypes::*;
use proptest::prelude::*;

use super::*;

fn never() -> bool {
    false
}

/// The oracle: every row is a slice of its own, and the slices are put one behind the other.
fn row_by_row(columns: &[ArrayRef], runs: &[Run]) -> ArrayRef {
    let mut rows = Vec::new();
    for run in runs {
        rows.extend((run.start..run.start + run.len).map(|row| columns[run.source].slice(row, 1)));
    }
    let rows: Vec<&dyn Array> = rows.iter().map(AsRef::as_ref).collect();
    concat(&rows).unwrap()
}

/// A value, from which that of any type is made; `None` is null.
type Seed = Option<u64>;

fn text(seed: u64) -> String {
    // Of every length, also none, and of more than one byte a character.
    "aé§🦀zz"
        .repeat(8)
        .chars()
        .skip(seed as usize % 7)
        .take(seed as usize % 29)
        .collect()
}

fn dictionary<K: ArrowDictionaryKeyType>(values: &[Seed]) -> ArrayRef {
    let texts = values.iter().map(|value| value.map(|seed| text(seed % 9)));
    let mut builder = StringDictionaryBuilder::<K>::new();
    texts.for_each(|text| builder.append_option(text));
    Arc::new(builder.finish())
}

fn lists(values: &[Seed]) -> ArrayRef {
    let mut builder = ListBuilder::new(StringBuilder::new());
    for value in values {
        match value {
            Some(seed) => {
                let items = (0..seed % 4).map(|at| (!(seed + at).is_multiple_of(3)).then(|| text(seed + at)));
                builder.append_value(items);
            }
            None => builder.append_null(),
        }
    }
    Arc::new(builder.finish())
}

fn fixed_lists(values: &[Seed]) -> ArrayRef {
    let lists = values
        .iter()
        .map(|value| value.map(|seed| [Some(seed as i16), None, Some(3)]));
    Arc::new(FixedSizeListArray::from_iter_primitive::<Int16Type, _, _>(
        lists, 3,
    ))
}

fn structs(values: &[Seed]) -> ArrayRef {
    let numbers: ArrayRef = Arc::new(UInt64Array::from(values.to_vec()));
    let texts: ArrayRef = Arc::new(StringArray::from_iter(values.iter().map(|value| value.map(text))));
    let fields = vec![
        Field::new("number", DataType::UInt64, true),
        Field::new("text", DataType::Utf8, true),
    ];
    let nulls = values
        .iter()
        .map(|value| value.is_none_or(|seed| !seed.is_multiple_of(5)));
    let nulls = NullBuffer::from_iter(nulls);
    Arc::new(StructArray::try_new(fields.into(), vec![numbers, texts], Some(nulls)).unwrap())
}

/// Makes a column of one type.
type Make = fn(&[Seed]) -> ArrayRef;

/// One for each way that rows lie in memory.
const TYPES: [(&str, Make); 17] = [
    ("boolean", |v| {
        Arc::new(BooleanArray::from_iter(v.iter().map(|v| v.map(|x| x % 2 == 1))))
    }),
    ("int8", |v| {
        Arc::new(Int8Array::from_iter(v.iter().map(|v| v.map(|x| x as i8))))
    }),
    ("float32", |v| {
        Arc::new(Float32Array::from_iter(v.iter().map(|v| v.map(|x| x as f32))))
    }),
    ("uint64", |v| Arc::new(UInt64Array::from(v.to_vec()))),
    ("without nulls", |v| {
        Arc::new(UInt64Array::from_iter_values(v.iter().map(|v| v.unwrap_or(1))))
    }),
    ("decimal128", |v| {
        Arc::new(Decimal128Array::from_iter(v.iter().map(|v| v.map(i128::from))))
    }),
    ("timestamp", |v| {
        Arc::new(TimestampMicrosecondArray::from_iter(
            v.iter().map(|v| v.map(|x| x as i64)),
        ))
    }),
    ("fixed binary", |v| {
        let values = v.iter().map(|v| v.map(u64::to_le_bytes));
        Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(values, 8).unwrap())
    }),
    ("utf8", |v| {
        Arc::new(StringArray::from_iter(v.iter().map(|v| v.map(text))))
    }),
    ("large utf8", |v| {
        Arc::new(LargeStringArray::from_iter(v.iter().map(|v| v.map(text))))
    }),
    ("utf8 view", |v| {
        Arc::new(StringViewArray::from_iter(v.iter().map(|v| v.map(text))))
    }),
    ("binary", |v| {
        Arc::new(BinaryArray::from_iter(v.iter().map(|v| v.map(text))))
    }),
    ("list of utf8", lists),
    ("fixed list", fixed_lists),
    ("struct", structs),
    ("dictionary", dictionary::<Int32Type>),
    ("dictionary of short keys", dictionary::<UInt8Type>),
];

#[derive(Debug, Clone)]
struct Case {
    /// Rows of each column, and how many of them are cut off in front and behind.
    columns: Vec<(Vec<Seed>, usize, usize)>,
    runs: Vec<Run>,
}

fn case() -> impl Strategy<Value = Case> {
    let value = proptest::option::weighted(0.8, any::<u64>().prop_map(|seed| seed >> 8));
    let column = (proptest::collection::vec(value, 1..200), 0..70_usize, 0..70_usize);
    proptest::collection::vec(column, 1..4).prop_flat_map(|columns| {
        let columns: Vec<_> = columns
            .into_iter()
            .map(|(values, front, back)| {
                let front = front.min(values.len() - 1);
                let back = back.min(values.len() - 1 - front);
                (values, front, back)
            })
            .collect();
        let lens: Vec<usize> = columns
            .iter()
            .map(|(values, front, back)| values.len() - front - back)
            .collect();
        let run = (
            0..lens.len(),
            any::<prop::sample::Index>(),
            any::<prop::sample::Index>(),
        );
        proptest::collection::vec(run, 1..12).prop_map(move |runs| {
            let runs = runs.into_iter().map(|(source, start, len)| {
                let start = start.index(lens[source]);
                let len = 1 + len.index(lens[source] - start);
                Run { source, start, len }
            });
            Case {
                columns: columns.clone(),
                runs: runs.collect(),
            }
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn blocks_are_what_a_copy_row_by_row_is(case in case()) {
        for (name, make) in TYPES {
            let columns = case.columns.iter().map(|(values, front, back)| {
                // Slices, so that nothing begins at a whole byte or at offset 0.
                make(values).slice(*front, values.len() - front - back)
            });
            let columns: Vec<ArrayRef> = columns.collect();
            let borrowed: Vec<&dyn Array> = columns.iter().map(AsRef::as_ref).collect();
            let copied = copy(&borrowed, &case.runs, &never).unwrap();
            let expected = row_by_row(&columns, &case.runs);
            prop_assert_eq!(copied.to_data().validate_full().map_err(|error| error.to_string()), Ok(()));
            prop_assert_eq!(copied.as_ref(), expected.as_ref(), "{}", name);
        }
    }
}

#[test]
fn a_copy_takes_the_memory_of_its_rows_and_no_other() {
    let rows = 10_000_usize;
    let values: Vec<Seed> = (0..rows as u64)
        .map(|row| (row % 5 > 0).then_some(row * 77))
        .collect();
    for (name, make) in TYPES {
        let column = make(&values);
        // Every other hundred rows.
        let runs = (0..rows).step_by(200).map(|start| Run {
            source: 0,
            start,
            len: 100,
        });
        let copied = copy(&[column.as_ref()], &runs.collect::<Vec<_>>(), &never).unwrap();
        assert_eq!(copied.len(), rows / 2);
        let (half, whole) = (copied.get_array_memory_size(), column.get_array_memory_size());
        assert!(half < whole * 2 / 3 + 4_096, "{name}: {half} bytes of {whole}");
    }
}

#[test]
fn short_keys_of_dictionaries_last() {
    // 200 values in each, the same ones: 400 would be more than there are keys.
    let values: Vec<Seed> = (0..200).map(Some).collect();
    let column = |from: usize| -> ArrayRef {
        let mut builder = StringDictionaryBuilder::<UInt8Type>::new();
        (0..200).for_each(|at| builder.append_value(format!("value {}", (from + at) % 200)));
        Arc::new(builder.finish())
    };
    let columns = [column(0), column(50)];
    let runs = [0, 1].map(|source| Run {
        source,
        start: 0,
        len: values.len(),
    });
    let copied = copy(&[columns[0].as_ref(), columns[1].as_ref()], &runs, &never).unwrap();
    assert_eq!(copied.as_ref(), row_by_row(&columns, &runs).as_ref());
}

#[test]
fn columns_of_several_types_are_refused() {
    let columns = [(TYPES[3].1)(&[Some(1)]), (TYPES[8].1)(&[Some(1)])];
    let columns: Vec<&dyn Array> = columns.iter().map(AsRef::as_ref).collect();
    let error = copy(
        &columns,
        &[Run {
            source: 0,
            start: 0,
            len: 1,
        }],
        &never,
    )
    .unwrap_err();
    assert_eq!(error.code, ErrorCode::Internal);
    assert!(error.message.contains("UInt64 and Utf8"), "{error}");
}

#[test]
fn a_copy_can_be_given_up() {
    let values: Vec<Seed> = (0..100_000).map(Some).collect();
    let column = (TYPES[3].1)(&values);
    let asked = std::cell::Cell::new(0);
    let cancel = || {
        asked.set(asked.get() + 1);
        asked.get() > 2
    };
    let run = Run {
        source: 0,
        start: 0,
        len: values.len(),
    };
    let stopped = copy(&[column.as_ref()], &[run], &cancel);
    assert_eq!(stopped.unwrap_err().code, ErrorCode::Cancelled);
    assert_eq!(asked.get(), 3, "it went on for more than a piece");
}
