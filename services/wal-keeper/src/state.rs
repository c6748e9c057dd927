//! The replicated state at one index: what entries have made of the catalogue and of the group.

use longbow_cluster::{catalogue::Catalogue, keepers::Keepers};
use longbow_types::{Error, ErrorCode, Result};
use longbow_wire::internal::KeeperState;
use prost::Message;

/// The replicated state.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct State {
    pub catalogue: Catalogue,
    pub keepers: Keepers,
    /// Of one that came as a snapshot and whose log may not begin behind it yet: the term of the last entry in it.
    pub snapshot_term: u64,
}

impl State {
    /// Before any entry.
    pub fn first(keepers: Keepers) -> Self {
        Self {
            catalogue: Catalogue::new(),
            keepers,
            snapshot_term: 0,
        }
    }

    /// Index of the last entry in it.
    pub fn index(&self) -> u64 {
        self.catalogue.applied_index()
    }

    pub fn encode(&self) -> Vec<u8> {
        let message = KeeperState {
            catalogue: Some(self.catalogue.to_proto(true)),
            membership: Some(self.keepers.to_proto()),
            snapshot_term: self.snapshot_term,
        };
        message.encode_to_vec()
    }

    /// Inverse of [`State::encode`]. Trusts nothing.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let corrupt = |why: String| Error::new(ErrorCode::Corruption, format!("a keeper's state: {why}"));
        let message = KeeperState::decode(bytes).map_err(|error| corrupt(error.to_string()))?;
        let catalogue = message.catalogue.unwrap_or_default();
        let state = Self {
            catalogue: Catalogue::from_proto(&catalogue)?,
            keepers: Keepers::from_proto(&message.membership.unwrap_or_default())?,
            snapshot_term: message.snapshot_term,
        };
        if state.keepers.index() > state.index() {
            return Err(corrupt("a membership newer than the catalogue".to_owned()));
        }
        Ok(state)
    }
}
