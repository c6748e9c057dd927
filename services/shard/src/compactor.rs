//! Who merges chunks of rows? One task, one merge at a time, behind apply and beside searches.
//!
//! What is to be merged, and how, is for `longbow_storage::compact` to say. This takes the partitions in turn, has a plan
//! of each carried out on threads for blocking work, and hands what came of it to the replica's actor, which shows it to
//! readers in one step. Nothing of it is on disk: what a crash interrupts was never there.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;

use longbow_node::shutdown::Shutdown;
use longbow_storage::compact::{Cursor, Merged, Moved, Plan, Sizes};
use longbow_types::{Error, ErrorCode, Result};

use crate::actors::Actors;
use crate::apply::panic_text;
use crate::partition::Key;
use crate::state::State;

/// Merges of chunks, by what came of them.
const COMPACTIONS: &str = "longbow_compactions_total";
/// Rows of merged chunks, by what became of them.
const ROWS: &str = "longbow_compaction_rows_total";
/// Bytes of columns copied by merges.
const BYTES: &str = "longbow_compaction_bytes_total";

/// Merges whatever is to be merged, until the shutdown.
pub(crate) async fn compact(
    state: Arc<State>,
    actors: Arc<Actors>,
    threads: NonZero<usize>,
    shutdown: Shutdown,
) {
    let mut compactor = Compactor {
        threads,
        shutdown,
        cursors: BTreeMap::new(),
        given_up: BTreeSet::new(),
    };
    loop {
        tokio::select! {
            () = state.compactor.notified() => {}
            () = compactor.shutdown.wait() => return,
        }
        while compactor.round(&state, &actors).await {}
    }
}

struct Compactor {
    threads: NonZero<usize>,
    shutdown: Shutdown,
    /// Where the search for work goes on in each partition.
    cursors: BTreeMap<Key, Cursor>,
    /// Partitions whose rows cannot be merged.
    given_up: BTreeSet<Key>,
}

impl Compactor {
    /// Carries out a plan of each partition that has one; whether there may be more to do.
    async fn round(&mut self, state: &State, actors: &Actors) -> bool {
        let mut done = false;
        let keys: BTreeSet<Key> = state.partitions().keys().copied().collect();
        self.cursors.retain(|key, _| keys.contains(key));
        self.given_up.retain(|key| keys.contains(key));
        for key in keys {
            if self.shutdown.is_triggered() {
                return false;
            }
            // Asked for only now: nothing is held of those whose turn has not come.
            let partition = state.partitions().get(&key).cloned();
            let Some(partition) = partition.filter(|partition| self.may_merge(partition)) else {
                continue;
            };
            let cursor = self.cursors.entry(key).or_default();
            let Some(plan) = partition.reader.view().compaction(&Sizes::default(), cursor) else {
                continue;
            };
            state.merging.store(plan.bytes(), Ordering::Relaxed);
            let done_with = self.carry_out(plan, key, actors).await;
            state.merging.store(0, Ordering::Relaxed);
            match done_with {
                Ok(moved) => {
                    tell(moved);
                    done |= moved.is_some();
                }
                Err(error) if matches!(error.code, ErrorCode::Cancelled | ErrorCode::Stopping) => {
                    return false;
                }
                Err(error) => {
                    tracing::error!(partition = %key, %error, "its chunks are not merged any more");
                    metrics::counter!(COMPACTIONS, "status" => "failed").increment(1);
                    self.given_up.insert(key);
                }
            }
        }
        done
    }

    fn may_merge(&self, partition: &crate::partition::Partition) -> bool {
        partition.stopped().is_none() && !partition.is_evicted() && !self.given_up.contains(&partition.key)
    }

    async fn carry_out(&self, plan: Plan, key: Key, actors: &Actors) -> Result<Option<Moved>> {
        let (threads, shutdown) = (self.threads, self.shutdown.clone());
        let work = move || merge(plan, threads, &|| shutdown.is_triggered());
        let merged = tokio::task::spawn_blocking(work).await;
        let merged = merged.map_err(|error| Error::new(ErrorCode::Internal, error.to_string()))??;
        actors.install(key, merged).await
    }
}

fn merge(plan: Plan, threads: NonZero<usize>, cancel: &(dyn Fn() -> bool + Sync)) -> Result<Merged> {
    let work = || {
        let merge = plan.begin();
        let work = || merge.work(&|| cancel());
        thread::scope(|scope| {
            // A panic of one of them is raised again when all have ended.
            (1..merge.threads(threads)).for_each(|_| drop(scope.spawn(work)));
            work();
        });
        merge.finish()
    };
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let message = format!("a merge panicked: {}", panic_text(panic.as_ref()));
        Err(Error::new(ErrorCode::Internal, message))
    })
}

/// Counts what a merge did. Nothing was done if the writer had merged the chunks itself meanwhile.
fn tell(moved: Option<Moved>) {
    let status = if moved.is_some() { "ok" } else { "overtaken" };
    metrics::counter!(COMPACTIONS, "status" => status).increment(1);
    let moved = moved.unwrap_or_default();
    metrics::counter!(ROWS, "fate" => "moved").increment(moved.rows);
    metrics::counter!(ROWS, "fate" => "dropped").increment(moved.rows_dropped);
    metrics::counter!(BYTES).increment(moved.bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::Place;
    use crate::apply::{Op, Work, Write};
    use crate::state::tests::{delete_body, schema, upsert_body};
    use longbow_storage::{Options, WriteKind};
    use longbow_types::DatasetId;

    const DATASET: DatasetId = DatasetId(3);
    const BATCH: u64 = 3_000;
    const BATCHES: u64 = 8;

    fn key(ordinal: u32) -> Key {
        Key {
            dataset: DATASET,
            ordinal,
        }
    }

    /// Two partitions of many batches each, of which a third of the rows is deleted.
    async fn filled(state: &Arc<State>) -> Arc<Actors> {
        let actors = Arc::new(Actors::start(1, Options::default(), Arc::clone(state)).unwrap());
        let place = Place {
            dataset: DATASET,
            name: "d".to_owned(),
            schema: schema(),
            partitions: vec![0, 1],
        };
        actors.place(place).await.unwrap();
        for batch in 0..BATCHES {
            let ids: Vec<u64> = (batch * BATCH..(batch + 1) * BATCH).collect();
            apply(&actors, 4 + batch, WriteKind::Upsert, &ids).await;
        }
        let dead: Vec<u64> = (0..BATCHES * BATCH).filter(|id| id % 3 == 0).collect();
        apply(&actors, 4 + BATCHES, WriteKind::Delete, &dead).await;
        actors
    }

    async fn apply(actors: &Actors, index: u64, kind: WriteKind, ids: &[u64]) {
        let body = match kind {
            WriteKind::Delete => delete_body(ids),
            _ => upsert_body(ids),
        };
        let work = Work::Write(Write {
            kind,
            body: Some(body),
            rows: ids.len() as u32,
        });
        let op = Op { index, work };
        let entries = [0, 1].map(|ordinal| (key(ordinal), vec![op.clone()]));
        actors.deliver(entries.into()).await.unwrap();
    }

    async fn stop(actors: Arc<Actors>) {
        let actors = Arc::into_inner(actors).expect("tasks that held it have ended");
        tokio::task::spawn_blocking(|| actors.stop()).await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn chunks_are_merged_in_every_partition_and_dead_rows_go() {
        let state = Arc::new(State::new("s1".parse().unwrap()));
        let actors = filled(&state).await;
        let shutdown = Shutdown::new();
        let threads = NonZero::new(2).unwrap();
        let task = tokio::spawn(compact(
            Arc::clone(&state),
            Arc::clone(&actors),
            threads,
            shutdown.clone(),
        ));
        let rows = (BATCHES * BATCH * 2 / 3) as usize;
        for partition in state.partitions().values() {
            // It was woken by what was applied before it began.
            loop {
                let view = partition.reader.view();
                assert_eq!(view.rows(), rows);
                if view.rows_stored() == rows && view.chunks() < BATCHES as usize / 2 {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        // And goes on when there is more to do.
        let dead: Vec<u64> = (0..BATCHES * BATCH).filter(|id| id % 3 == 1).collect();
        apply(&actors, 5 + BATCHES, WriteKind::Delete, &dead).await;
        for partition in state.partitions().values() {
            while partition.reader.view().rows_stored() > rows / 2 {
                tokio::task::yield_now().await;
            }
        }
        shutdown.trigger();
        task.await.unwrap();
        stop(actors).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_merge_for_a_replica_that_is_gone_is_let_go() {
        let state = Arc::new(State::new("s1".parse().unwrap()));
        let actors = filled(&state).await;
        let view = state.partitions()[&key(0)].reader.view();
        let plan = view
            .compaction(&Sizes::default(), &mut Cursor::default())
            .unwrap();
        let merged = merge(plan, NonZero::<usize>::MIN, &|| false).unwrap();
        actors.evict(DATASET).await.unwrap();
        assert_eq!(actors.install(key(0), merged).await.unwrap(), None);
        stop(actors).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_merge_ends_with_the_shutdown() {
        let state = Arc::new(State::new("s1".parse().unwrap()));
        let actors = filled(&state).await;
        let shutdown = Shutdown::new();
        shutdown.trigger();
        let mut compactor = Compactor {
            threads: NonZero::<usize>::MIN,
            shutdown,
            cursors: BTreeMap::new(),
            given_up: BTreeSet::new(),
        };
        let view = state.partitions()[&key(0)].reader.view();
        let plan = view
            .compaction(&Sizes::default(), &mut Cursor::default())
            .unwrap();
        let error = compactor.carry_out(plan, key(0), &actors).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::Cancelled);
        assert!(!compactor.round(&state, &actors).await);
        assert!(compactor.given_up.is_empty());
        stop(actors).await;
    }
}
