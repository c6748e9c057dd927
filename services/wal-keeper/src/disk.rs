//! The disk thread: makes durable whatever waits, all of it with one write and one fdatasync, and says so.
//!
//! While one sync runs, what comes meanwhile is staged in a second buffer, encoded and checksummed, and shares the next;
//! where many write, the next waits a little for more to share it ([`linger`]). A full disk is tried again for a bounded time, before anything was synced; every
//! other failure is final.

mod linger;

use std::{
    collections::VecDeque,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use longbow_cluster::raft_core::{ENTRY_BYTES_MAX, HardState, Persist};
use longbow_wal::{Batch, EntryKind, Error, Reader, Writer};
use longbow_wire::internal::RaftEntryType;
use metrics::{Counter, Histogram};
use parking_lot::{Condvar, Mutex, MutexGuard};

use self::linger::{GAP_MAX, Linger, WAIT_MAX, is_enough};
use crate::{GROUP, mailbox::Mailbox, spare::SpareMaker};

/// A flush takes no more than about this, so that its first records do not wait for all others.
const FLUSH_BYTES_MAX: usize = 16 << 20;
// What raft lets in can be stored: a record that cannot be would end the log.
const _: () = assert!(ENTRY_BYTES_MAX < longbow_wal::RECORD_BYTES_MAX);

const FULL_PAUSE: Duration = Duration::from_millis(100);
const FULL_TRIES: u32 = 50;

/// What waits for the disk. Bounded by raft: what is proposed and uncommitted, and what peers have in flight.
pub(crate) struct DiskQueue {
    state: Mutex<State>,
    news: Condvar,
    reader: Reader,
    /// When the flush or trim under way began.
    flushing: Mutex<Option<Instant>>,
}

struct State {
    /// What the next flush writes.
    staged: Batch,
    /// Number of the last job staged, if one is.
    number: Option<u64>,
    /// Jobs that the next flush has no room for.
    waiting: VecDeque<Persist>,
    /// What could not be staged, and so must end the log.
    failed: Option<Error>,
    /// Entries before this one may go.
    trim: Option<u64>,
    /// The last thing done was a trim: what is staged comes first.
    trimmed: bool,
    linger: Linger,
    /// The thread waits for so many records to share a flush, and need not be woken for each.
    awaited: Option<usize>,
    end: Option<End>,
}

/// How the thread is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Finish what waits and close the log.
    Close,
    /// Leave everything as it is.
    Abandon,
}

/// What the disk thread is to do next.
enum Next {
    /// Flush the batch, whose last job has this number.
    Flush(u64),
    /// Give up segments before this entry.
    Trim(u64),
    Fail(Error),
    End(End),
}

impl DiskQueue {
    pub fn new(reader: Reader) -> Self {
        let state = State {
            staged: Batch::new(),
            number: None,
            waiting: VecDeque::new(),
            failed: None,
            trim: None,
            trimmed: false,
            linger: Linger::default(),
            awaited: None,
            end: None,
        };
        Self {
            state: Mutex::new(state),
            news: Condvar::new(),
            reader,
            flushing: Mutex::new(None),
        }
    }

    /// How long the flush under way, or a trim that flushes wait for, has taken so far.
    pub fn flushing_for(&self) -> Option<Duration> {
        self.flushing.lock().map(|began| began.elapsed())
    }

    fn set_flushing(&self, begins: bool) {
        *self.flushing.lock() = begins.then(Instant::now);
    }

    /// Stages a job for the next flush, while the current one may be under way.
    pub fn push(&self, job: Persist) {
        let mut state = self.state.lock();
        state.waiting.push_back(job);
        self.stage(&mut state);
        let (records, bytes) = (state.staged.records(), state.staged.bytes());
        let is_due = state
            .awaited
            .is_none_or(|awaited| records >= awaited || is_enough(records, bytes));
        drop(state);
        if is_due {
            self.news.notify_one();
        }
    }

    /// Entries before this one may go: whole segments of them do.
    pub fn trim(&self, first_kept: u64) {
        self.state.lock().trim = Some(first_kept);
        self.news.notify_one();
    }

    /// More segments before this entry may go, unless a later one was named meanwhile.
    fn trim_on(&self, first_kept: u64) {
        self.state.lock().trim.get_or_insert(first_kept);
    }

    /// What is to be trimmed, for a thread that cannot come for it.
    fn take_trim(&self) -> Option<u64> {
        self.state.lock().trim.take()
    }

    pub fn end(&self, end: End) {
        self.state.lock().end = Some(end);
        self.news.notify_one();
    }

    /// Stages what waits, as far as one flush takes it.
    fn stage(&self, state: &mut State) {
        self.reader.prepare(&mut state.staged);
        while state.staged.bytes() < FLUSH_BYTES_MAX
            && state.failed.is_none()
            && let Some(job) = state.waiting.pop_front()
        {
            match encode(&mut state.staged, &job) {
                Ok(()) => state.number = Some(job.number),
                Err(error) => state.failed = Some(error),
            }
        }
    }

    /// Waits for more to share the flush of what is staged, as long as more keeps coming.
    fn linger(&self, state: &mut MutexGuard<'_, State>) {
        let (records, bytes) = (state.staged.records(), state.staged.bytes());
        let Some(awaited) = state.linger.awaited(records, bytes) else {
            return;
        };
        let until = Instant::now() + WAIT_MAX;
        state.awaited = Some(awaited);
        loop {
            let (records, bytes) = (state.staged.records(), state.staged.bytes());
            let is_over = state.end.is_some() || state.failed.is_some();
            let left = until.saturating_duration_since(Instant::now());
            if is_over || records >= awaited || is_enough(records, bytes) || left.is_zero() {
                break;
            }
            self.news.wait_for(state, GAP_MAX.min(left));
            if state.staged.records() == records {
                break;
            }
        }
        state.awaited = None;
    }

    /// Waits for work. Swaps what is staged with `empty`.
    fn take(&self, empty: &mut Batch) -> Next {
        let mut state = self.state.lock();
        if !state.trimmed {
            let came_meanwhile = state.staged.records();
            state.linger.flushed(came_meanwhile);
        }
        loop {
            if state.end == Some(End::Abandon) {
                return Next::End(End::Abandon);
            }
            if let Some(error) = state.failed.take() {
                return Next::Fail(error);
            }
            // In turn with flushes: under load there always is one, and a trim may be long.
            if !(state.trimmed && state.number.is_some())
                && let Some(first_kept) = state.trim.take()
            {
                state.trimmed = true;
                return Next::Trim(first_kept);
            }
            state.trimmed = false;
            if state.number.is_some() {
                self.linger(&mut state);
                if state.end == Some(End::Abandon) || state.failed.is_some() {
                    continue;
                }
            }
            if let Some(number) = state.number.take() {
                let records = state.staged.records();
                state.linger.flushes(records);
                std::mem::swap(&mut state.staged, empty);
                self.stage(&mut state);
                return Next::Flush(number);
            }
            if let Some(end) = state.end {
                return Next::End(end);
            }
            self.news.wait(&mut state);
        }
    }
}

/// Runs the thread. It returns why it could not make something durable, if so.
pub(crate) fn spawn(
    mut writer: Writer,
    queue: Arc<DiskQueue>,
    mailbox: Arc<Mailbox>,
) -> std::io::Result<thread::JoinHandle<Result<(), String>>> {
    let spares = SpareMaker::start(writer.spares())?;
    thread::Builder::new()
        .name("longbow-wal".to_owned())
        .spawn(move || {
            let _guard = PanicGuard(mailbox.clone(), "the log's thread panicked");
            let meters = Meters::new();
            let mut batch = Batch::new();
            let end = loop {
                let flushed = match queue.take(&mut batch) {
                    Next::Flush(number) => {
                        queue.set_flushing(true);
                        let flushed = flush(&mut writer, &mut batch, &queue, &meters);
                        queue.set_flushing(false);
                        flushed.map(|()| number)
                    }
                    Next::Trim(first_kept) => {
                        queue.set_flushing(true);
                        if trim(&mut writer, first_kept, 1) {
                            queue.trim_on(first_kept);
                        }
                        queue.set_flushing(false);
                        continue;
                    }
                    Next::Fail(error) => Err(error),
                    Next::End(end) => break end,
                };
                match flushed {
                    Ok(number) => mailbox.flushed(number),
                    Err(error) => {
                        mailbox.disk_failed(error.to_string());
                        // Nothing can be written any more. What was durable is still read.
                        return Err(error.to_string());
                    }
                }
                spares.poke();
            };
            match end {
                End::Close => writer.close().map_err(|error| error.to_string()),
                End::Abandon => Ok(()),
            }
        })
}

/// A thread that is gone must not be waited for: says so in these words.
pub(crate) struct PanicGuard(pub Arc<Mailbox>, pub &'static str);

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.disk_failed(self.1.to_owned());
        }
    }
}

/// Metrics of the thread, looked up once.
struct Meters {
    synced: Histogram,
    failed: Histogram,
    written: Counter,
}

impl Meters {
    fn new() -> Self {
        Self {
            synced: metrics::histogram!("longbow_wal_fsync_duration_seconds", "status" => "ok"),
            failed: metrics::histogram!("longbow_wal_fsync_duration_seconds", "status" => "error"),
            written: metrics::counter!("longbow_wal_bytes_written_total"),
        }
    }
}

fn encode(batch: &mut Batch, job: &Persist) -> Result<(), Error> {
    if let Some(at) = job.snapshot {
        batch.start(GROUP, at.term, at.index);
    }
    for entry in &job.entries {
        if let Some(state) = job.hard_state_before(entry) {
            batch.hard_state(GROUP, stored(state));
        }
        let kind = match entry.entry_type() {
            RaftEntryType::Unspecified => EntryKind::Normal,
            RaftEntryType::ConfChange => EntryKind::ConfChange,
            RaftEntryType::ConfChangeV2 => EntryKind::ConfChangeV2,
        };
        batch.entry(GROUP, kind, entry.term, entry.index, &entry.data)?;
    }
    if let Some(state) = job.hard_state {
        batch.hard_state(GROUP, stored(state));
    }
    Ok(())
}

fn stored(state: HardState) -> longbow_wal::HardState {
    longbow_wal::HardState {
        term: state.term,
        vote: state.vote,
        commit: state.commit,
    }
}

/// Gives up some segments, and says whether any went. What does not go now goes later: the log stays as usable as it was.
fn trim(writer: &mut Writer, first_kept: u64, max: usize) -> bool {
    match writer.trim(|_| first_kept, max) {
        Ok(0) => false,
        Ok(segments) => {
            metrics::counter!("longbow_wal_segments_trimmed_total").increment(segments as u64);
            tracing::info!(first_kept, segments, "the log was cut");
            true
        }
        Err(error) => {
            tracing::warn!(%error, "the log could not be cut: trying again later");
            false
        }
    }
}

fn flush(writer: &mut Writer, batch: &mut Batch, queue: &DiskQueue, meters: &Meters) -> Result<(), Error> {
    let mut tries = 0;
    loop {
        let began = Instant::now();
        let flushed = writer.commit(batch);
        let took = began.elapsed().as_secs_f64();
        match flushed {
            Ok(flushed) => {
                meters.synced.record(took);
                meters.written.increment(flushed.bytes as u64);
                return Ok(());
            }
            Err(Error::Full { operation, source }) if tries < FULL_TRIES => {
                meters.failed.record(took);
                if tries == 0 {
                    tracing::warn!(operation, error = %source, "the log's disk is full: trying again");
                }
                // What may go is room, and this thread is the one that would come for it.
                let trimmed = queue.take_trim().is_some_and(|at| trim(writer, at, usize::MAX));
                if tries == 0 && !trimmed {
                    // A spare that was not fit to be the next segment is room for one.
                    let released = writer.spares().release();
                    tracing::debug!(?released, "a spare segment was given up for room");
                }
                tries += 1;
                thread::sleep(FULL_PAUSE);
            }
            Err(error) => {
                meters.failed.record(took);
                return Err(error);
            }
        }
    }
}

#[cfg(test)]
mod tests;
