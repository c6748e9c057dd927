//! The wishes, over arbitrary facts.

use longbow_wire::internal::{CreateDatasetCommand, WriteCommand};
use proptest::prelude::*;

use super::*;

fn facts() -> impl Strategy<Value = Facts> {
    let partition = proptest::collection::vec(0u64..100, 0..4).prop_map(|durable| Coverage { durable });
    (
        proptest::collection::vec(partition, 0..5),
        proptest::collection::vec(1u64..100, 0..3),
        0u64..100,
        0u64..20,
    )
        .prop_map(|(partitions, pins, checkpointed, window)| Facts {
            partitions,
            pins,
            checkpointed,
            window,
        })
}

proptest! {
    #[test]
    fn what_goes_is_durable_elsewhere_and_needed_by_nobody(facts in facts()) {
        let gone = first_kept(&facts) - 1;
        prop_assert!(gone <= facts.checkpointed);
        prop_assert!(facts.pins.iter().all(|pin| gone < *pin));
        for partition in &facts.partitions {
            let copies = partition.durable.iter().filter(|durable| **durable >= gone).count();
            prop_assert!(gone == 0 || copies >= partition.durable.len().clamp(1, 2));
        }
        prop_assert!(gone == 0 || !facts.partitions.is_empty());
    }

    #[test]
    fn more_that_is_durable_never_cuts_less(facts in facts(), at in any::<prop::sample::Index>(), more in 1u64..50) {
        let before = first_kept(&facts);
        let mut after = facts.clone();
        let all: Vec<&mut u64> = after.partitions.iter_mut().flat_map(|p| &mut p.durable).collect();
        prop_assume!(!all.is_empty());
        let count = all.len();
        *all.into_iter().nth(at.index(count)).unwrap() += more;
        prop_assert!(first_kept(&after) >= before);
    }

    #[test]
    fn all_that_may_go_goes(durable in 0u64..100, window in 0u64..20, replicas in 1usize..4) {
        let facts = Facts {
            partitions: vec![Coverage { durable: vec![durable; replicas] }; 2],
            checkpointed: 1_000,
            window,
            ..Facts::default()
        };
        prop_assert_eq!(first_kept(&facts), durable.saturating_sub(window) + 1);
    }
}

#[test]
fn a_replica_that_lags_does_not_hold_the_log_where_two_others_cover_it() {
    let facts = |durable: &[u64]| Facts {
        partitions: vec![Coverage {
            durable: durable.to_vec(),
        }],
        checkpointed: 1_000,
        ..Facts::default()
    };
    assert_eq!(first_kept(&facts(&[50, 60, 0])), 51);
    assert_eq!(first_kept(&facts(&[60, 0])), 1, "one copy is none");
    assert_eq!(first_kept(&facts(&[60])), 61, "the only replica there is");
    assert_eq!(first_kept(&facts(&[])), 1);
}

#[test]
fn a_log_at_its_limit_keeps_a_reserve() {
    let write = |kind: WriteKind| {
        Command::Write(WriteCommand {
            kind: kind as i32,
            ..WriteCommand::default()
        })
    };
    let upsert = write(WriteKind::Upsert);
    let delete = write(WriteKind::Delete);
    let (upsert_if, delete_if) = (write(WriteKind::UpsertIf), write(WriteKind::DeleteIf));
    let update = write(WriteKind::Update);
    let delete_where = write(WriteKind::DeleteWhere);
    let create = Command::CreateDataset(CreateDatasetCommand::default());
    let sizes = [0, 159, 160, 169, 170, 1_000];
    let admitted = |command: Option<&Command>| sizes.map(|bytes| admits(command, bytes, 160));
    for grows in [&upsert, &upsert_if, &update, &create] {
        assert_eq!(admitted(Some(grows)), [true, true, false, false, false, false]);
    }
    for frees in [Some(&delete), Some(&delete_if), Some(&delete_where), None] {
        assert_eq!(admitted(frees), [true, true, true, true, false, false]);
    }
}
