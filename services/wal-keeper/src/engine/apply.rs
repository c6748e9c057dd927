//! Applying what is committed: judged by the catalogue, then given to shards, then answered.

use longbow_wire::{
    entry,
    internal::{EntryHeader, RaftEntry, RaftEntryType, entry_header::Command},
};

use super::{Engine, change};
use crate::committed::tail_entry;

impl Engine {
    pub(super) fn apply(&mut self, entries: Vec<RaftEntry>) {
        let mut answers = Vec::with_capacity(entries.len());
        let mut tail = Vec::with_capacity(entries.len());
        for entry in &entries {
            if change::is_change(entry) {
                self.apply_change(entry);
            }
            let data = match entry.entry_type() {
                RaftEntryType::Unspecified => entry.data.clone(),
                _ => bytes::Bytes::new(),
            };
            let committed = tail_entry(entry.index, &data);
            let applied = match entry::decode_header(&committed.header) {
                Ok(header) if !committed.header.is_empty() || data.is_empty() => {
                    let applied = self.parts.state.catalogue.apply(entry.index, &header);
                    self.view_stale |= applied.takes_effect() && changes_view(&header);
                    self.note_tick(entry.index, &header);
                    if let (true, Some(Command::Write(write))) = (applied.takes_effect(), &header.command) {
                        self.credit
                            .logged(entry.index, write, &self.parts.state.catalogue);
                    }
                    applied
                }
                // Checked before it was proposed; what cannot be read has no effect, here and everywhere.
                unreadable => {
                    let error = unreadable.err();
                    tracing::error!(index = entry.index, ?error, "a committed entry cannot be read");
                    self.parts.state.catalogue.refuse_unreadable(entry.index)
                }
            };
            answers.push((entry.index, entry.term, applied));
            tail.push(committed);
        }
        self.uncheckpointed += entries.len() as u64;
        if let Some(last) = entries.last() {
            self.core.applied(last.index);
        }
        // Readable before it is acknowledged: who writes and then looks finds it.
        self.parts.committed.push(tail, &self.parts.state.catalogue);
        for (index, term, applied) in answers {
            self.resolve(index, term, &applied);
        }
        self.resolve_change();
    }
}

/// Whether watchers of the catalogue must hear of it.
fn changes_view(header: &EntryHeader) -> bool {
    matches!(
        header.command,
        Some(
            Command::CreateDataset(_)
                | Command::AlterDataset(_)
                | Command::DropDataset(_)
                | Command::RegisterShard(_)
                | Command::BeginIncarnation(_)
        )
    )
}
