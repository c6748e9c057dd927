//! Is a schema the same after it was a message, and is what no schema can be refused?

use super::*;
use prost::Message;

fn column(name: &str, kind: v1::ColumnKind) -> v1::Column {
    v1::Column {
        name: name.into(),
        kind: kind as i32,
        nullable: true,
        vector: None,
        time: None,
        default: None,
        list: None,
        decimal: None,
        structure: None,
    }
}

fn time(kind: v1::ColumnKind, unit: v1::TimeUnit, zone: &str) -> v1::Column {
    let unit = unit as i32;
    v1::Column {
        time: Some(v1::TimeType {
            unit,
            zone: zone.into(),
        }),
        ..column("t", kind)
    }
}

fn with_one_more(more: v1::Column) -> v1::Schema {
    let vector = v1::VectorType {
        dimension: 8,
        metric: v1::Metric::L2 as i32,
        element: v1::VectorElement::Float32 as i32,
        quantization: v1::Quantization::None as i32,
    };
    let not_null = |name: &str, kind| v1::Column {
        nullable: false,
        ..column(name, kind)
    };
    v1::Schema {
        columns: vec![
            not_null("id", v1::ColumnKind::Uint64),
            v1::Column {
                vector: Some(vector),
                ..not_null("v", v1::ColumnKind::Vector)
            },
            more,
        ],
        id_column: "id".into(),
        ..v1::Schema::default()
    }
}

#[test]
fn times_round_trip() {
    use v1::{ColumnKind as K, TimeUnit as U};
    let units = [U::Second, U::Millisecond, U::Microsecond, U::Nanosecond];
    let kinds = [
        (K::Time, ""),
        (K::Duration, ""),
        (K::Timestamp, ""),
        (K::Timestamp, "+01:00"),
    ];
    let times = kinds
        .into_iter()
        .flat_map(|(kind, zone)| units.map(|unit| time(kind, unit, zone)));
    for sent in times.chain([column("d", K::Date32), column("d", K::Date64)]) {
        let sent = with_one_more(sent);
        assert_eq!(to_proto(&from_proto(&sent).unwrap()), sent);
    }
    let micros = from_proto(&with_one_more(time(K::Timestamp, U::Microsecond, "UTC"))).unwrap();
    let told = to_proto(&micros).columns[2].clone();
    assert_eq!((told.kind(), told.time), (K::TimestampMicros, None));
}

#[test]
fn times_that_make_no_sense_are_refused() {
    use v1::{ColumnKind as K, TimeUnit as U};
    let long = "x".repeat(65);
    let wrong = [
        column("t", K::Time),
        column("t", K::Timestamp),
        time(K::Timestamp, U::Unspecified, ""),
        time(K::Time, U::Second, "UTC"),
        time(K::Timestamp, U::Second, &long),
        time(K::Int64, U::Second, ""),
        time(K::TimestampMicros, U::Microsecond, "UTC"),
    ];
    for column in wrong {
        let error = from_proto(&with_one_more(column.clone())).unwrap_err();
        assert_eq!(
            (error.code, error.field.as_deref()),
            (ErrorCode::InvalidSchema, Some("t")),
            "{column:?}"
        );
    }
}

#[test]
fn decimals_round_trip() {
    use v1::ColumnKind as K;
    let of = |precision, scale| v1::DecimalType { precision, scale };
    let decimal = |precision, scale| v1::Column {
        decimal: Some(of(precision, scale)),
        ..column("d", K::Decimal)
    };
    let list = v1::Column {
        list: Some(v1::ListType {
            item: K::Decimal as i32,
            time: None,
            decimal: Some(of(5, 1)),
        }),
        ..column("d", K::List)
    };
    for sent in [
        decimal(1, 0),
        decimal(38, 38),
        decimal(39, 0),
        decimal(76, 76),
        list,
    ] {
        let sent = with_one_more(sent);
        assert_eq!(to_proto(&from_proto(&sent).unwrap()), sent);
    }
    let elsewhere = v1::Column {
        kind: K::Int8 as i32,
        ..decimal(3, 1)
    };
    for sent in [
        decimal(0, 0),
        decimal(77, 0),
        decimal(3, 4),
        decimal(300, 200),
        column("d", K::Decimal),
        elsewhere,
    ] {
        let error = from_proto(&with_one_more(sent)).unwrap_err();
        assert_eq!(
            (error.code, error.field.as_deref()),
            (ErrorCode::InvalidSchema, Some("d"))
        );
    }
}

#[test]
fn structs_round_trip_one_level_deep() {
    use v1::ColumnKind as K;
    let of = |children: Vec<v1::Column>| v1::Column {
        structure: Some(v1::StructType { children }),
        ..column("s", K::Struct)
    };
    let plain = |name: &str| column(name, K::Int32);
    let decimal = v1::Column {
        decimal: Some(v1::DecimalType {
            precision: 60,
            scale: 2,
        }),
        ..column("d", K::Decimal)
    };
    let required = v1::Column {
        nullable: false,
        ..column("r", K::Utf8List)
    };
    let sent = with_one_more(of(vec![plain("a"), decimal, required]));
    assert_eq!(to_proto(&from_proto(&sent).unwrap()), sent);
    let with_default = v1::Column {
        default: Some(v1::Value {
            kind: Some(v1::value::Kind::I64(1)),
        }),
        ..plain("a")
    };
    for (sent, field) in [
        (of(vec![]), "s"),
        (of(vec![of(vec![plain("a")])]), "s.s"),
        (of(vec![plain("a"), plain("a")]), "s.a"),
        (of(vec![column("v", K::Vector)]), "s.v"),
        (of(vec![with_default]), "s.a"),
        (of(vec![column("l", K::List)]), "s.l"),
        (column("s", K::Struct), "s"),
    ] {
        let error = from_proto(&with_one_more(sent)).unwrap_err();
        assert_eq!(
            (error.code, error.field.as_deref()),
            (ErrorCode::InvalidSchema, Some(field)),
            "{error}"
        );
    }
}

#[test]
fn lists_round_trip() {
    use v1::{ColumnKind as K, TimeUnit as U};
    let list = |item: K, unit: Option<U>| v1::Column {
        list: Some(v1::ListType {
            item: item as i32,
            time: unit.map(|unit| v1::TimeType {
                unit: unit as i32,
                zone: String::new(),
            }),
            decimal: None,
        }),
        ..column("l", K::List)
    };
    let flat = (1..=15).map(|kind| K::try_from(kind).unwrap());
    let flat = flat.filter(|kind| *kind != K::Utf8).map(|kind| list(kind, None));
    let times = [K::Time, K::Duration, K::Timestamp].map(|kind| list(kind, Some(U::Nanosecond)));
    for sent in flat.chain(times) {
        let sent = with_one_more(sent);
        assert_eq!(to_proto(&from_proto(&sent).unwrap()), sent);
    }
    let texts = from_proto(&with_one_more(list(K::Utf8, None))).unwrap();
    assert_eq!(to_proto(&texts).columns[2].kind(), K::Utf8List);
    let wrong = [
        list(K::Vector, None),
        list(K::List, None),
        list(K::Utf8List, None),
        list(K::Time, None),
        list(K::Int8, Some(U::Second)),
        column("l", K::List),
        v1::Column {
            kind: K::Int8 as i32,
            ..list(K::Int8, None)
        },
    ];
    for sent in wrong {
        let error = from_proto(&with_one_more(sent)).unwrap_err();
        assert_eq!(
            (error.code, error.field.as_deref()),
            (ErrorCode::InvalidSchema, Some("l"))
        );
    }
}

#[test]
fn every_kind_round_trips() {
    let vector = v1::VectorType {
        dimension: 8,
        metric: v1::Metric::Dot as i32,
        element: v1::VectorElement::Float16 as i32,
        quantization: v1::Quantization::Sq4 as i32,
    };
    let mut columns = vec![
        v1::Column {
            nullable: false,
            ..column("key", v1::ColumnKind::Utf8)
        },
        v1::Column {
            nullable: false,
            vector: Some(vector),
            ..column("v", v1::ColumnKind::Vector)
        },
    ];
    columns.extend((1..=16).map(|k| column(&format!("c{k}"), v1::ColumnKind::try_from(k).unwrap())));
    let sent = v1::Schema {
        columns,
        id_column: "key".into(),
        ..v1::Schema::default()
    };
    assert_eq!(to_proto(&from_proto(&sent).unwrap()), sent);
}

#[test]
fn further_vectors_round_trip_each_with_its_own_metric() {
    let further = v1::VectorType {
        dimension: 3,
        metric: v1::Metric::Dot as i32,
        element: v1::VectorElement::Float16 as i32,
        quantization: v1::Quantization::Bit1 as i32,
    };
    let sent = with_one_more(v1::Column {
        vector: Some(further),
        ..column("image", v1::ColumnKind::Vector)
    });
    let read = from_proto(&sent).unwrap();
    let image = read.vector_named("image").unwrap();
    assert_eq!(
        (image.metric, image.quantization),
        (Metric::Dot, Quantization::Bit1)
    );
    assert_eq!((read.vector().metric, read.vector_name()), (Metric::L2, "v"));
    assert_eq!(to_proto(&read), sent);
    let mut second = sent;
    second.columns[2].nullable = false;
    let error = from_proto(&second).unwrap_err();
    assert_eq!(
        (error.code, error.field.as_deref()),
        (ErrorCode::InvalidSchema, Some("image"))
    );
}

#[test]
fn numbers_of_a_later_version_do_not_become_something_else() {
    let refused = |metric: i32, element: i32, quantization: i32| {
        let vector = v1::VectorType {
            dimension: 8,
            metric,
            element,
            quantization,
        };
        let v = v1::Column {
            nullable: false,
            vector: Some(vector),
            ..column("v", v1::ColumnKind::Vector)
        };
        let id = v1::Column {
            nullable: false,
            ..column("id", v1::ColumnKind::Uint64)
        };
        from_proto(&v1::Schema {
            columns: vec![id, v],
            id_column: String::new(),
            ..v1::Schema::default()
        })
        .map_err(|error| (error.code, error.field.unwrap(), error.limit.is_some()))
    };
    refused(0, 0, 0).unwrap();
    let expected = (ErrorCode::InvalidSchema, "v".into(), true);
    assert_eq!(refused(4, 0, 0).unwrap_err(), expected);
    assert_eq!(refused(-1, 0, 0).unwrap_err(), expected);
    assert_eq!(refused(0, 4, 0).unwrap_err(), expected);
    assert_eq!(refused(0, 0, 5).unwrap_err(), expected);
    assert_eq!(refused(0, 0, -1).unwrap_err(), expected);
}

#[test]
fn every_quantization_round_trips_and_schemas_of_before_there_was_one_are_read() {
    let sent = |vector: v1::VectorType| v1::Schema {
        columns: vec![
            v1::Column {
                nullable: false,
                ..column("id", v1::ColumnKind::Uint64)
            },
            v1::Column {
                nullable: false,
                vector: Some(vector),
                ..column("v", v1::ColumnKind::Vector)
            },
        ],
        id_column: String::new(),
        ..v1::Schema::default()
    };
    for quantization in Quantization::ALL {
        let vector = v1::VectorType {
            dimension: 8,
            quantization: quantization_to_proto(quantization) as i32,
            ..v1::VectorType::default()
        };
        let read = from_proto(&sent(vector)).unwrap();
        assert_eq!(read.vector().quantization, quantization);
        assert_eq!(from_proto(&to_proto(&read)).unwrap(), read);
    }
    // Field 1 = 8, 2 = METRIC_L2, 3 = FLOAT16: all there was.
    let old = v1::VectorType::decode([0x08, 8, 0x10, 2, 0x18, 2].as_slice()).unwrap();
    let read = from_proto(&sent(old)).unwrap();
    assert_eq!(read.vector().quantization, Quantization::default());
    assert_eq!(
        (read.vector().metric, read.vector().element),
        (Metric::L2, VectorElement::F16)
    );
}

#[test]
fn defaults_are_carried_and_checked() {
    use v1::{ColumnKind as K, value::Kind};
    let with = |kind, value| v1::Column {
        default: Some(v1::Value { kind: Some(value) }),
        ..column("c", kind)
    };
    for (kind, value) in [
        (K::Utf8, Kind::Utf8("none".into())),
        (K::Uint64, Kind::U64(u64::MAX)),
        (K::Date32, Kind::I64(-1)),
        (K::Float64, Kind::F64(0.1)),
    ] {
        let sent = with_one_more(with(kind, value));
        assert_eq!(to_proto(&from_proto(&sent).unwrap()), sent);
    }
    for (kind, value) in [
        (K::Utf8, Kind::I64(1)),
        (K::Uint8, Kind::I64(256)),
        (K::Utf8List, Kind::Utf8("a".into())),
        (K::Int8, Kind::Null(0)),
    ] {
        let error = from_proto(&with_one_more(with(kind, value))).unwrap_err();
        assert_eq!(
            (error.code, error.field.as_deref()),
            (ErrorCode::InvalidSchema, Some("c"))
        );
    }
    let mut id = with_one_more(column("c", K::Utf8));
    id.columns[0].default = Some(v1::Value {
        kind: Some(Kind::U64(1)),
    });
    assert_eq!(from_proto(&id).unwrap_err().field.as_deref(), Some("id"));
}

#[test]
fn vector_properties_belong_to_vectors() {
    let sent = v1::Schema {
        columns: vec![column("id", v1::ColumnKind::Vector)],
        id_column: String::new(),
        ..v1::Schema::default()
    };
    assert_eq!(from_proto(&sent).unwrap_err().code, ErrorCode::InvalidSchema);
}

#[test]
fn when_rows_go_round_trips() {
    let sent = v1::Schema {
        ttl_ms: 86_400_000,
        expires_column: "at".into(),
        ..with_one_more(column("at", v1::ColumnKind::TimestampMicros))
    };
    assert_eq!(to_proto(&from_proto(&sent).unwrap()), sent);
    let refused = |ttl_ms, expires_column: &str| {
        let sent = v1::Schema {
            ttl_ms,
            expires_column: expires_column.into(),
            ..sent.clone()
        };
        let error = from_proto(&sent).unwrap_err();
        (error.code, error.field.unwrap().into_owned())
    };
    assert_eq!(refused(999, "at"), (ErrorCode::InvalidSchema, "ttl".into()));
    assert_eq!(refused(u64::MAX, "at"), (ErrorCode::InvalidSchema, "ttl".into()));
    assert_eq!(refused(0, "v"), (ErrorCode::InvalidSchema, "v".into()));
    assert_eq!(refused(0, "nope"), (ErrorCode::UnknownColumn, "nope".into()));
}
