//! A new life of the log begins: what once stood at this index and behind it was cut off knowingly, and is no part of the log any more.

use longbow_types::ErrorCode;
use longbow_wire::internal::{self, BeginIncarnationCommand, Verdict};

use super::{Catalogue, verdict_of};

/// Number of a log's first life.
const FIRST: u32 = 1;

impl Catalogue {
    pub(super) fn apply_begin_incarnation(
        &mut self,
        index: u64,
        command: &BeginIncarnationCommand,
    ) -> Result<(), Verdict> {
        let now = self.incarnation();
        if command.incarnation <= now {
            let message = format!("life {} of the log after life {now}", command.incarnation);
            return Err(verdict_of(ErrorCode::Internal, message, "incarnation"));
        }
        self.incarnations.insert(command.incarnation, index);
        Ok(())
    }

    /// Which life of the log this is the state of. It starts at 1 and rises when the log is cut knowingly.
    pub fn incarnation(&self) -> u32 {
        self.incarnations
            .last_key_value()
            .map_or(FIRST, |(&number, _)| number)
    }

    /// Whether a state at this index of an earlier life of the log is one of this log, too: no life since then began at or
    /// before it. Lives that this catalogue does not know of are none of its log's.
    pub fn admits(&self, incarnation: u32, index: u64) -> bool {
        let since = self.incarnations.range(incarnation.saturating_add(1)..);
        incarnation <= self.incarnation() && since.into_iter().all(|(_, &began)| index < began)
    }
}

/// Which life of the log a catalogue's message is of.
pub fn incarnation_of(message: &internal::Catalogue) -> u32 {
    message.incarnations.last().map_or(FIRST, |life| life.incarnation)
}

#[cfg(test)]
mod tests {
    use longbow_wire::internal::{CatalogueIncarnation, EntryHeader, entry_header::Command};
    use proptest::prelude::*;

    use super::*;

    fn begin(incarnation: u32) -> EntryHeader {
        let command = BeginIncarnationCommand {
            incarnation,
            reason: "a test".to_owned(),
        };
        EntryHeader {
            command: Some(Command::BeginIncarnation(command)),
            ..EntryHeader::default()
        }
    }

    /// An entry that no other is like, and the life that it begins, if it does.
    type Entry = (u64, Option<u32>);

    fn replayed(log: &[Entry]) -> Catalogue {
        let mut catalogue = Catalogue::new();
        for (index, (_, life)) in (1..).zip(log) {
            let header = life.map(begin).unwrap_or_default();
            assert!(catalogue.apply(index, &header).takes_effect());
        }
        let carried = Catalogue::from_proto(&catalogue.to_proto(true)).unwrap();
        assert_eq!(carried, catalogue);
        catalogue
    }

    proptest! {
        /// The oracle compares whole logs.
        #[test]
        fn what_is_admitted_is_a_prefix_of_the_log(steps in prop::collection::vec((0usize..12, any::<bool>()), 1..40)) {
            let (mut log, mut lives) = (Vec::<Entry>::new(), 1);
            let mut states: Vec<(u32, Vec<Entry>)> = Vec::new();
            for (id, (length, cuts)) in (0..).zip(steps) {
                if cuts {
                    lives += 1;
                    log.truncate(length);
                    log.push((id, Some(lives)));
                } else {
                    log.extend((0..length).map(|at| (id << 8 | at as u64, None)));
                }
                let now = replayed(&log);
                states.push((now.incarnation(), log.clone()));
                for (incarnation, had) in &states {
                    for length in 0..=had.len() {
                        // A state of fewer entries may be of an earlier life.
                        let life = replayed(&had[..length]).incarnation();
                        let is_prefix = log.starts_with(&had[..length]);
                        prop_assert_eq!(now.admits(life, length as u64), is_prefix, "{} {}", incarnation, length);
                    }
                }
            }
        }
    }

    #[test]
    fn lives_rise() {
        let mut catalogue = Catalogue::new();
        assert_eq!(catalogue.incarnation(), 1);
        assert!(catalogue.apply(1, &begin(3)).takes_effect());
        for late in [0, 1, 2, 3] {
            let applied = catalogue.apply(2 + u64::from(late), &begin(late));
            assert_eq!(applied.verdict.code, ErrorCode::Internal.as_str());
        }
        assert_eq!(catalogue.incarnation(), 3);
        assert!(!catalogue.admits(4, 0) && catalogue.admits(3, 9) && catalogue.admits(1, 0));
        let lives = |lives: &[(u32, u64)]| {
            let mut message = catalogue.to_proto(false);
            let life = |&(incarnation, began)| CatalogueIncarnation { incarnation, began };
            message.incarnations = lives.iter().map(life).collect();
            Catalogue::from_proto(&message).is_ok()
        };
        assert!(lives(&[]) && lives(&[(2, 1), (3, 4)]));
        for wrong in [&[(1, 1)][..], &[(2, 6)], &[(3, 1), (2, 4)], &[(2, 4), (3, 4)]] {
            assert!(!lives(wrong), "{wrong:?}");
        }
    }
}
