//! Who links rows into the graphs, takes out what is gone, codes rows anew when the data drifts, and measures recall
//! where it is asked for? A few threads, behind apply, at their own pace.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use parking_lot::{Condvar, Mutex};

use crate::apply::panic_text;
use crate::partition::Partition;
use crate::state::State;

/// Rows linked before a thread looks at the next partition: some milliseconds of work.
const BATCH: usize = 32;
/// Nodes looked at for links to rows that are gone, in the same time about.
const VACUUM_BATCH: usize = 1024;
/// Rows coded anew in the same time about.
const RETRAIN_BATCH: usize = 1024;
/// Queries of a measurement of recall: each scans all rows a few times.
const CALIBRATE_BATCH: usize = 1;

/// Running builder threads.
pub(crate) struct Builders {
    wake: Arc<Wake>,
    threads: Vec<JoinHandle<()>>,
}

/// Tells builders that there is something to link. Clones wake the same threads.
#[derive(Default)]
pub(crate) struct Wake {
    state: Mutex<Signal>,
    changed: Condvar,
}

#[derive(Default)]
struct Signal {
    /// Raised with each call; a builder that found nothing sleeps until it differs from before its search.
    calls: u64,
    stopping: bool,
}

impl Wake {
    /// There is something to link.
    pub(crate) fn wake(&self) {
        self.state.lock().calls += 1;
        self.changed.notify_all();
    }

    fn calls(&self) -> u64 {
        self.state.lock().calls
    }

    fn stopping(&self) -> bool {
        self.state.lock().stopping
    }

    /// Sleeps until there is a call after `seen`. False: stop.
    fn sleep(&self, seen: u64) -> bool {
        let mut signal = self.state.lock();
        while signal.calls == seen && !signal.stopping {
            self.changed.wait(&mut signal);
        }
        !signal.stopping
    }
}

impl Builders {
    /// Starts the threads.
    pub(crate) fn start(threads: usize, state: &Arc<State>) -> std::io::Result<Self> {
        let wake = Arc::clone(&state.builders);
        let threads = (0..threads).map(|at| {
            let state = Arc::clone(state);
            thread::Builder::new()
                .name(format!("build-{at}"))
                .spawn(move || build(&state, at))
        });
        Ok(Self {
            threads: threads.collect::<Result<_, _>>()?,
            wake,
        })
    }

    /// Ends the threads and waits for them; at most a batch each, which is some milliseconds of work.
    pub(crate) fn stop(self) {
        self.wake.state.lock().stopping = true;
        self.wake.changed.notify_all();
        for thread in self.threads {
            // Its panics are caught; there is nothing to hear from it.
            let _ = thread.join();
        }
    }
}

fn build(state: &State, at: usize) {
    let wake = &state.builders;
    loop {
        let seen = wake.calls();
        let partitions = state.partitions();
        let mut done = 0;
        // Threads start at different partitions, so that they meet in one only when it alone has work.
        for partition in partitions.values().cycle().skip(at).take(partitions.len()) {
            if wake.stopping() {
                return;
            }
            done += work(partition, &|| wake.stopping());
        }
        // A thread that sleeps holds nothing: a dataset may be dropped meanwhile.
        drop(partitions);
        if done == 0 && !wake.sleep(seen) {
            return;
        }
    }
}

/// A batch of a partition's work; 0 if it has none. `cancel` ends what takes longer than a batch may.
fn work(partition: &Partition, cancel: &dyn Fn() -> bool) -> usize {
    if partition.unbuildable().is_some() {
        return 0;
    }
    let batch = || {
        // Codes first: links chosen on codes that fit the data no more would stay.
        let coded = partition.reader.retrain(RETRAIN_BATCH);
        let linked = partition.reader.link(BATCH);
        let mut looked_at = partition.reader.vacuum(VACUUM_BATCH) + coded;
        // Last, for nothing waits for it: until then searches are wider than they need to be.
        if linked + looked_at == 0 && partition.is_recall_wanted() {
            looked_at = partition.reader.calibrate(CALIBRATE_BATCH, cancel);
        }
        (linked, looked_at)
    };
    match catch_unwind(AssertUnwindSafe(batch)) {
        Ok((linked, looked_at)) => {
            if linked > 0 {
                partition.progressed();
            }
            linked + looked_at
        }
        Err(panic) => {
            let why = panic_text(panic.as_ref()).to_owned();
            tracing::error!(partition = %partition.key, "building the graph: {why}; its rows are scanned instead");
            partition.give_up_building(why);
            0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::{Applier, Op, Work, Write};
    use crate::partition::Key;
    use crate::state::tests::{schema, upsert_body};
    use longbow_storage::{Options, Projection, Query, Replica, Searched, WriteKind};
    use longbow_types::DatasetId;

    /// A partition with rows of these ids, to be linked.
    fn partition(ids: &[u64]) -> Arc<Partition> {
        let key = Key {
            dataset: DatasetId(3),
            ordinal: 0,
        };
        let replica = Replica::new(schema(), &Options::default(), 3);
        let partition = Arc::new(Partition::new(key, "d".into(), replica.reader().clone()));
        let work = Work::Write(Write {
            kind: WriteKind::Upsert,
            body: Some(upsert_body(ids)),
            rows: ids.len() as u32,
        });
        let op = Op { index: 4, work };
        Applier::new(replica, Arc::clone(&partition)).apply(&[op]);
        partition
    }

    #[test]
    fn recall_is_measured_where_it_is_wanted() {
        // So many that the graph is walked.
        let partition = partition(&(0..12_000).collect::<Vec<_>>());
        let finish = || while work(&partition, &|| false) > 0 {};
        let recall = || {
            let view = partition.reader.view();
            let projection = Projection::new(view.layout(), &[], false).unwrap();
            let query = Query {
                searched: Searched::default(),
                vector: (&[500.25f32, 0.0]).into(),
                k: 10,
                ef: 0,
                recall_target: Some(0.9),
                full_precision: false,
                exact: false,
                predicate: None,
                projection: &projection,
            };
            view.search(&query, &|| false).unwrap().stats.recall
        };
        finish();
        assert_eq!((partition.reader.unlinked(), recall()), (0, None));
        assert!(partition.want_recall());
        assert!(!partition.want_recall(), "only the first one wakes anybody");
        finish();
        assert!(recall().is_some_and(|recall| recall >= 0.9));
    }

    #[test]
    fn a_thread_that_sleeps_holds_no_dataset() {
        let state = Arc::new(State::new("s1".parse().unwrap()));
        let partition = partition(&[1]);
        state.change_partitions(|partitions| {
            partitions.insert(partition.key, Arc::clone(&partition));
        });
        let builders = Builders::start(1, &state).unwrap();
        while partition.reader.unlinked() > 0 {
            thread::yield_now();
        }
        state.change_partitions(std::collections::BTreeMap::clear);
        let held = Arc::downgrade(&partition);
        drop(partition);
        while held.strong_count() > 0 {
            thread::yield_now();
        }
        builders.stop();
    }
}
