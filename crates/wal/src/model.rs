//! Arbitrary histories of appends, faults and crashes against the simplest model of a log.

use std::sync::Arc;

use proptest::prelude::*;
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::{
    EntryKind, Error, HardState, Log, Options,
    sim::{Faults, SimDisk},
};

const OPTIONS: Options = Options {
    segment_bytes: 2048,
    spares: 2,
};

#[derive(Debug, Clone)]
enum Step {
    /// Stage this many entries of this size, replacing this many of the last ones.
    Append {
        entries: u8,
        bytes: u16,
        replace: u8,
    },
    HardState {
        vote: u64,
    },
    /// A snapshot takes the place of the log: it begins so far behind its end, or before it.
    Start {
        ahead: u8,
    },
    Flush,
    /// The next flush meets a fault, then the process ends.
    Fault {
        faults: Faults,
        power_cut: bool,
    },
    /// The process is killed, or power is cut.
    Crash {
        power_cut: bool,
    },
    /// A clean end and start.
    Restart,
    /// A spare segment is made ahead.
    Spare,
    /// Old segments are given up, so that their files are used again.
    Trim,
}

fn step() -> impl Strategy<Value = Step> {
    let faults = prop_oneof![
        (0u64..3).prop_map(|n| Faults {
            sync_error_after: Some(n),
            ..Faults::default()
        }),
        (0u64..3).prop_map(|n| Faults {
            write_error_after: Some(n),
            ..Faults::default()
        }),
        (0u64..3).prop_map(|n| Faults {
            full_after: Some(n),
            ..Faults::default()
        }),
        Just(Faults {
            capacity: Some(0),
            ..Faults::default()
        }),
        (1usize..600).prop_map(|n| Faults {
            short_writes: Some(n),
            ..Faults::default()
        }),
    ];
    prop_oneof![
        6 => (1u8..5, 0u16..900, 0u8..3).prop_map(|(entries, bytes, replace)| Step::Append { entries, bytes, replace }),
        1 => (0u64..4).prop_map(|vote| Step::HardState { vote }),
        1 => (0u8..6).prop_map(|ahead| Step::Start { ahead }),
        5 => Just(Step::Flush),
        2 => (faults, any::<bool>()).prop_map(|(faults, power_cut)| Step::Fault { faults, power_cut }),
        2 => any::<bool>().prop_map(|power_cut| Step::Crash { power_cut }),
        1 => Just(Step::Restart),
        1 => Just(Step::Spare),
        1 => Just(Step::Trim),
    ]
}

/// One staged or durable change.
#[derive(Debug, Clone, PartialEq)]
enum Change {
    Entry { index: u64, term: u64, data: Vec<u8> },
    HardState(HardState),
    Start { index: u64, term: u64 },
}

/// What a log must hold.
#[derive(Debug, Clone, Default, PartialEq)]
struct Model {
    /// What stands before the first entry, if a snapshot does.
    start: (u64, u64),
    entries: Vec<(u64, Vec<u8>)>,
    hard_state: HardState,
}

impl Model {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Entry { index, term, data } => {
                self.entries.truncate((*index - self.start.0) as usize - 1);
                self.entries.push((*term, data.clone()));
            }
            Change::HardState(state) => self.hard_state = *state,
            Change::Start { index, term } => {
                self.start = (*index, *term);
                self.entries.clear();
            }
        }
    }

    fn last(&self) -> u64 {
        self.start.0 + self.entries.len() as u64
    }

    /// What a log holds. What was trimmed is taken over from `before`.
    fn of(log: &Log, before: &Model) -> Self {
        let (first, last) = (log.reader.first_index(0), log.reader.last_index(0));
        let hard_state = log.reader.hard_state(0);
        if first > 1 && last + 1 == first {
            // Trimming leaves the last entry: so this log begins behind a snapshot.
            let term = log.reader.term(0, last).expect("the term before the first entry");
            return Self {
                start: (last, term),
                entries: Vec::new(),
                hard_state,
            };
        }
        // What the log lacks of the model is taken as trimmed.
        let start = before.start;
        let trimmed = first.saturating_sub(start.0 + 1) as usize;
        let mut entries = before.entries[..trimmed.min(before.entries.len())].to_vec();
        let read = log.reader.read(0, first..last + 1, usize::MAX).unwrap();
        entries.extend(read.into_iter().map(|e| (e.term, e.data.to_vec())));
        Self {
            start: if first > start.0 { start } else { (first - 1, 0) },
            entries,
            hard_state,
        }
    }
}

struct World {
    disk: SimDisk,
    log: Log,
    /// What the last successful flush promised.
    durable: Model,
    staged: Vec<Change>,
    term: u64,
    random: StdRng,
}

impl World {
    fn new(seed: u64) -> Self {
        let disk = SimDisk::new();
        let log = Log::create(Arc::new(disk.clone()), OPTIONS, seed).unwrap();
        Self {
            disk,
            log,
            durable: Model::default(),
            staged: Vec::new(),
            term: 1,
            random: StdRng::seed_from_u64(seed),
        }
    }

    fn stage(&mut self, change: Change) {
        match &change {
            Change::Entry { index, term, data } => {
                let writer = &mut self.log.writer;
                writer.entry(0, EntryKind::Normal, *term, *index, data).unwrap();
            }
            Change::HardState(state) => self.log.writer.hard_state(0, *state),
            Change::Start { index, term } => self.log.writer.start(0, *term, *index),
        }
        self.staged.push(change);
    }

    /// Starts anew; entries that stand there already are forgotten, too.
    fn start(&mut self, ahead: u8) {
        let mut seen = self.durable.clone();
        self.staged.iter().for_each(|change| seen.apply(change));
        self.term += 1;
        // Never back before what a snapshot stood for.
        let index = (seen.last() + u64::from(ahead))
            .saturating_sub(3)
            .max(seen.start.0)
            .max(1);
        self.stage(Change::Start {
            index,
            term: self.term,
        });
    }

    fn append(&mut self, entries: u8, bytes: u16, replace: u8) {
        let mut seen = self.durable.clone();
        self.staged.iter().for_each(|change| seen.apply(change));
        let last = seen.last();
        let replace = u64::from(replace).min(last - seen.start.0);
        if replace > 0 {
            self.term += 1;
        }
        for index in last - replace + 1..=last - replace + u64::from(entries) {
            let data = (0..bytes).map(|_| self.random.random()).collect();
            self.stage(Change::Entry {
                index,
                term: self.term,
                data,
            });
        }
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.log.writer.flush()?;
        for change in self.staged.drain(..) {
            self.durable.apply(&change);
        }
        assert_eq!(Model::of(&self.log, &self.durable), self.durable);
        Ok(())
    }

    /// Starts again. `attempted`: a flush was under way, so that a prefix of what it staged may be there.
    fn restart(&mut self, power_cut: bool, attempted: bool) {
        self.disk = if power_cut {
            let random = &mut self.random;
            self.disk.crash(&mut || random.random())
        } else {
            self.disk.reopen()
        };
        self.log = Log::open(Arc::new(self.disk.clone()), OPTIONS).expect("a crash is never corruption");
        let mut acceptable = vec![self.durable.clone()];
        if attempted {
            for change in &self.staged {
                let mut next = acceptable.last().cloned().unwrap();
                next.apply(change);
                acceptable.push(next);
            }
        }
        let log = &self.log;
        let found = acceptable.iter().find(|model| Model::of(log, model) == **model);
        let found = found
            .unwrap_or_else(|| panic!("found none of {acceptable:?}"))
            .clone();
        self.durable = found;
        self.staged.clear();
        // Nothing stands only in the page cache any more.
        let cold = Log::open(Arc::new(self.disk.crash(&mut || false)), OPTIONS).unwrap();
        assert_eq!(
            Model::of(&cold, &self.durable),
            self.durable,
            "what was found was not yet durable"
        );
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Append {
                entries,
                bytes,
                replace,
            } => self.append(*entries, *bytes, *replace),
            Step::HardState { vote } => {
                let state = HardState {
                    term: self.term,
                    vote: *vote,
                    commit: 0,
                };
                self.stage(Change::HardState(state));
            }
            Step::Start { ahead } => self.start(*ahead),
            Step::Flush => self.flush().unwrap(),
            Step::Fault { faults, power_cut } => {
                self.disk.set_faults(*faults);
                match self.flush() {
                    Ok(()) => self.restart(*power_cut, false),
                    Err(Error::Full { .. }) => {
                        self.disk.set_faults(Faults::default());
                        self.flush().unwrap();
                        self.restart(*power_cut, false);
                    }
                    Err(Error::Failed { .. }) => self.restart(*power_cut, true),
                    Err(other) => panic!("{other}"),
                }
            }
            Step::Spare => {
                self.log.writer.spares().make(&|| false).unwrap();
            }
            Step::Trim => {
                let last = self.log.reader.last_index(0);
                self.log.writer.trim(|_| last, usize::MAX).unwrap();
                assert_eq!(Model::of(&self.log, &self.durable), self.durable);
            }
            Step::Crash { power_cut } => self.restart(*power_cut, false),
            Step::Restart => {
                self.flush().unwrap();
                let fresh = Log::open(Arc::new(SimDisk::new()), OPTIONS);
                assert!(fresh.is_err());
                let disk = self.disk.clone();
                let spare = Log::create(Arc::new(SimDisk::new()), OPTIONS, 0).unwrap();
                std::mem::replace(&mut self.log, spare).writer.close().unwrap();
                self.log = Log::open(Arc::new(disk), OPTIONS).unwrap();
                assert_eq!(self.log.recovered.rewritten, 0);
                assert_eq!(Model::of(&self.log, &self.durable), self.durable);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, ..ProptestConfig::default() })]

    #[test]
    fn nothing_flushed_is_ever_lost(seed in any::<u64>(), steps in proptest::collection::vec(step(), 1..40)) {
        let mut world = World::new(seed);
        for step in &steps {
            world.step(step);
        }
        world.restart(true, false);
    }

    /// One flipped bit anywhere: refused, or the last flush is cut as if torn. Never other data.
    #[test]
    fn a_flipped_bit_is_never_read(seed in any::<u64>(), flushes in 1u8..12, place in any::<prop::sample::Index>(),
                                   bit in 0u8..8) {
        let mut world = World::new(seed);
        let mut history = vec![Model::default()];
        for _ in 0..flushes {
            let (entries, bytes, replace) = (world.random.random_range(1..4), world.random.random_range(0..300), 0);
            world.append(entries, bytes, replace);
            let mut staged = world.durable.clone();
            for change in &world.staged {
                staged.apply(change);
                history.push(staged.clone());
            }
            world.flush().unwrap();
        }
        let files: Vec<(String, usize)> = crate::Disk::list(&world.disk).unwrap().into_iter()
            .map(|name| { let len = world.disk.contents(&name).unwrap().len(); (name, len) })
            .collect();
        let total: usize = files.iter().map(|(_, len)| len).sum();
        let mut at = place.index(total);
        let (name, _) = files.iter().find(|(_, len)| { let inside = at < *len; if !inside { at -= len; } inside }).unwrap();
        world.disk.flip_bit(name, at, bit);
        match Log::open(Arc::new(world.disk.reopen()), OPTIONS) {
            Ok(log) => prop_assert!(history.contains(&Model::of(&log, &Model::default()))),
            Err(Error::Corruption { .. }) => {}
            Err(other) => prop_assert!(false, "{other}"),
        }
    }
}
