//! Random schemas, rows and filters from a seed. Few distinct values, so that comparisons hit.

use arrow::datatypes::DataType;
use half::f16;
use longbow_wire::v1::{self, CompareOp, Filter, filter::Node, value::Kind};

use crate::filters::{compare, is_in, list, node, not};
use crate::spellings::{between, over, prefix};
use crate::table::{Column, Row, columns};

/// SplitMix64.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    pub fn one_in(&mut self, chance: usize) -> bool {
        self.below(chance) == 0
    }

    fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }

    fn some<T>(&mut self, limit: usize, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(limit)).map(|_| make(self)).collect()
    }

    /// Some columns in any order, the id among them.
    pub fn columns(&mut self) -> Vec<Column> {
        let mut chosen: Vec<Column> = Vec::new();
        for mut column in columns() {
            if column.name == "id" || !self.one_in(3) {
                column.nullable &= !self.one_in(4);
                chosen.insert(self.below(chosen.len() + 1), column);
            }
        }
        chosen
    }

    pub fn rows(&mut self, columns: &[Column], count: usize) -> Vec<Row> {
        let mut cell =
            |column: &Column| (!column.nullable || !self.one_in(5)).then(|| self.value(&column.data_type));
        (0..count)
            .map(|_| columns.iter().map(&mut cell).collect())
            .collect()
    }

    fn text(&mut self) -> String {
        self.pick(&[
            "",
            "a",
            "ab",
            "abc",
            "b",
            "ba",
            "ä",
            "äb",
            "a%",
            "_",
            "\u{10ffff}",
        ])
        .to_owned()
    }

    /// A value that can stand in a column of the type.
    pub fn value(&mut self, data_type: &DataType) -> Kind {
        use DataType as T;
        let signed =
            |random: &mut Self, low: i64, high: i64| Kind::I64(random.pick(&[-2, -1, 0, 1, 2, 3, low, high]));
        let unsigned =
            |random: &mut Self, high: u64| Kind::U64(random.pick(&[0, 1, 2, 3, 4, high - 1, high]));
        match data_type {
            T::Boolean => Kind::Bool(self.one_in(2)),
            T::Int8 => signed(self, i8::MIN.into(), i8::MAX.into()),
            T::Int16 => signed(self, i16::MIN.into(), i16::MAX.into()),
            T::Int32 | T::Date32 | T::Time32(_) => signed(self, i32::MIN.into(), i32::MAX.into()),
            T::Int64 | T::Date64 | T::Time64(_) | T::Duration(_) | T::Timestamp(..) => {
                signed(self, i64::MIN, i64::MAX)
            }
            T::UInt8 => unsigned(self, u8::MAX.into()),
            T::UInt16 => unsigned(self, u16::MAX.into()),
            T::UInt32 => unsigned(self, u32::MAX.into()),
            T::UInt64 => unsigned(self, u64::MAX),
            T::Float16 | T::Float32 | T::Float64 => {
                let values = [
                    -1.5,
                    0.1,
                    1.0,
                    2.0,
                    0.0,
                    -0.0,
                    f64::NAN,
                    f64::INFINITY,
                    f64::NEG_INFINITY,
                ];
                Kind::F64(self.pick(&values))
            }
            T::Utf8 => Kind::Utf8(self.text()),
            T::Binary => {
                let bytes: [&[u8]; 6] = [b"", b"a", b"ab", b"\0", b"\xff", b"\xff\xff"];
                Kind::Binary(self.pick(&bytes).to_vec().into())
            }
            T::Decimal128(..) => {
                let texts = ["-999.99", "-0.01", "0", "0.50", "1", "1.5", "+2.00", "999.99"];
                match self.one_in(3) {
                    true => self.pick(&[Kind::F64(0.5), Kind::I64(1), Kind::U64(2), Kind::F64(-0.01)]),
                    false => Kind::Utf8(self.pick(&texts).to_owned()),
                }
            }
            T::Decimal256(..) => {
                let most = format!("{}.99", "9".repeat(48));
                let (low, high) = (format!("-{most}"), format!("1{}", "0".repeat(40)));
                let texts = [low.as_str(), "-0.01", "0", "0.50", "1", "+2.00", &high, &most];
                match self.one_in(3) {
                    true => self.pick(&[Kind::F64(0.5), Kind::I64(1), Kind::U64(2), Kind::F64(-0.01)]),
                    false => Kind::Utf8(self.pick(&texts).to_owned()),
                }
            }
            T::List(item) if *item.data_type() == T::Utf8 => Kind::Utf8List(v1::Utf8List {
                values: self.some(4, Self::text),
            }),
            T::List(item) => Kind::List(v1::ValueList {
                values: self.some(4, |random| {
                    let kind = match random.one_in(8) {
                        true => Kind::Null(0),
                        false => random.value(item.data_type()),
                    };
                    v1::Value { kind: Some(kind) }
                }),
            }),
            other => panic!("no values of {other}"),
        }
    }

    /// A value, at times a null where the column has them, at times a whole number spelt with the other sign.
    fn constant(&mut self, column: &Column) -> Kind {
        if column.nullable && self.one_in(12) {
            return Kind::Null(0);
        }
        let value = self.value(&column.data_type);
        match value {
            Kind::I64(v @ 0..) if self.one_in(2) => Kind::U64(v.unsigned_abs()),
            Kind::U64(v @ 0..5) if self.one_in(2) => Kind::I64(v.cast_signed()),
            Kind::F64(2.0) if self.one_in(2) => Kind::I64(2),
            // Rounded to the column's width before it is compared.
            Kind::F64(0.1) if self.one_in(2) => match column.data_type {
                DataType::Float16 => Kind::F64(f16::from_f64(0.1).to_f64()),
                _ => Kind::F64(0.1),
            },
            other => other,
        }
    }

    fn pattern(&mut self) -> String {
        let signs = ["%", "_", "a", "b", "ä", "\\%", "\\_", "\\a", "%", "_"];
        self.some(6, |random| random.pick(&signs)).concat()
    }

    /// A filter that says one thing of one column.
    pub fn leaf(&mut self, columns: &[Column]) -> Filter {
        let column = columns[self.below(columns.len())].clone();
        let name = column.name;
        if let DataType::List(item) = &column.data_type {
            let item = Column {
                data_type: item.data_type().clone(),
                nullable: true,
                ..column.clone()
            };
            return match self.below(6) {
                0 => node(Node::IsNull(name.into())),
                1 => compare(
                    name,
                    self.pick(&[CompareOp::Eq, CompareOp::Ne]),
                    self.constant(&column),
                ),
                2 => is_in(name, self.some(4, |random| random.constant(&column))),
                3 => over(
                    is_in(name, self.some(4, |random| random.constant(&column))),
                    Node::NotIn,
                ),
                4 => over(
                    is_in(name, self.some(4, |random| random.constant(&item))),
                    Node::ContainsAny,
                ),
                _ => over(
                    is_in(name, self.some(4, |random| random.constant(&item))),
                    Node::ContainsAll,
                ),
            };
        }
        match (self.below(9), &column.data_type) {
            (0, _) => node(Node::IsNull(name.into())),
            (1, _) => is_in(name, self.some(5, |random| random.constant(&column))),
            // More than are compared one by one.
            (2, _) if self.one_in(4) => {
                let values = (0..24).map(|_| self.constant(&column)).collect();
                is_in(name, values)
            }
            (2, _) => over(
                is_in(name, self.some(5, |random| random.constant(&column))),
                Node::NotIn,
            ),
            (3, _) => between(name, self.constant(&column), self.constant(&column)),
            (4, DataType::Utf8 | DataType::Binary) => prefix(name, self.constant(&column)),
            (5 | 6, DataType::Utf8) => {
                let (pattern, escape) = match self.one_in(8) {
                    true => (self.pattern().replace('\\', "!"), "!".to_owned()),
                    false => (self.pattern(), String::new()),
                };
                let column = name.into();
                node(Node::Like(v1::Pattern {
                    column,
                    pattern,
                    escape,
                }))
            }
            _ => {
                let op = CompareOp::try_from(1 + self.below(6) as i32).unwrap();
                compare(name, op, self.constant(&column))
            }
        }
    }

    pub fn filter(&mut self, columns: &[Column], depth: usize) -> Filter {
        if depth == 0 || self.one_in(3) {
            return self.leaf(columns);
        }
        let mut parts = self.some(4, |random| random.filter(columns, depth - 1));
        parts.push(self.leaf(columns));
        match self.below(5) {
            0 | 1 => node(Node::And(list(parts))),
            2 | 3 => node(Node::Or(list(parts))),
            _ => not(self.filter(columns, depth - 1)),
        }
    }
}
