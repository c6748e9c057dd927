//! The wishes, over arbitrary facts.

use proptest::prelude::*;

use super::*;

fn facts() -> impl Strategy<Value = Facts> {
    let partition = proptest::collection::vec(0u64..100, 0..4).prop_map(|durable| Coverage { durable });
    (
        proptest::collection::vec(partition, 0..5),
        proptest::collection::vec(1u64..100, 0..3),
        0u64..100,
        0u64..20,
        (0u64..300, 1u64..200),
    )
        .prop_map(
            |(partitions, pins, checkpointed, window, (log_bytes, log_bytes_max))| Facts {
                partitions,
                pins,
                checkpointed,
                window,
                log_bytes,
                log_bytes_max,
            },
        )
}

proptest! {
    #[test]
    fn what_goes_is_durable_elsewhere_and_needed_by_nobody(facts in facts()) {
        let gone = plan(&facts).first_kept - 1;
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
        let before = plan(&facts);
        let mut after = facts.clone();
        let all: Vec<&mut u64> = after.partitions.iter_mut().flat_map(|p| &mut p.durable).collect();
        prop_assume!(!all.is_empty());
        let count = all.len();
        *all.into_iter().nth(at.index(count)).unwrap() += more;
        prop_assert!(plan(&after).first_kept >= before.first_kept);
    }

    #[test]
    fn all_that_may_go_goes(durable in 0u64..100, window in 0u64..20, replicas in 1usize..4) {
        let facts = Facts {
            partitions: vec![Coverage { durable: vec![durable; replicas] }; 2],
            checkpointed: 1_000,
            window,
            ..Facts::default()
        };
        prop_assert_eq!(plan(&facts).first_kept, durable.saturating_sub(window) + 1);
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
    assert_eq!(plan(&facts(&[50, 60, 0])).first_kept, 51);
    assert_eq!(plan(&facts(&[60, 0])).first_kept, 1, "one copy is none");
    assert_eq!(plan(&facts(&[60])).first_kept, 61, "the only replica there is");
    assert_eq!(plan(&facts(&[])).first_kept, 1);
}

#[test]
fn a_log_at_its_limit_keeps_a_reserve() {
    let rooms = [0, 159, 160, 169, 170, 1_000].map(|bytes| room(bytes, 160));
    use Room as R;
    assert_eq!(
        rooms,
        [R::Free, R::Free, R::Reserve, R::Reserve, R::None, R::None]
    );
}
