//! Which snapshots are kept, and which files are nobody's? Decided here, done elsewhere.
//!
//! Wished for: the newest snapshots that can be opened are kept, as many as asked; one that cannot be opened is kept
//! as long as there is none that can; what this build cannot judge stays.

use std::collections::BTreeSet;

use super::names::{Name, Part};

/// What is known of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    /// As far as was looked, it can be opened.
    Sound,
    /// It can never be opened.
    Damaged,
    /// Another version may open it.
    Foreign,
}

/// Generations to drop of those in a directory, oldest first.
pub(super) fn dropped(mut found: Vec<(u64, Condition)>, keep: usize) -> Vec<u64> {
    found.sort_unstable_by_key(|&(generation, _)| generation);
    let sound = found
        .iter()
        .filter(|(_, condition)| *condition == Condition::Sound);
    let mut surplus = sound.count().saturating_sub(keep.max(1));
    let has_sound = found.iter().any(|&(_, condition)| condition == Condition::Sound);
    found.retain(|&(_, condition)| match condition {
        Condition::Sound => {
            let drops = surplus > 0;
            surplus -= usize::from(drops);
            drops
        }
        Condition::Damaged => has_sound,
        Condition::Foreign => false,
    });
    found.into_iter().map(|(generation, _)| generation).collect()
}

/// Files of a directory that no snapshot uses; files that are not ours are none.
pub(super) fn orphans(files: &[String], used: &BTreeSet<Name>) -> Vec<String> {
    let is_orphan = |file: &&String| match Name::parse(file) {
        Some(name) => name.part != Part::Manifest && !used.contains(&name),
        None => Name::parse_temporary(file).is_some(),
    };
    files.iter().filter(is_orphan).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn condition() -> impl Strategy<Value = Condition> {
        prop_oneof![
            4 => Just(Condition::Sound),
            1 => Just(Condition::Damaged),
            1 => Just(Condition::Foreign),
        ]
    }

    proptest! {
        #[test]
        fn as_many_as_asked_are_kept(
            conditions in proptest::collection::vec(condition(), 0..12),
            keep in 0..5_usize,
        ) {
            let found: Vec<_> = (1..).zip(conditions).collect();
            let gone = dropped(found.clone(), keep);
            let of = |wanted| found.iter().filter(move |(_, is)| *is == wanted).map(|(at, _)| *at);
            let sound: Vec<u64> = of(Condition::Sound).collect();
            let kept: Vec<u64> = sound.iter().copied().filter(|at| !gone.contains(at)).collect();
            prop_assert_eq!(&kept[..], &sound[sound.len() - sound.len().min(keep.max(1))..]);
            prop_assert!(of(Condition::Foreign).all(|at| !gone.contains(&at)));
            prop_assert!(of(Condition::Damaged).all(|at| gone.contains(&at) != sound.is_empty()));
        }
    }

    #[test]
    fn only_files_of_ours_that_nobody_uses_are_orphans() {
        let name = |generation, part| Name { generation, part };
        let used = BTreeSet::from([name(1, Part::Index), name(1, Part::Columns(0))]);
        let files = [
            name(1, Part::Index).to_string(),
            name(1, Part::Columns(0)).to_string(),
            name(1, Part::Columns(1)).to_string(),
            name(2, Part::Live).to_string(),
            name(2, Part::Manifest).to_string(),
            name(3, Part::Manifest).temporary(),
            "notes.txt.tmp".to_owned(),
        ];
        let expected = [files[2].clone(), files[3].clone(), files[5].clone()];
        assert_eq!(orphans(&files, &used), expected);
    }
}
