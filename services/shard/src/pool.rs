//! Where do searches run? On threads of their own, behind a bounded queue, for as long as the caller waits.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use longbow_node::rpc::deadline;
use longbow_types::{Error, ErrorCode, Result};
use parking_lot::{Condvar, Mutex};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::apply::panic_text;

/// When a refused caller may try again.
const RETRY_AFTER: Duration = Duration::from_millis(50);

type Job = Box<dyn FnOnce() + Send>;

/// Which work goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// The first work of a request; refused when the queue is full.
    New,
    /// The next piece of a scan: waits its turn like any other work, so that scans do not keep searches waiting, but is
    /// not refused, for what was sent would be lost. Scans under way are as many as [`Pool::admit_scan`] lets in.
    Piece,
    /// The end of a request that has had the most done: goes first and is not refused. Requests under way bound how
    /// much of it there is.
    Continued,
}

/// The threads and their queue.
pub(crate) struct Pool {
    queue: Arc<Queue>,
    scans: Arc<Semaphore>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Queue {
    jobs: Mutex<Jobs>,
    ready: Condvar,
    limit: usize,
}

#[derive(Default)]
struct Jobs {
    waiting: VecDeque<Job>,
    stopping: bool,
}

/// Whether anybody still waits for some work.
pub(crate) struct Cancel {
    gone: Arc<AtomicBool>,
    deadline: Option<Instant>,
}

impl Cancel {
    /// Whether to stop.
    pub(crate) fn is_due(&self) -> bool {
        self.gone.load(Ordering::Relaxed) || deadline::passed(self.deadline)
    }

    /// Says which of the two it was.
    fn explain(&self, error: Error) -> Error {
        let late = error.code == ErrorCode::Cancelled && deadline::passed(self.deadline);
        if late { deadline::exceeded() } else { error }
    }
}

struct GoneOnDrop(Arc<AtomicBool>);

impl Drop for GoneOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Pool {
    /// Starts the threads. At most `limit` jobs wait.
    pub(crate) fn start(threads: usize, limit: usize) -> std::io::Result<Self> {
        let queue = Arc::new(Queue {
            jobs: Mutex::default(),
            ready: Condvar::new(),
            limit,
        });
        let threads = (0..threads).map(|at| {
            let queue = Arc::clone(&queue);
            thread::Builder::new()
                .name(format!("search-{at}"))
                .spawn(move || queue.work())
        });
        Ok(Self {
            threads: Mutex::new(threads.collect::<Result<_, _>>()?),
            scans: Arc::new(Semaphore::new(limit)),
            queue,
        })
    }

    /// Runs some work and waits for it until the deadline. Dropping the future cancels the work.
    ///
    /// # Errors
    /// `OVERLOADED` when too much waits already, `DEADLINE_EXCEEDED`, `STOPPING`, `INTERNAL` if the work panics, or
    /// what the work says.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        lane: Lane,
        deadline: Option<Instant>,
        work: impl FnOnce(&Cancel) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let gone = Arc::new(AtomicBool::new(false));
        let _gone = GoneOnDrop(Arc::clone(&gone));
        let cancel = Cancel { gone, deadline };
        let (send, receive) = oneshot::channel();
        let job = move || {
            if cancel.is_due() {
                let error = Error::new(ErrorCode::Cancelled, "the caller gave up before the search began");
                let _ = send.send(Err(cancel.explain(error)));
                return;
            }
            let done = catch_unwind(AssertUnwindSafe(|| work(&cancel))).unwrap_or_else(|panic| {
                let message = format!("a search panicked: {}", panic_text(panic.as_ref()));
                tracing::error!("{message}");
                Err(Error::new(ErrorCode::Internal, message))
            });
            // Nobody listens when the caller has given up.
            let _ = send.send(done.map_err(|error| cancel.explain(error)));
        };
        self.queue.push(lane, Box::new(job))?;
        deadline::within(deadline, receive)
            .await?
            .unwrap_or_else(|_| Err(stopping()))
    }

    /// Lets another scan in, until the permit is dropped.
    ///
    /// # Errors
    /// `OVERLOADED` when as many are under way as searches may wait.
    pub(crate) fn admit_scan(&self) -> Result<OwnedSemaphorePermit> {
        let permit = Arc::clone(&self.scans).try_acquire_owned();
        permit.map_err(|_| overloaded("too many scans are under way on this shard", self.queue.limit))
    }

    /// Refuses what waits, lets what runs finish, and waits for the threads. Blocks.
    pub(crate) fn stop(&self) {
        {
            let mut jobs = self.queue.jobs.lock();
            jobs.stopping = true;
            // Dropping a job tells its waiter.
            jobs.waiting.clear();
        }
        self.queue.ready.notify_all();
        for thread in self.threads.lock().drain(..) {
            // Panics of jobs are caught; there is nothing to hear from it.
            let _ = thread.join();
        }
    }
}

impl Queue {
    fn push(&self, lane: Lane, job: Job) -> Result<()> {
        let mut jobs = self.jobs.lock();
        if jobs.stopping {
            return Err(stopping());
        }
        match lane {
            Lane::Continued => jobs.waiting.push_front(job),
            Lane::New if jobs.waiting.len() >= self.limit => {
                return Err(overloaded("too many searches wait on this shard", self.limit));
            }
            Lane::New | Lane::Piece => jobs.waiting.push_back(job),
        }
        drop(jobs);
        self.ready.notify_one();
        Ok(())
    }

    fn work(&self) {
        loop {
            let mut jobs = self.jobs.lock();
            let job = loop {
                if let Some(job) = jobs.waiting.pop_front() {
                    break job;
                }
                if jobs.stopping {
                    return;
                }
                self.ready.wait(&mut jobs);
            };
            drop(jobs);
            job();
        }
    }
}

fn overloaded(message: &'static str, limit: usize) -> Error {
    Error::new(ErrorCode::Overloaded, message)
        .field("shard.search_queue")
        .limit(limit)
        .retry_after(RETRY_AFTER)
}

fn stopping() -> Error {
    Error::new(ErrorCode::Stopping, "the node is stopping")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// Occupies a thread until told to go on.
    fn occupy(pool: &Arc<Pool>) -> (mpsc::Sender<()>, tokio::task::JoinHandle<Result<()>>) {
        let (go, wait) = mpsc::channel::<()>();
        let (started, begun) = mpsc::channel();
        let pool = Arc::clone(pool);
        let task = tokio::spawn(async move {
            let work = move |_: &Cancel| {
                started.send(()).unwrap();
                let _ = wait.recv();
                Ok(())
            };
            pool.run(Lane::New, None, work).await
        });
        begun.recv().unwrap();
        (go, task)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_queue_is_bounded_and_a_scan_waits_its_turn() {
        let pool = Arc::new(Pool::start(1, 1).unwrap());
        let (go, first) = occupy(&pool);
        let order = Arc::new(Mutex::new(Vec::new()));
        let run = |lane: Lane, name: &'static str| {
            let (pool, order) = (Arc::clone(&pool), Arc::clone(&order));
            let work = move |_: &Cancel| {
                order.lock().push(name);
                Ok(())
            };
            async move { pool.run(lane, None, work).await }
        };
        let mut waits = Box::pin(run(Lane::New, "waits"));
        assert!(futures::poll!(&mut waits).is_pending());
        let error = run(Lane::New, "too much").await.unwrap_err();
        assert_eq!(
            (error.code, error.limit.as_deref()),
            (ErrorCode::Overloaded, Some("1"))
        );
        assert!(error.retry_after.is_some());
        let mut piece = Box::pin(run(Lane::Piece, "piece"));
        assert!(futures::poll!(&mut piece).is_pending());
        let mut continued = Box::pin(run(Lane::Continued, "continued"));
        assert!(futures::poll!(&mut continued).is_pending());
        go.send(()).unwrap();
        first.await.unwrap().unwrap();
        continued.await.unwrap();
        waits.await.unwrap();
        piece.await.unwrap();
        assert_eq!(*order.lock(), ["continued", "waits", "piece"]);
        let scan = pool.admit_scan().unwrap();
        assert_eq!(pool.admit_scan().unwrap_err().code, ErrorCode::Overloaded);
        drop(scan);
        assert!(pool.admit_scan().is_ok());
        pool.stop();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_caller_that_goes_away_cancels_its_work() {
        let pool = Arc::new(Pool::start(1, 8).unwrap());
        let (started, begun) = oneshot::channel();
        let (ended, end) = oneshot::channel();
        let work = move |cancel: &Cancel| -> Result<()> {
            started.send(()).unwrap();
            while !cancel.is_due() {
                thread::yield_now();
            }
            ended.send(()).unwrap();
            Ok(())
        };
        let caller = tokio::spawn({
            let pool = Arc::clone(&pool);
            async move { pool.run(Lane::New, None, work).await }
        });
        begun.await.unwrap();
        caller.abort();
        end.await.expect("the work saw that nobody waits");
        pool.stop();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_deadline_reaches_running_and_waiting_work() {
        let pool = Arc::new(Pool::start(1, 8).unwrap());
        let soon = || Some(Instant::now() + Duration::from_millis(20));
        let running = |cancel: &Cancel| -> Result<()> {
            while !cancel.is_due() {
                thread::yield_now();
            }
            Err(Error::new(ErrorCode::Cancelled, "as a search says"))
        };
        let error = pool.run(Lane::New, soon(), running).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::DeadlineExceeded);

        let (go, first) = occupy(&pool);
        let waiting = |_: &Cancel| -> Result<()> { panic!("work that nobody waits for must not begin") };
        let error = pool.run(Lane::New, soon(), waiting).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::DeadlineExceeded);
        go.send(()).unwrap();
        first.await.unwrap().unwrap();
        assert_eq!(pool.run(Lane::New, None, |_| Ok(7)).await.unwrap(), 7);
        pool.stop();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_panic_is_an_error_and_the_thread_goes_on() {
        let pool = Pool::start(1, 8).unwrap();
        let error = pool
            .run(Lane::New, None, |_| -> Result<()> { panic!("boom") })
            .await
            .unwrap_err();
        assert_eq!(error.code, ErrorCode::Internal);
        assert!(error.message.contains("boom"));
        assert_eq!(pool.run(Lane::New, None, |_| Ok(7)).await.unwrap(), 7);
        pool.stop();
        let error = pool.run(Lane::New, None, |_| Ok(7)).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::Stopping);
    }
}
