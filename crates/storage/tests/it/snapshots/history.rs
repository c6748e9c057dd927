//! Random histories with snapshots and restarts in them: the replica answers as the model does, which never restarts, and
//! its digest is that of a replica which is fed the same and nothing else.

use longbow_storage::compact::Cursor;
use longbow_storage::snapshot::Snapshots;
use longbow_storage::{Options, Replica};
use proptest::prelude::*;

use super::disk::MemDisk;
use super::support::{FALL_BACK, never, open, owner};
use crate::many::hold;
use crate::model::Model;
use crate::oracle::{Question, check, kind, question};
use crate::rows::Kind;
use crate::steps::{Step, apply, learn, step};

#[derive(Debug, Clone)]
enum Event {
    Step(Step),
    Snapshot,
    /// The process ends and starts again, perhaps after a byte of the newest snapshot's files changed.
    Restart(Option<(prop::sample::Index, prop::sample::Index)>),
}

fn event() -> impl Strategy<Value = Event> {
    let damage = (any::<prop::sample::Index>(), any::<prop::sample::Index>());
    prop_oneof![
        8 => step().prop_map(Event::Step),
        3 => Just(Event::Snapshot),
        2 => proptest::option::weighted(0.3, damage).prop_map(Event::Restart),
    ]
}

const CREATED_AT: u64 = 7;

/// A replica of the newest snapshot that can be opened, or a new one; and what it must answer.
fn restarted(kind: Kind, snapshots: &mut Snapshots, taken: &[Model]) -> (Replica, Model) {
    let new = || {
        let replica = Replica::new(kind.schema(), &Options::default(), CREATED_AT);
        (replica, Model::created_at(CREATED_AT).living(kind.life))
    };
    match open(snapshots, kind, FALL_BACK) {
        Ok(None) => new(),
        Ok(Some(opened)) => {
            assert_eq!(opened.manifest.owner, owner());
            let is_it = |model: &&Model| model.applied == opened.manifest.applied_index;
            let model = taken.iter().rfind(is_it).unwrap().clone();
            (opened.replica, model)
        }
        // The log has it all.
        Err(error) => {
            assert!(error.is_damage(), "{error}");
            new()
        }
    }
}

fn run(kind: Kind, events: &[Event], question: &Question) {
    let disk = MemDisk::default();
    let mut snapshots = Snapshots::new(disk.clone(), 2);
    let mut replica = Replica::new(kind.schema(), &Options::default(), CREATED_AT);
    let mut fed = Replica::new(kind.schema(), &Options::default(), CREATED_AT);
    let mut cursor = Cursor::default();
    let mut model = Model::created_at(CREATED_AT).living(kind.life);
    let mut published = model.clone();
    let mut taken = Vec::new();
    let mut log: Vec<(u64, Step)> = Vec::new();
    for (at, event) in events.iter().enumerate() {
        let index = 10 + 2 * at as u64;
        match event {
            Event::Step(step) => {
                let step = step.resolved(&model);
                apply(kind, &mut replica, &mut cursor, index, &step);
                learn(&mut model, index, &step);
                if step.is_write() {
                    apply(kind, &mut fed, &mut cursor, index, &step);
                }
                if matches!(step, Step::Publish) {
                    published = model.clone();
                }
                log.push((index, step));
            }
            Event::Snapshot => {
                let view = replica.reader().view();
                let written = snapshots.write(&view, owner(), &never).unwrap();
                assert!(written.unswept.is_none());
                assert_eq!(written.manifest.applied_index, published.applied);
                taken.push(published.clone());
            }
            Event::Restart(damage) => {
                if let (Some((file, byte)), Some(&newest)) = (damage, snapshots.generations().unwrap().last())
                {
                    let names = disk.names();
                    let is_newest = |name: &&String| name.starts_with(&format!("{newest:020}"));
                    let names: Vec<String> = names.iter().filter(is_newest).cloned().collect();
                    let name: &String = file.get(&names);
                    disk.spoil(name, |bytes| {
                        let at = byte.index(bytes.len());
                        bytes[at] ^= 1;
                    });
                }
                snapshots = Snapshots::new(disk.clone(), 2);
                let (opened, then) = restarted(kind, &mut snapshots, &taken);
                replica = opened;
                check(kind, &replica.reader().view(), &then, question);
                for (index, step) in log.iter().filter(|(index, _)| *index > then.applied) {
                    apply(kind, &mut replica, &mut cursor, *index, step);
                }
                replica.publish();
                published = model.clone();
            }
        }
        check(kind, &replica.reader().view(), &published, question);
    }
    replica.publish();
    fed.publish();
    assert_eq!(replica.reader().view().digest(), fed.reader().view().digest());
}

#[test]
fn a_replica_that_was_restarted_answers_as_one_that_was_not() {
    let all = (kind(), proptest::collection::vec(event(), 1..48), question());
    hold(4_000, &all, |(kind, events, question)| {
        run(kind, &events, &question)
    });
}
