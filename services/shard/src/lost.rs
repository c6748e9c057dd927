//! What of a replica that this node is assigned and has not got? Its name, and why: it is neither on the disk nor can
//! it be made from the log, which was cut. It is shown and refused, so that nobody takes nothing for an answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use longbow_types::{Error, ErrorCode};

use crate::partition::Key;

/// Replicas that are lost.
pub(crate) type AllLost = BTreeMap<Key, Arc<Lost>>;

/// One of them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Lost {
    /// Name of the dataset.
    pub(crate) dataset: String,
    /// Why it is lost, for people.
    pub(crate) why: String,
}

impl Lost {
    /// The error for those who ask for it.
    pub(crate) fn error(&self, key: Key) -> Error {
        let message = format!("the replica of partition {key} is lost: {}", self.why);
        Error::new(ErrorCode::ReplicaLost, message).field("target.partitions")
    }
}
