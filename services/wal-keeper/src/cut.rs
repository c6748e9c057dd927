//! Cutting the log of the only keeper knowingly where it is damaged, while that keeper is stopped: what `longbow wal cut` does.
//!
//! What was acknowledged behind the damage is lost by that, and a new life of the log begins: it has a number of its own, and
//! goes on at an index that no lost entry had, so that nothing of the old life is ever taken for something of the new one. Shards
//! that had applied what was lost go back to before the cut.
//!
//! In this order, each durable before the next: the number of the new life is noted, no checkpoint is left that is newer than the
//! cut, the log is cut. Broken off anywhere, the log is damaged as before, and is to be cut once more.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use longbow_cluster::catalogue::Catalogue;
use longbow_types::{Error, ErrorCode, Result};
use longbow_wal::{
    Disk, EntryKind, FsDisk,
    cut::{Cut, Resume},
};
use longbow_wire::{
    entry,
    internal::{BeginIncarnationCommand, EntryHeader, entry_header::Command},
};
use prost::Message as _;

use crate::{
    GROUP, checkpoint::Checkpoints, committed::tail_entry, group::Group, recover::error_of, state::State,
};

/// Longest reason.
const REASON_BYTES_MAX: usize = 1 << 10;
/// Entries are read in pieces of this size.
const READ_BYTES: usize = 1 << 20;

/// What a cut would do.
pub struct Plan {
    /// What is damaged: names the file and the offset.
    pub damage: String,
    /// First entry that stays.
    pub first: u64,
    /// Last entry that stays. All behind it are lost.
    pub last: u64,
    /// There never was an entry behind this index: of the new life, entries that do anything stand behind it.
    pub bound: u64,
    /// Of the state that the keeper starts from.
    pub checkpoint: u64,
    /// Number of the life that begins.
    pub incarnation: u32,
    /// Files of the log that are set aside.
    pub set_aside: Vec<String>,
    cut: Cut,
    state: State,
    checkpoints: Checkpoints,
    disk: Arc<dyn Disk>,
}

/// What is to be cut off the log in a keeper's data path. `None`: nothing, the log is sound. Changes nothing. Blocks.
///
/// # Errors
/// `INVALID_VALUE` where there is no keeper's log, `STORAGE_FAILED` also while the keeper runs, `QUORUM_AT_RISK` where there are
/// other keepers to repair it from, `CORRUPTION` where the damage leaves nothing to go on from.
pub fn plan(data_path: &Path) -> Result<Option<Plan>> {
    let (folder, path) = (data_path.join("wal"), data_path.display());
    let nothing = || {
        let error = Error::new(ErrorCode::InvalidValue, format!("{path} holds no keeper's log"));
        error
            .field("DIR")
            .limit("the data path of a keeper that is stopped")
    };
    if !folder.is_dir() {
        return Err(nothing());
    }
    let group = Group::peek(data_path)?.ok_or_else(nothing)?;
    let disk =
        FsDisk::open(folder).map_err(|error| Error::new(ErrorCode::StorageFailed, error.to_string()))?;
    let disk: Arc<dyn Disk> = Arc::new(disk);
    let Some(cut) = Cut::plan(&*disk).map_err(unusable)? else {
        return Ok(None);
    };
    let nothing_left = || {
        unusable(longbow_wal::Error::Invalid(format!(
            "nothing of it can be kept: {}",
            cut.damage
        )))
    };
    let kept = *cut.groups.get(&GROUP).ok_or_else(nothing_left)?;
    let formed = group.as_formed();
    let (checkpoints, states) = Checkpoints::open_all(&data_path.join("catalogue"), &formed)?;
    // Whatever is beyond the cut tells at least how many lives there have been, and how far the log went.
    let lives = states.iter().map(|state| state.catalogue.incarnation());
    let lives = lives.fold(group.incarnation, u32::max);
    let bound = states.iter().map(State::index).fold(kept.bound, u64::max);
    let reached = |state: &State| (kept.first.saturating_sub(1)..=kept.last).contains(&state.index());
    let first = (kept.first <= 1).then(|| State::first(formed));
    let state = states.into_iter().rfind(reached).or(first).ok_or_else(|| {
        let message = format!(
            "{}: entries {} to {} stay, and no checkpoint of the catalogue goes on from one of them",
            cut.damage, kept.first, kept.last
        );
        Error::new(ErrorCode::Corruption, message).field("DIR")
    })?;
    let catalogue = replayed(&cut, &state, kept.last)?;
    if state.keepers.conf_state().voters != [group.raft_id] || state.keepers.members().count() != 1 {
        let message =
            "the group has other keepers, which have what this log lost: remove this one, and add it anew";
        return Err(Error::new(ErrorCode::QuorumAtRisk, message).field("DIR"));
    }
    Ok(Some(Plan {
        damage: cut.damage.to_string(),
        first: kept.first,
        last: kept.last,
        bound,
        checkpoint: state.index(),
        incarnation: lives.max(catalogue.incarnation()) + 1,
        set_aside: cut.set_aside(),
        cut,
        state,
        checkpoints,
        disk,
    }))
}

impl Plan {
    /// Cuts. `after`: the last entry that stays, as whoever cuts knows it; it has to be the plan's. Blocks.
    ///
    /// # Errors
    /// `INVALID_VALUE` for another entry or a reason that is too long: nothing is changed then. `STORAGE_FAILED`: the log is as damaged
    /// as it was, and is to be looked at again.
    pub fn perform(mut self, data_path: &Path, after: u64, reason: &str) -> Result<()> {
        if after != self.last {
            let message = format!("entry {after} is not the last one that stays");
            return Err(Error::new(ErrorCode::InvalidValue, message)
                .field("after")
                .limit(self.last));
        }
        if reason.is_empty() || reason.len() > REASON_BYTES_MAX {
            let message = format!("a reason of {} bytes", reason.len());
            let error = Error::new(ErrorCode::InvalidValue, message).field("reason");
            return Err(error.limit(format_args!("1 to {REASON_BYTES_MAX} bytes")));
        }
        Group::raise_incarnation(data_path, self.incarnation)?;
        self.checkpoints.go_back(&self.state)?;
        self.checkpoints.close()?;
        let begin = Command::BeginIncarnation(BeginIncarnationCommand {
            incarnation: self.incarnation,
            reason: reason.to_owned(),
        });
        let header = EntryHeader {
            command: Some(begin),
            ..EntryHeader::default()
        };
        let term = self.cut.groups.get(&GROUP).map_or(0, |kept| kept.term);
        let resume = Resume {
            first: entry::join(&header.encode_to_vec(), &[]).to_vec(),
            // Also beyond whoever has applied all that there was: no state of the old life is as far as the new one.
            last: self.bound + 1,
            term: term + 1,
        };
        let cut = self.cut.perform(&self.disk, &BTreeMap::from([(GROUP, resume)]));
        cut.map_err(error_of)
    }
}

/// The catalogue at the cut. The group must not have changed since the state: who is in it is told by that.
fn replayed(cut: &Cut, state: &State, last: u64) -> Result<Catalogue> {
    let mut catalogue = state.catalogue.clone();
    while catalogue.applied_index() < last {
        let next = catalogue.applied_index() + 1;
        for entry in cut
            .reader
            .read(GROUP, next..last + 1, READ_BYTES)
            .map_err(error_of)?
        {
            if entry.kind != EntryKind::Normal {
                let message = format!(
                    "the group changed with entry {}, and no checkpoint between that and the damage is left",
                    entry.index
                );
                return Err(Error::new(ErrorCode::QuorumAtRisk, message).field("DIR"));
            }
            let committed = tail_entry(entry.index, &entry.data);
            // As the engine applies it.
            match entry::decode_header(&committed.header) {
                Ok(header) if !committed.header.is_empty() || entry.data.is_empty() => {
                    catalogue.apply(entry.index, &header);
                }
                _ => drop(catalogue.refuse_unreadable(entry.index)),
            }
        }
    }
    Ok(catalogue)
}

fn unusable(error: longbow_wal::Error) -> Error {
    match error {
        longbow_wal::Error::Invalid(why) => Error::new(ErrorCode::Corruption, why).field("DIR"),
        other => error_of(other),
    }
}
