//! Does a start find what the last life left, wherever that was cut short?

mod doomed;

use longbow_cluster::{
    keepers::Keepers,
    raft_core::{CoreConfig, RaftCore, Restored},
};
use longbow_node::config::Loader;
use longbow_types::Role;
use longbow_wal::sim::SimDisk;
use longbow_wire::internal::EntryHeader;
use rand::{Rng, SeedableRng, rngs::StdRng};
use tempfile::TempDir;

use self::doomed::Doomed;
use super::*;
use crate::{SETTINGS, checkpoint::Stored};

/// A state of nine entries, the last of term 3.
fn snapshot() -> State {
    let mut state = State::first(Keepers::formed(&["k1".parse().unwrap()]));
    for index in 1..=9 {
        state.catalogue.apply(index, &EntryHeader::default());
    }
    state.snapshot_term = 3;
    state
}

fn log(disk: &SimDisk, terms: &[u64]) -> Log {
    let mut log = Log::create(Arc::new(disk.clone()), Options::default(), 7).unwrap();
    for (index, term) in (1..).zip(terms) {
        let writer = &mut log.writer;
        writer
            .entry(GROUP, EntryKind::Normal, *term, index, b"x")
            .unwrap();
    }
    log.writer.flush().unwrap();
    log
}

/// First and last index after the start that finishes, and after one more that power was cut before.
fn finished(terms: &[u64]) -> (u64, u64) {
    let disk = SimDisk::new();
    let mut log = log(&disk, terms);
    finish_snapshot(&mut log, &snapshot()).unwrap();
    let found = (log.reader.first_index(GROUP), log.reader.last_index(GROUP));
    let disk = disk.crash(&mut || false);
    let mut again = Log::open(Arc::new(disk.clone()), Options::default()).unwrap();
    let durable = (again.reader.first_index(GROUP), again.reader.last_index(GROUP));
    assert_eq!(durable, found);
    let before = disk.counters();
    finish_snapshot(&mut again, &snapshot()).unwrap();
    assert_eq!(disk.counters(), before, "there is nothing left to do");
    found
}

#[test]
fn an_installation_that_a_crash_cut_short_is_finished() {
    assert_eq!(finished(&[1, 1, 1]), (10, 9), "a log that ends before");
    assert_eq!(finished(&[]), (10, 9));
    assert_eq!(
        finished(&[1, 1, 1, 2, 2, 2, 2, 2, 2, 2]),
        (10, 9),
        "another history"
    );
    // What follows on the snapshot's last entry was acknowledged, perhaps.
    assert_eq!(finished(&[1, 1, 1, 2, 2, 2, 2, 2, 3, 3]), (1, 10));
}

#[test]
fn an_ordinary_checkpoint_changes_no_log() {
    let disk = SimDisk::new();
    let mut log = log(&disk, &[1]);
    let state = State {
        snapshot_term: 0,
        ..snapshot()
    };
    finish_snapshot(&mut log, &state).unwrap();
    assert_eq!(log.reader.last_index(GROUP), 1);
}

/// Small: each crash copies them.
const SEGMENT_BYTES: u64 = 64 << 10;

/// A keeper alone: what it has beside its log.
struct Site {
    dir: TempDir,
    config: Config,
    identity: Identity,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = Loader::new("test", "", &[SETTINGS]).defaults();
        settings
            .set("cluster.id", "c")
            .set("cluster.secret", "a secret of the tests")
            .set("node.id", "k1")
            .set("data_path", dir.path().display())
            .set("keeper.segment_bytes", SEGMENT_BYTES);
        let identity = Identity {
            cluster_id: "c".parse().unwrap(),
            node_id: "k1".parse().unwrap(),
            role: Role::WalKeeper,
            generation: 1,
        };
        Self {
            config: Config::from_settings(&settings).unwrap(),
            dir,
            identity,
        }
    }

    fn recover(&self, log: Arc<dyn Disk>) -> Result<Recovered, Failure> {
        let config = Config {
            log_disk: Some(log),
            ..self.config.clone()
        };
        recover(&config, &self.identity, self.dir.path())
    }

    fn options(&self) -> Options {
        Options {
            segment_bytes: self.config.segment_bytes,
            spares: self.config.spare_segments,
        }
    }

    /// A start after a crash: it must find the snapshot, with a log behind it that has everything up to `acknowledged`.
    /// Another crash at once must change nothing of that.
    fn starts(&self, log: &SimDisk, acknowledged: u64) {
        let (mut ranges, mut log) = (Vec::new(), log.clone());
        for _ in 0..2 {
            let found = self.recover(Arc::new(log.clone())).unwrap();
            assert_eq!(found.state.index(), 9);
            assert_eq!(found.reader.term(GROUP, 9), Some(3));
            ranges.push((found.reader.first_index(GROUP), found.reader.last_index(GROUP)));
            let restored = Restored {
                hard_state: found.hard_state,
                conf_state: found.state.keepers.conf_state().clone(),
                applied: found.state.index(),
            };
            let timeouts = Box::new(|range: Range<usize>| range.start);
            let core = RaftCore::new(&CoreConfig::new(1), restored, DurableLog(found.reader), timeouts);
            assert_eq!(core.unwrap().commit_index(), 9);
            log = log.crash(&mut || false);
        }
        let (first, last) = ranges[0];
        assert_eq!(first, 10);
        assert!((acknowledged.max(9)..=11).contains(&last), "it ends at {last}");
        assert_eq!(ranges[1], ranges[0], "what was found was not durable");
    }
}

/// The log of a keeper whose snapshot is durable as a checkpoint, and stands in no log yet.
fn with_snapshot_stored(site: &Site) -> SimDisk {
    let disk = SimDisk::new();
    let mut found = site.recover(Arc::new(disk.clone())).unwrap();
    for index in 1..=3 {
        let writer = &mut found.writer;
        writer.entry(GROUP, EntryKind::Normal, 1, index, b"x").unwrap();
    }
    found.writer.flush().unwrap();
    assert_eq!(found.checkpoints.store(&snapshot()).unwrap(), Stored::Durable);
    disk
}

/// Cuts the power before each change of the log's disk that some work makes, and after the last: what is left then must
/// be enough for a start. The work tells the last index that it could acknowledge.
fn starts_after_every_crash(site: &Site, work: impl Fn(Arc<dyn Disk>) -> u64) {
    let before = with_snapshot_stored(site);
    for changes in 0.. {
        let disk = before.crash(&mut || true);
        let doomed = Doomed::after(changes, disk.clone());
        let acknowledged = work(Arc::new(doomed.clone()));
        for seed in 0..3 {
            let mut random = StdRng::seed_from_u64(seed);
            let kept = disk.crash(&mut || match seed {
                0 => false,
                1 => true,
                _ => random.random(),
            });
            site.starts(&kept, acknowledged);
        }
        if !doomed.is_gone() {
            assert!(changes > 3, "the work has changed almost nothing");
            return;
        }
    }
}

#[test]
fn a_snapshot_is_whole_or_finished_wherever_its_installation_is_cut_short() {
    let site = Site::new();
    starts_after_every_crash(&site, |disk| {
        let Ok(mut log) = Log::open(disk, site.options()) else {
            return 0;
        };
        let state = longbow_wal::HardState {
            term: 3,
            vote: 0,
            commit: 9,
        };
        log.writer.start(GROUP, 3, 9);
        log.writer.hard_state(GROUP, state);
        if log.writer.flush().is_err() {
            return 0;
        }
        for index in 10..=11 {
            let writer = &mut log.writer;
            writer.entry(GROUP, EntryKind::Normal, 3, index, b"y").unwrap();
        }
        log.writer.flush().map_or(9, |_| 11)
    });
}

#[test]
fn a_start_that_finishes_a_snapshot_may_be_cut_short_itself() {
    let site = Site::new();
    starts_after_every_crash(&site, |disk| {
        let _ = site.recover(disk);
        0
    });
}
