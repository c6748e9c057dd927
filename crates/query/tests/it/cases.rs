//! Random predicates over random batches: against the naive evaluator, against another spelling of themselves, and,
//! where they mean the same, against Arrow's kernels.

use arrow::array::{Array, BooleanArray, RecordBatch, StringArray};
use arrow::compute::kernels::{cmp, comparison};
use longbow_query::filter::Predicate;
use longbow_types::Schema;
use longbow_wire::v1::{CompareOp, Filter, filter::Node, value::Kind};

use crate::filters::{list, node, not};
use crate::oracle::holds;
use crate::random::Random;
use crate::table::{Column, Row, batch_of, schema_of};

const TABLES: u64 = 512;
const FILTERS: usize = 200;

struct Table {
    columns: Vec<Column>,
    rows: Vec<Row>,
    schema: Schema,
    batch: RecordBatch,
}

impl Table {
    fn new(random: &mut Random) -> Self {
        let columns = random.columns();
        // Most are small; some fill more than one word of bits.
        let count = if random.one_in(32) {
            random.below(200)
        } else {
            random.below(16)
        };
        let rows = random.rows(&columns, count);
        let (schema, batch) = (schema_of(&columns), batch_of(&columns, &rows));
        Self {
            columns,
            rows,
            schema,
            batch,
        }
    }

    fn compile(&self, filter: &Filter) -> Predicate {
        Predicate::compile(filter, &self.schema).unwrap_or_else(|error| panic!("{filter:?}: {error}"))
    }
}

/// Over a hundred thousand of them.
#[test]
fn agrees_with_the_naive_evaluator() {
    for seed in 0..TABLES {
        let mut random = Random(seed);
        let table = Table::new(&mut random);
        for _ in 0..FILTERS {
            let filter = random.filter(&table.columns, 3);
            let predicate = table.compile(&filter);
            let bits = predicate.evaluate(&table.batch).unwrap();
            assert_eq!(bits.len(), table.rows.len());
            for (row, bit) in table.rows.iter().zip(&bits) {
                let want = holds(&filter, &table.columns, row);
                assert_eq!(bit, want, "seed {seed}: {filter:?} of {row:?}");
            }
            if let Some(truth) = predicate.constant() {
                assert!(bits.iter().all(|bit| bit == truth));
            }
        }
    }
    // `just bar shard --full` reads it.
    println!("random filters: {}", TABLES as usize * FILTERS);
}

#[test]
fn slices_of_a_batch_evaluate_like_the_rows_they_hold() {
    for seed in 0..256 {
        let mut random = Random(seed);
        let table = Table::new(&mut random);
        let cut = random.below(table.rows.len() + 1);
        let tail = table.batch.slice(cut, table.rows.len() - cut);
        for _ in 0..8 {
            let filter = random.filter(&table.columns, 2);
            let predicate = table.compile(&filter);
            let whole = predicate.evaluate(&table.batch).unwrap();
            let part = predicate.evaluate(&tail).unwrap();
            assert_eq!(part, whole.slice(cut, tail.num_rows()), "seed {seed}: {filter:?}");
        }
    }
}

/// The same filter, spelt in another way.
fn respelt(random: &mut Random, filter: &Filter) -> Filter {
    let mut again = match filter.node.as_ref().unwrap() {
        node @ (Node::And(parts) | Node::Or(parts)) => {
            let mut parts: Vec<Filter> = parts.filters.iter().map(|part| respelt(random, part)).collect();
            let by = random.below(parts.len());
            parts.rotate_left(by);
            if random.one_in(2) {
                parts.push(parts[0].clone());
            }
            let nested = random.below(parts.len());
            let (and, tail) = (matches!(node, Node::And(_)), parts.split_off(nested));
            let join = |parts| node_of(and, parts);
            parts.push(join(tail));
            // De Morgan.
            if random.one_in(2) {
                join(parts)
            } else {
                not(node_of(!and, parts.into_iter().map(not).collect()))
            }
        }
        Node::Not(part) => not(respelt(random, part)),
        Node::Between(between) => {
            let side = |op: CompareOp, value| {
                node(Node::Compare(longbow_wire::v1::Comparison {
                    column: between.column.clone(),
                    op: op as i32,
                    value,
                }))
            };
            node_of(
                true,
                vec![
                    side(CompareOp::Le, between.high.clone()),
                    side(CompareOp::Ge, between.low.clone()),
                ],
            )
        }
        Node::In(membership) => {
            let each = membership.values.iter().map(|value| {
                node(Node::Compare(longbow_wire::v1::Comparison {
                    column: membership.column.clone(),
                    op: CompareOp::Eq as i32,
                    value: Some(value.clone()),
                }))
            });
            // None at all has no other spelling.
            match membership.values.is_empty() {
                true => filter.clone(),
                false => node_of(false, each.collect()),
            }
        }
        Node::NotIn(membership) => node_of(
            true,
            vec![
                not(node(Node::In(membership.clone()))),
                not(node(Node::IsNull(membership.column.clone()))),
            ],
        ),
        _ => filter.clone(),
    };
    if random.one_in(4) {
        again = not(not(again));
    }
    again
}

fn node_of(and: bool, parts: Vec<Filter>) -> Filter {
    node(if and {
        Node::And(list(parts))
    } else {
        Node::Or(list(parts))
    })
}

#[test]
fn two_spellings_are_one_predicate() {
    for seed in 0..400 {
        let mut random = Random(seed);
        let table = Table::new(&mut random);
        for _ in 0..16 {
            let filter = random.filter(&table.columns, 3);
            let (one, other) = (table.compile(&filter), respelt(&mut random, &filter));
            let other = table.compile(&other);
            assert_eq!(one, other, "seed {seed}: {filter:?}");
            assert_eq!(
                one.evaluate(&table.batch).unwrap(),
                other.evaluate(&table.batch).unwrap()
            );
        }
    }
}

/// What Arrow's kernels make of a filter that means to them what it means here; nulls are not true.
fn by_arrow(filter: &Filter, table: &Table) -> Option<BooleanArray> {
    let column_of = |name: &str| table.columns.iter().find(|column| column.name == name);
    match filter.node.as_ref()? {
        Node::Compare(comparison) => {
            let column = column_of(&comparison.column)?;
            let kind = comparison.value.as_ref()?.kind.clone()?;
            let array = table.batch.column_by_name(column.name)?;
            // Arrow orders floats totally, and lists not at all.
            let spelt_alike = match (&kind, array.data_type()) {
                (_, data_type) if data_type.is_floating() || data_type.is_nested() => false,
                (Kind::I64(_), data_type) => !data_type.is_unsigned_integer(),
                (Kind::U64(_), data_type) => data_type.is_unsigned_integer(),
                (Kind::Null(_), _) => false,
                _ => true,
            };
            if !spelt_alike {
                return None;
            }
            let only = std::slice::from_ref(column);
            let one = batch_of(only, &[vec![Some(kind)]]).column(0).clone();
            let scalar = arrow::array::Scalar::new(one);
            let compare = match comparison.op() {
                CompareOp::Eq => cmp::eq,
                CompareOp::Ne => cmp::neq,
                CompareOp::Lt => cmp::lt,
                CompareOp::Le => cmp::lt_eq,
                CompareOp::Gt => cmp::gt,
                _ => cmp::gt_eq,
            };
            Some(compare(array, &scalar).unwrap())
        }
        // Arrow's escape is the backslash too, but it is one only before a sign.
        Node::Like(like) if like.escape.is_empty() && !like.pattern.contains("\\a") => {
            let array = table.batch.column_by_name(&like.column)?;
            let pattern = StringArray::new_scalar(&like.pattern);
            Some(comparison::like(array, &pattern).unwrap())
        }
        _ => None,
    }
}

#[test]
fn agrees_with_arrow_where_it_means_the_same() {
    let mut compared = 0;
    for seed in 0..512 {
        let mut random = Random(seed);
        let table = Table::new(&mut random);
        for _ in 0..32 {
            let filter = random.leaf(&table.columns);
            let Some(want) = by_arrow(&filter, &table) else {
                continue;
            };
            compared += 1;
            let bits = table.compile(&filter).evaluate(&table.batch).unwrap();
            let want: Vec<bool> = want.iter().map(|bit| bit == Some(true)).collect();
            assert_eq!(bits.iter().collect::<Vec<_>>(), want, "seed {seed}: {filter:?}");
        }
    }
    assert!(compared > 3_000, "{compared}");
}
