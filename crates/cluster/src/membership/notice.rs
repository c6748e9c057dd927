//! "There are two of you": what a member tells two lives of one node of which it hears both.

use serde::{Deserialize, Serialize};

use super::MemberId;

/// Two lives of one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Notice {
    /// The one that was heard although a newer one is known.
    pub older: MemberId,
    /// The newer one.
    pub newer: MemberId,
    /// Whether the newer one is thought alive.
    pub alive: bool,
}

impl Notice {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let bytes = postcard::to_stdvec(self).expect("identities can be written");
        out.extend_from_slice(&bytes);
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, postcard::Error> {
        let notice: Self = postcard::from_bytes(bytes)?;
        // Else it is no notice, whoever made it.
        if notice.newer.supersedes(&notice.older) {
            Ok(notice)
        } else {
            Err(postcard::Error::DeserializeBadEncoding)
        }
    }
}
