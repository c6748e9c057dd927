//! What happens when an entry cannot be applied? The replica stays at the entry before, readable, and says why.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use longbow_query::filter::Predicate;
use longbow_storage::compact::{Merged, Moved};
use longbow_storage::{Applied, Replica, WriteKind};
use longbow_types::{Error, ErrorCode, Result, Schema};
use longbow_wire::v1;
use prost::Message as _;

use crate::partition::Partition;

/// Rows applied, by kind of write.
const APPLY_ROWS: &str = "longbow_apply_rows_total";

/// One entry's part for one partition.
#[derive(Debug, Clone)]
pub(crate) struct Op {
    /// Index of the entry.
    pub(crate) index: u64,
    /// What it does.
    pub(crate) work: Work,
}

/// What an entry does to one partition.
#[derive(Debug, Clone)]
pub(crate) enum Work {
    /// Rows are written or deleted.
    Write(Write),
    /// Rows of which a filter is true are deleted: the filter, encoded; none if the header points outside of the body.
    DeleteWhere(Option<Bytes>),
    /// The schema changes.
    Alter {
        /// The new schema; why there is none, if it cannot be read.
        schema: Result<Schema>,
        /// Its version.
        version: u32,
    },
    /// Time goes on: rows whose time is over by now go.
    Tick {
        /// Log time, in milliseconds since the Unix epoch.
        log_time_ms: u64,
    },
    /// A defect: applying it panics.
    #[cfg(test)]
    Defect,
}

/// Rows of one partition.
#[derive(Debug, Clone)]
pub(crate) struct Write {
    /// What becomes of them.
    pub(crate) kind: WriteKind,
    /// The partition's range of the body; none if the header points outside of it.
    pub(crate) body: Option<Bytes>,
    /// Rows, as the header tells.
    pub(crate) rows: u32,
}

/// The writer of one replica.
pub(crate) struct Applier {
    replica: Replica,
    partition: Arc<Partition>,
}

impl Applier {
    /// Writes a replica for those who share the partition.
    pub(crate) fn new(replica: Replica, partition: Arc<Partition>) -> Self {
        Self { replica, partition }
    }

    /// Applies entries in order and publishes the state reached.
    pub(crate) fn apply(&mut self, ops: &[Op]) {
        self.apply_by(ops, apply);
    }

    /// Takes over a chunk that was merged beside this, and publishes it.
    pub(crate) fn install(&mut self, merged: Merged) -> Option<Moved> {
        let moved = self.replica.install(merged)?;
        self.replica.publish();
        Some(moved)
    }

    fn apply_by(&mut self, ops: &[Op], apply: impl Fn(&mut Replica, &Op) -> Result<Applied>) {
        if self.partition.stopped().is_some() {
            return;
        }
        let mut fault = None;
        // Of a replica that is further than the rest of the node, because of its snapshot, entries come once more.
        let held = self.replica.applied_index();
        for op in ops.iter().filter(|op| op.index > held) {
            // A panic leaves the replica at the entry before; see `Replica::apply`.
            let applied = catch_unwind(AssertUnwindSafe(|| apply(&mut self.replica, op)));
            let why = match applied {
                Ok(Ok(applied)) => {
                    if let Some(kind) = kind_of(&op.work) {
                        metrics::counter!(APPLY_ROWS, "kind" => kind).increment(applied.rows as u64);
                    }
                    continue;
                }
                Ok(Err(error)) => error.to_string(),
                Err(panic) => format!("panic: {}", panic_text(panic.as_ref())),
            };
            self.replica.advance(op.index.saturating_sub(1));
            fault = Some(format!("entry {}: {why}", op.index));
            break;
        }
        self.replica.publish();
        if let Some(why) = fault {
            tracing::error!(partition = %self.partition.key, dataset = %self.partition.dataset, "stopped at {why}");
            self.partition.stop(why);
        }
        self.partition.progressed();
    }
}

fn apply(replica: &mut Replica, op: &Op) -> Result<Applied> {
    match &op.work {
        Work::Write(write) => {
            let body = write.body.as_ref().ok_or_else(outside)?;
            replica.apply(op.index, write.kind, body, write.rows)
        }
        Work::DeleteWhere(filter) => {
            let filter = v1::Filter::decode(filter.as_ref().ok_or_else(outside)?.as_ref())
                .map_err(|error| Error::new(ErrorCode::Corruption, error.to_string()).field("filter"))?;
            let predicate = Predicate::compile(&filter, replica.layout().schema())?;
            replica.delete_where(op.index, &predicate)
        }
        Work::Alter { schema, version } => {
            replica.alter(op.index, schema.clone()?, *version)?;
            Ok(Applied::default())
        }
        Work::Tick { log_time_ms } => replica.tick(op.index, *log_time_ms),
        #[cfg(test)]
        Work::Defect => panic!("a defect at {}", op.index),
    }
}

fn outside() -> Error {
    Error::new(ErrorCode::Corruption, "the header points outside of the body").field("ranges")
}

/// What rows are counted under.
fn kind_of(work: &Work) -> Option<&'static str> {
    match work {
        Work::Write(write) => Some(match write.kind {
            WriteKind::Upsert | WriteKind::UpsertIf | WriteKind::Update => "upsert",
            WriteKind::Delete | WriteKind::DeleteIf => "delete",
        }),
        Work::DeleteWhere(_) => Some("delete"),
        Work::Tick { .. } => Some("expire"),
        Work::Alter { .. } => None,
        #[cfg(test)]
        Work::Defect => None,
    }
}

/// The message of a panic.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition::Key;
    use crate::state::tests::{delete_body, schema, upsert_body, wider_schema};
    use longbow_storage::Options;
    use longbow_types::DatasetId;

    fn applier() -> (Applier, Arc<Partition>) {
        let replica = Replica::new(schema(), &Options::default(), 3);
        let key = Key {
            dataset: DatasetId(3),
            ordinal: 0,
        };
        let partition = Arc::new(Partition::new(key, "d".into(), replica.reader().clone()));
        (Applier::new(replica, Arc::clone(&partition)), partition)
    }

    fn upsert(index: u64, id: u64) -> Op {
        write(index, WriteKind::Upsert, Some(upsert_body(&[id])), 1)
    }

    fn delete(index: u64, id: u64) -> Op {
        write(index, WriteKind::Delete, Some(delete_body(&[id])), 1)
    }

    fn write(index: u64, kind: WriteKind, body: Option<Bytes>, rows: u32) -> Op {
        let work = Work::Write(Write { kind, body, rows });
        Op { index, work }
    }

    #[test]
    fn entries_are_applied_in_order() {
        let (mut applier, partition) = applier();
        applier.apply(&[upsert(5, 1), upsert(6, 2), delete(8, 1)]);
        let read = partition.read(0);
        assert_eq!(
            (
                read.view.rows(),
                read.state.applied_index,
                read.state.touched_index
            ),
            (1, 8, 8)
        );
        assert_eq!(
            partition.read(20).state.applied_index,
            20,
            "what was routed elsewhere counts as applied"
        );
    }

    #[test]
    fn entries_that_are_held_already_are_passed_over() {
        let (mut applier, partition) = applier();
        applier.apply(&[upsert(5, 1), delete(8, 1)]);
        applier.apply(&[upsert(5, 1), delete(8, 1), upsert(9, 2)]);
        assert_eq!(partition.stopped(), None);
        assert_eq!(partition.read(0).view.slots(), 2);
    }

    /// Whatever stops it: the entries before are there, those after are not, and the reason names the entry.
    fn stops(op: Op, apply: impl Fn(&mut Replica, &Op) -> Result<Applied>, why: &str) {
        let (mut applier, partition) = applier();
        let at = op.index;
        applier.apply_by(&[upsert(5, 1), op, upsert(at + 1, 9)], &apply);
        applier.apply_by(&[upsert(at + 2, 10)], &apply);
        let read = partition.read(at + 2);
        assert_eq!(
            (
                read.view.rows(),
                read.state.applied_index,
                read.state.touched_index
            ),
            (1, at - 1, 5)
        );
        let reason = partition.stopped().expect("it stopped");
        assert!(
            reason.contains(&format!("entry {at}")) && reason.contains(why),
            "{reason}"
        );
    }

    #[test]
    fn a_panic_stops_the_partition_at_the_entry_before() {
        let explode = |replica: &mut Replica, op: &Op| {
            assert!(op.index != 9, "boom at 9");
            apply(replica, op)
        };
        stops(upsert(9, 2), explode, "boom at 9");
    }

    #[test]
    fn a_malformed_body_stops_the_partition_at_the_entry_before() {
        let upsert = |body, rows| write(9, WriteKind::Upsert, body, rows);
        let garbage = Bytes::from_static(b"not arrow at all");
        stops(upsert(Some(garbage), 1), apply, "MALFORMED_ARROW");
        stops(upsert(None, 1), apply, "CORRUPTION");
        stops(upsert(Some(upsert_body(&[2])), 7), apply, "MALFORMED_ARROW");
    }

    fn delete_where(index: u64, filter: Option<&v1::Filter>) -> Op {
        let body = filter.map(|filter| filter.encode_to_vec().into());
        let work = Work::DeleteWhere(body);
        Op { index, work }
    }

    #[test]
    fn a_filter_deletes_what_was_there_before_its_entry() {
        let no_note = v1::Filter {
            node: Some(v1::filter::Node::IsNull("note".into())),
        };
        let (mut applier, partition) = applier();
        let ops = [
            upsert(5, 1),
            alter(6, 2, Ok(wider_schema())),
            delete_where(7, Some(&no_note)),
        ];
        applier.apply(&ops);
        assert_eq!((partition.stopped(), partition.read(0).view.rows()), (None, 0));
        let outcome = partition.reader.outcome(7).unwrap();
        assert_eq!((outcome.rows(), outcome.matched()), (0, 1));
        // Of the schema before, no such filter can be logged.
        stops(delete_where(9, Some(&no_note)), apply, "UNKNOWN_COLUMN");
        stops(delete_where(9, None), apply, "CORRUPTION");
        stops(
            delete_where(9, Some(&v1::Filter::default())),
            apply,
            "MISSING_FIELD",
        );
    }

    fn alter(index: u64, version: u32, schema: Result<Schema>) -> Op {
        let work = Work::Alter { schema, version };
        Op { index, work }
    }

    #[test]
    fn the_schema_changes_between_writes() {
        let (mut applier, partition) = applier();
        applier.apply(&[upsert(5, 1), alter(6, 2, Ok(wider_schema()))]);
        let view = partition.read(0).view;
        assert_eq!((view.layout().version(), view.rows()), (2, 1));
        // The tail hands it out again after a restart.
        applier.apply(&[alter(6, 2, Ok(wider_schema())), delete(7, 1)]);
        assert_eq!((partition.stopped(), partition.read(0).view.rows()), (None, 0));
    }

    fn tick(index: u64, log_time_ms: u64) -> Op {
        let work = Work::Tick { log_time_ms };
        Op { index, work }
    }

    #[test]
    fn rows_go_at_the_tick_at_which_their_time_is_over() {
        let (mut applier, partition) = applier();
        let ttl = Some(std::time::Duration::from_secs(1));
        let aged = schema().with_ttl(ttl).unwrap();
        // The first row is as old as the change, and the second as the tick behind it.
        applier.apply(&[upsert(5, 1), alter(6, 2, Ok(aged)), tick(7, 10_000), upsert(8, 2)]);
        applier.apply(&[tick(9, 10_500), tick(10, 10_999)]);
        assert_eq!((partition.stopped(), partition.read(0).view.rows()), (None, 2));
        applier.apply(&[tick(11, 11_000)]);
        let read = partition.read(0);
        assert_eq!((read.view.rows(), read.state.touched_index), (1, 11));
        applier.apply(&[tick(12, 11_499), tick(13, 11_500)]);
        let read = partition.read(0);
        assert_eq!(
            (
                read.view.rows(),
                read.state.touched_index,
                read.state.applied_index
            ),
            (0, 13, 13)
        );
    }

    #[test]
    fn a_schema_that_cannot_be_taken_over_stops_the_partition() {
        let unreadable = Err(Error::new(ErrorCode::InvalidSchema, "of a later version"));
        stops(alter(9, 2, unreadable), apply, "of a later version");
        stops(alter(9, 3, Ok(wider_schema())), apply, "comes after version 1");
        let other = crate::state::tests::schema().with_quantization(longbow_types::Quantization::Bit1);
        stops(alter(9, 2, Ok(other)), apply, "SCHEMA_INCOMPATIBLE");
    }
}
