//! The naive model: a map from id to row. Written to be read, not to be fast.

use std::collections::BTreeMap;

use longbow_types::Metric;
use longbow_wire::v1::{self, CompareOp, Filter, filter::Node, value::Kind as ValueKind};

use crate::rows::{DIMENSION, Life, Row};

/// A filter, and what it means.
#[derive(Debug, Clone)]
pub enum Condition {
    NumberAtLeast(i32),
    TextIs(String),
    NoNumber,
    NotTextIs(String),
}

impl Condition {
    pub fn filter(&self) -> Filter {
        let compare = |column: &str, op: CompareOp, kind: ValueKind| Filter {
            node: Some(Node::Compare(v1::Comparison {
                column: column.into(),
                op: op as i32,
                value: Some(v1::Value { kind: Some(kind) }),
            })),
        };
        match self {
            Condition::NumberAtLeast(n) => compare("number", CompareOp::Ge, ValueKind::I64((*n).into())),
            Condition::TextIs(text) => compare("text", CompareOp::Eq, ValueKind::Utf8(text.clone())),
            Condition::NoNumber => Filter {
                node: Some(Node::IsNull("number".into())),
            },
            Condition::NotTextIs(text) => Filter {
                node: Some(Node::Not(Box::new(Condition::TextIs(text.clone()).filter()))),
            },
        }
    }

    pub fn holds(&self, row: &Row) -> bool {
        match self {
            Condition::NumberAtLeast(n) => row.number.is_some_and(|number| number >= *n),
            Condition::TextIs(text) => row.text.as_ref() == Some(text),
            Condition::NoNumber => row.number.is_none(),
            Condition::NotTextIs(text) => row.text.as_ref() != Some(text),
        }
    }
}

/// The rows of a partition, each with the index that wrote it, and an ordinal of when it was written.
#[derive(Debug, Clone, Default)]
pub struct Model {
    pub rows: BTreeMap<u64, (Row, u64)>,
    order: BTreeMap<u64, u64>,
    written: u64,
    life: Life,
    /// Log time of the first tick behind the write of each row.
    ages: BTreeMap<u64, u64>,
    pub log_time: u64,
    pub applied: u64,
    pub touched: u64,
}

impl Model {
    pub fn created_at(index: u64) -> Self {
        Self {
            applied: index,
            touched: index,
            ..Self::default()
        }
    }

    /// The same, whose rows go by themselves.
    pub fn living(self, life: Life) -> Self {
        Self { life, ..self }
    }

    /// A row as it can be written where rows go so.
    pub fn fit(&self, row: &Row) -> Row {
        Row {
            until: row.until.filter(|_| self.life.by_instant),
            ..row.clone()
        }
    }

    pub fn upsert(&mut self, index: u64, rows: &[Row]) {
        for row in rows {
            self.ages.remove(&row.id);
            self.rows.insert(row.id, (row.clone(), index));
            self.written += 1;
            self.order.insert(row.id, self.written);
        }
        (self.applied, self.touched) = (index, index);
    }

    pub fn delete(&mut self, index: u64, ids: &[u64]) {
        for id in ids {
            self.rows.remove(id);
            self.ages.remove(id);
        }
        (self.applied, self.touched) = (index, index);
    }

    /// The version of the row that has an id; 0 if there is none.
    pub fn version(&self, id: u64) -> u64 {
        self.rows.get(&id).map_or(0, |(_, version)| *version)
    }

    /// Says of each row whether what it asks for was there before, and writes those of which it was.
    pub fn upsert_if(&mut self, index: u64, rows: &[(Row, u64)]) -> Vec<bool> {
        let matched: Vec<bool> = rows
            .iter()
            .map(|(row, asked)| self.version(row.id) == *asked)
            .collect();
        let kept = rows.iter().zip(&matched).filter(|(_, matched)| **matched);
        let kept: Vec<Row> = kept.map(|((row, _), _)| row.clone()).collect();
        self.upsert(index, &kept);
        matched
    }

    /// The same of ids, which are deleted.
    pub fn delete_if(&mut self, index: u64, ids: &[(u64, u64)]) -> Vec<bool> {
        let matched: Vec<bool> = ids
            .iter()
            .map(|(id, asked)| self.version(*id) == *asked)
            .collect();
        let kept = ids.iter().zip(&matched).filter(|(_, matched)| **matched);
        let kept: Vec<u64> = kept.map(|((id, _), _)| *id).collect();
        self.delete(index, &kept);
        matched
    }

    /// Says of each row whether it was there, of the version that it asks for or of any, and changes these.
    pub fn update(&mut self, index: u64, rows: &[(Row, u64)], vector: bool) -> Vec<bool> {
        let before = self.rows.clone();
        let is_it =
            |id: u64, asked: u64| self.version(id) == asked || (asked == u64::MAX && self.version(id) > 0);
        let matched: Vec<bool> = rows.iter().map(|(row, asked)| is_it(row.id, *asked)).collect();
        let kept = rows.iter().zip(&matched).filter(|(_, matched)| **matched);
        let kept = kept.map(|((row, _), _)| {
            let mut changed = before[&row.id].0.clone();
            (changed.number, changed.text) = (row.number, row.text.clone());
            if vector {
                changed.vector = row.vector;
            }
            changed
        });
        let kept: Vec<Row> = kept.collect();
        self.upsert(index, &kept);
        matched
    }

    /// Deletes the rows of which a condition holds, and says how many these were.
    pub fn delete_where(&mut self, index: u64, condition: &Condition) -> u64 {
        let before = self.rows.len();
        self.rows.retain(|_, (row, _)| !condition.holds(row));
        let rows = &self.rows;
        self.ages.retain(|id, _| rows.contains_key(id));
        (self.applied, self.touched) = (index, index);
        (before - self.rows.len()) as u64
    }

    /// Lets those rows go whose time is over.
    pub fn tick(&mut self, index: u64, log_time: u64) {
        let life = self.life;
        for id in self.rows.keys() {
            self.ages.entry(*id).or_insert(log_time);
        }
        let (before, ages) = (self.rows.len(), &self.ages);
        self.rows.retain(|id, (row, _)| match row.until {
            Some(until) => until > log_time as i64,
            None => !life.by_age || ages[id] + Life::TTL_MS > log_time,
        });
        let rows = &self.rows;
        self.ages.retain(|id, _| rows.contains_key(id));
        if self.rows.len() < before {
            self.touched = index;
        }
        (self.log_time, self.applied) = (log_time, index);
    }

    pub fn advance(&mut self, index: u64) {
        self.applied = index;
    }

    /// Rows for which a condition holds, in the order they were written.
    pub fn scan(&self, condition: Option<&Condition>) -> Vec<Row> {
        let mut rows: Vec<&Row> = self.rows.values().map(|(row, _)| row).collect();
        rows.retain(|row| condition.is_none_or(|condition| condition.holds(row)));
        rows.sort_by_key(|row| self.order[&row.id]);
        rows.into_iter().cloned().collect()
    }

    /// The nearest rows: (id, distance, version). Of equally near ones at the far end the earlier written are taken.
    pub fn search(
        &self,
        metric: Metric,
        query: [f32; DIMENSION],
        k: usize,
        condition: Option<&Condition>,
    ) -> Vec<(u64, f32, u64)> {
        let mut rows: Vec<(f32, Row)> = self
            .scan(condition)
            .into_iter()
            .map(|row| (distance(metric, query, row.vector), row))
            .collect();
        rows.sort_by(|a, b| a.0.total_cmp(&b.0));
        rows.truncate(k);
        rows.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.id.cmp(&b.1.id)));
        rows.into_iter()
            .map(|(distance, row)| (row.id, distance, self.rows[&row.id].1))
            .collect()
    }
}

/// Vectors of the tests have few, small, whole elements, so L2 and dot are exact in every element type.
fn distance(metric: Metric, a: [f32; DIMENSION], b: [f32; DIMENSION]) -> f32 {
    let dot = |a: [f32; DIMENSION], b: [f32; DIMENSION]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    match metric {
        Metric::L2 => a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum(),
        // 0.0 - x: a product of zero is the distance 0.0, not -0.0.
        Metric::Dot => 0.0 - dot(a, b),
        Metric::Cosine => 1.0 - dot(a, b) / (dot(a, a).sqrt() * dot(b, b).sqrt()),
    }
}
