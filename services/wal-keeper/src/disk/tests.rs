//! What waits shares one write and one sync, and is staged while another sync runs.

use std::{io, time::Duration};

use longbow_cluster::raft_core::HardState;
use longbow_wal::{Disk, DiskFile, Log, Options, sim::SimDisk};
use longbow_wire::internal::RaftEntry;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

/// A disk whose syncs wait while the gate is shut.
struct Gated {
    disk: SimDisk,
    gate: Arc<Gate>,
}

#[derive(Default)]
struct Gate {
    state: Mutex<GateState>,
    news: Condvar,
}

#[derive(Default)]
struct GateState {
    shut: bool,
    waiting: usize,
}

impl Gate {
    fn shut(&self, shut: bool) {
        self.state.lock().shut = shut;
        self.news.notify_all();
    }

    fn pass(&self) {
        let mut state = self.state.lock();
        state.waiting += 1;
        self.news.notify_all();
        while state.shut {
            self.news.wait(&mut state);
        }
        state.waiting -= 1;
    }

    /// Waits until a sync waits.
    fn reached(&self) {
        let mut state = self.state.lock();
        while state.waiting == 0 {
            assert!(
                !self.news.wait_for(&mut state, PATIENCE).timed_out(),
                "no sync came"
            );
        }
    }
}

impl Disk for Gated {
    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn create(&self, name: &str, len: u64) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.disk.create(name, len)?;
        Ok(Arc::new(GatedFile(file, self.gate.clone())))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.disk.open(name)?;
        Ok(Arc::new(GatedFile(file, self.gate.clone())))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.disk.sync_dir()
    }
}

struct GatedFile(Arc<dyn DiskFile>, Arc<Gate>);

impl DiskFile for GatedFile {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.0.write_at(buf, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.1.pass();
        self.0.sync_data()
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.truncate(len)
    }
}

fn job(number: u64, bytes: usize) -> Persist {
    Persist {
        number,
        snapshot: None,
        entries: vec![RaftEntry {
            term: 1,
            index: number,
            data: vec![number as u8; bytes].into(),
            ..RaftEntry::default()
        }],
        hard_state: Some(HardState {
            term: 1,
            vote: 1,
            commit: number - 1,
        }),
    }
}

struct Running {
    disk: SimDisk,
    gate: Arc<Gate>,
    queue: Arc<DiskQueue>,
    reader: Reader,
    thread: thread::JoinHandle<Result<(), String>>,
}

fn start(options: Options) -> Running {
    let (disk, gate) = (SimDisk::new(), Arc::new(Gate::default()));
    let gated = Gated {
        disk: disk.clone(),
        gate: gate.clone(),
    };
    let log = Log::create(Arc::new(gated), options, 7).unwrap();
    let queue = Arc::new(DiskQueue::new(log.reader.clone()));
    let thread = spawn(log.writer, queue.clone(), Arc::new(Mailbox::new(1 << 20))).unwrap();
    Running {
        disk,
        gate,
        queue,
        reader: log.reader,
        thread,
    }
}

fn wait_for(what: &str, done: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < until, "{what}");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn what_comes_during_a_sync_is_staged_and_shares_the_next() {
    let options = Options {
        segment_bytes: 1 << 20,
        spares: 1,
    };
    let running = start(options);
    let before = running.disk.counters();
    running.gate.shut(true);
    running.queue.push(job(1, 100));
    running.gate.reached();
    for number in 2..=51 {
        running.queue.push(job(number, 100));
    }
    {
        let state = running.queue.state.lock();
        assert_eq!(
            (state.staged.records(), state.waiting.len()),
            (100, 0),
            "staged during the sync"
        );
    }
    assert_eq!(
        running.reader.last_index(GROUP),
        0,
        "nothing counts before its sync"
    );
    running.gate.shut(false);
    wait_for("all are durable", || running.reader.last_index(GROUP) == 51);
    let after = running.disk.counters();
    assert_eq!((after.writes - before.writes, after.syncs - before.syncs), (2, 2));
    running.queue.end(End::Close);
    running.thread.join().unwrap().unwrap();
    let log = Log::open(Arc::new(running.disk.crash(&mut || false)), options).unwrap();
    assert_eq!((log.reader.last_index(GROUP), log.recovered.rewritten), (51, 0));
}

#[test]
fn a_flush_is_bounded_and_nothing_overtakes() {
    let running = start(Options {
        segment_bytes: 64 << 20,
        spares: 0,
    });
    running.gate.shut(true);
    running.queue.push(job(1, 1));
    running.gate.reached();
    for number in 2..=6 {
        running.queue.push(job(number, 9 << 20));
    }
    {
        let state = running.queue.state.lock();
        assert_eq!(
            (state.number, state.waiting.len()),
            (Some(3), 3),
            "two jobs of 9 MiB are one flush"
        );
    }
    running.gate.shut(false);
    running.queue.end(End::Close);
    running.thread.join().unwrap().unwrap();
    assert_eq!(running.reader.last_index(GROUP), 6);
    let entries = running.reader.read(GROUP, 1..7, usize::MAX).unwrap();
    assert!(entries.iter().all(|e| e.data[0] == e.index as u8));
}

#[test]
fn spares_are_made_beside_the_log_and_used_by_it() {
    let running = start(Options {
        segment_bytes: 64 << 10,
        spares: 1,
    });
    let has_spare = || {
        running
            .disk
            .list()
            .unwrap()
            .iter()
            .any(|name| name.ends_with(".spare"))
    };
    let mut number = 0;
    let mut push = |bytes| {
        number += 1;
        running.queue.push(job(number, bytes));
        wait_for("it is durable", || running.reader.last_index(GROUP) == number);
    };
    push(1000);
    assert!(!has_spare(), "not before it is needed");
    push(40_000);
    wait_for("a spare is made", has_spare);
    push(40_000);
    let taken = || {
        running
            .disk
            .list()
            .unwrap()
            .iter()
            .filter(|name| name.ends_with(".wal"))
            .count()
            == 2
    };
    assert!(taken());
    running.queue.end(End::Abandon);
    running.thread.join().unwrap().unwrap();
}

#[test]
fn a_record_that_cannot_be_staged_ends_the_log() {
    let running = start(Options::default());
    running.queue.push(job(1, longbow_wal::RECORD_BYTES_MAX + 1));
    running.thread.join().unwrap().unwrap_err();
    assert_eq!(running.reader.last_index(GROUP), 0);
}

#[test]
fn a_flush_that_hangs_can_be_seen_and_a_close_that_fails_is_told() {
    let running = start(Options::default());
    assert_eq!(running.queue.flushing_for(), None);
    running.gate.shut(true);
    running.queue.push(job(1, 100));
    running.gate.reached();
    assert!(running.queue.flushing_for().is_some());
    running.gate.shut(false);
    wait_for("it is durable", || running.reader.last_index(GROUP) == 1);
    wait_for("the flush is over", || running.queue.flushing_for().is_none());
    running.disk.set_faults(longbow_wal::sim::Faults {
        sync_error_after: Some(0),
        ..Default::default()
    });
    running.queue.end(End::Close);
    let cause = running.thread.join().unwrap().unwrap_err();
    assert!(cause.contains("closing"), "{cause}");
}

#[test]
fn a_long_trim_and_flushes_take_turns() {
    let log = Log::create(Arc::new(SimDisk::new()), Options::default(), 7).unwrap();
    let (queue, mut batch) = (DiskQueue::new(log.reader), Batch::new());
    queue.trim(9);
    queue.push(job(1, 100));
    assert!(matches!(queue.take(&mut batch), Next::Trim(9)));
    queue.trim_on(9);
    assert!(matches!(queue.take(&mut batch), Next::Flush(1)));
    queue.trim(10);
    queue.trim_on(9);
    assert!(
        matches!(queue.take(&mut batch), Next::Trim(10)),
        "the later word counts"
    );
    queue.trim_on(10);
    assert!(
        matches!(queue.take(&mut batch), Next::Trim(10)),
        "nothing else is to be done"
    );
}

#[test]
fn a_full_disk_is_cut_while_a_flush_waits_for_room() {
    const SEGMENT_BYTES: u64 = 64 << 10;
    let running = start(Options {
        segment_bytes: SEGMENT_BYTES,
        spares: 0,
    });
    let push = |number| running.queue.push(job(number, 40_000));
    for number in 1..=2 {
        push(number);
        wait_for("it is durable", || running.reader.last_index(GROUP) == number);
    }
    running.disk.set_faults(longbow_wal::sim::Faults {
        capacity: Some(2 * SEGMENT_BYTES),
        ..Default::default()
    });
    push(3);
    wait_for("the flush has met the full disk", || {
        running.disk.counters().faults > 0
    });
    running.queue.trim(2);
    wait_for("it is durable", || running.reader.last_index(GROUP) == 3);
    assert_eq!(running.reader.first_index(GROUP), 2);
    running.queue.end(End::Close);
    running.thread.join().unwrap().unwrap();
}

#[test]
fn records_that_keep_coming_share_syncs() {
    const RECORDS: u64 = 4_000;
    let disk = SimDisk::new();
    let log = Log::create(Arc::new(disk.clone()), Options::default(), 1).unwrap();
    let queue = Arc::new(DiskQueue::new(log.reader.clone()));
    let mailbox = Arc::new(Mailbox::new(1 << 20));
    let thread = spawn(log.writer, queue.clone(), mailbox).unwrap();
    let before = disk.counters().syncs;
    for number in 1..=RECORDS {
        queue.push(job(number, 100));
    }
    queue.end(End::Close);
    thread.join().unwrap().unwrap();
    let syncs = disk.counters().syncs - before;
    // This disk takes no time at all: without waiting there would be a sync for every few.
    assert!(syncs <= RECORDS / 32, "{syncs} syncs for {RECORDS} records");
    assert_eq!(log.reader.last_index(GROUP), RECORDS);
}
