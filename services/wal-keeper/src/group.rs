//! Who this keeper is in its raft group: `keeper.json` in the data path.
//!
//! It is written before the log is made (`formed: false`) and again when the group is formed. A keeper whose file says
//! `formed` and whose log is gone has lost its log: it must not vote under its raft id again, and does not start.
//! Who else is in the group stands in the log and its checkpoint.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
};

use longbow_cluster::keepers::Keepers;
use longbow_node::identity::Identity;
use longbow_types::{Error, ErrorCode, NodeId, Result};
use serde::{Deserialize, Serialize};

const FILE: &str = "keeper.json";
const FORMAT: u32 = 1;
const FILE_BYTES_MAX: u64 = 64 << 10;

/// A keeper's place in its group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    /// 0 while this keeper is no member and waits to be added.
    pub raft_id: u64,
    /// Identity of this keeper's log.
    pub log_id: u64,
    /// Those that formed the group; the raft id of each was its position plus one.
    pub initial_voters: Vec<NodeId>,
    /// Whether the log was durable once, and all others had said that theirs were empty.
    pub formed: bool,
    /// Highest number that a life of the log was ever to have.
    pub incarnation: u32,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    format: u32,
    cluster_id: String,
    node_id: String,
    raft_id: u64,
    /// As hex: JSON numbers lose precision in other tools.
    log_id: String,
    voters: Vec<String>,
    formed: bool,
    /// The highest number that a life of the log was ever to have, if it was cut knowingly. The log itself may have lost it again.
    #[serde(default, skip_serializing_if = "is_first")]
    incarnation: u32,
}

fn is_first(incarnation: &u32) -> bool {
    *incarnation <= 1
}

impl Group {
    /// The group that this keeper is to form, or, if it is not among the voters, to be added to.
    pub fn new(identity: &Identity, initial_voters: &[NodeId], log_id: u64) -> Self {
        let initial_voters = match initial_voters {
            [] => vec![identity.node_id.clone()],
            named => named.to_vec(),
        };
        let position = initial_voters.iter().position(|voter| *voter == identity.node_id);
        Self {
            raft_id: position.map_or(0, |position| position as u64 + 1),
            // 0 is no name.
            log_id: log_id.max(1),
            initial_voters,
            formed: false,
            incarnation: 1,
        }
    }

    /// Reads the file; `None` if there is none. Refuses one of another cluster or node.
    pub fn load(dir: &Path, identity: &Identity, initial_voters: &[NodeId]) -> Result<Option<Self>> {
        let Some(stored) = read(dir)? else {
            return Ok(None);
        };
        if stored.cluster_id != identity.cluster_id.as_str() {
            let message = format!(
                "the log in {} belongs to the cluster {}, this node to {}",
                dir.display(),
                stored.cluster_id,
                identity.cluster_id
            );
            return Err(Error::new(ErrorCode::WrongCluster, message).field("cluster.id"));
        }
        if stored.node_id != identity.node_id.as_str() {
            let message = format!(
                "the log in {} belongs to the keeper {}, not {}",
                dir.display(),
                stored.node_id,
                identity.node_id
            );
            return Err(Error::new(ErrorCode::InvalidValue, message).field("node.id"));
        }
        let group = stored.group(dir)?;
        if !initial_voters.is_empty() && group.initial_voters != initial_voters {
            let message = format!(
                "the group was formed by {:?} and cannot be formed again",
                stored.voters
            );
            return Err(Error::new(ErrorCode::InvalidValue, message).field("keeper.initial_voters"));
        }
        Ok(Some(group))
    }

    /// Reads the file of a keeper that does not run, whoever it is; `None` if there is none.
    pub fn peek(dir: &Path) -> Result<Option<Self>> {
        read(dir)?.map(|stored| stored.group(dir)).transpose()
    }

    /// Notes, durably, that a life of the log is to have this number, before it begins.
    pub fn raise_incarnation(dir: &Path, incarnation: u32) -> Result<()> {
        let Some(mut stored) = read(dir)? else {
            return Err(corrupt(dir, &"it is gone"));
        };
        stored.incarnation = stored.incarnation.max(incarnation);
        stored.write(dir)
    }

    /// Writes the file durably: beside, synced, renamed over.
    pub fn store(&self, dir: &Path, identity: &Identity) -> Result<()> {
        let stored = Stored {
            format: FORMAT,
            cluster_id: identity.cluster_id.to_string(),
            node_id: identity.node_id.to_string(),
            raft_id: self.raft_id,
            log_id: format!("{:016x}", self.log_id),
            voters: self
                .initial_voters
                .iter()
                .map(|voter| voter.to_string())
                .collect(),
            formed: self.formed,
            incarnation: self.incarnation,
        };
        stored.write(dir)
    }

    /// The group as it was formed.
    pub fn as_formed(&self) -> Keepers {
        Keepers::formed(&self.initial_voters)
    }
}

impl Stored {
    fn group(&self, dir: &Path) -> Result<Group> {
        let voters: Result<Vec<NodeId>> = self.voters.iter().map(|voter| voter.parse()).collect();
        let voters = voters.map_err(|error| corrupt(dir, &error))?;
        let log_id = u64::from_str_radix(&self.log_id, 16).map_err(|error| corrupt(dir, &error))?;
        // Ids above are of those that were added later.
        let owner = usize::try_from(self.raft_id)
            .ok()
            .and_then(|id| voters.get(id.checked_sub(1)?));
        if owner.is_some_and(|owner| owner.as_str() != self.node_id) || self.raft_id == 0 && self.formed {
            return Err(corrupt(dir, &"the raft id does not fit the voters"));
        }
        Ok(Group {
            raft_id: self.raft_id,
            log_id,
            initial_voters: voters,
            formed: self.formed,
            incarnation: self.incarnation.max(1),
        })
    }

    fn write(&self, dir: &Path) -> Result<()> {
        let write = || -> io::Result<()> {
            let beside = dir.join(format!("{FILE}.new"));
            let mut file = File::create(&beside)?;
            file.write_all(&serde_json::to_vec_pretty(self)?)?;
            file.sync_all()?;
            fs::rename(&beside, dir.join(FILE))?;
            File::open(dir)?.sync_all()
        };
        write().map_err(|error| storage_error(dir, &error))
    }
}

fn read(dir: &Path) -> Result<Option<Stored>> {
    let path = dir.join(FILE);
    let bytes = match fs::metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(storage_error(dir, &error)),
        Ok(metadata) if metadata.len() > FILE_BYTES_MAX => return Err(corrupt(dir, &"it is far too long")),
        Ok(_) => fs::read(&path).map_err(|error| storage_error(dir, &error))?,
    };
    let stored: Stored = serde_json::from_slice(&bytes).map_err(|error| corrupt(dir, &error))?;
    if stored.format != FORMAT {
        return Err(corrupt(
            dir,
            &format_args!("its format is {}, not {FORMAT}", stored.format),
        ));
    }
    Ok(Some(stored))
}

fn corrupt(dir: &Path, why: &dyn std::fmt::Display) -> Error {
    Error::new(
        ErrorCode::Corruption,
        format!("{}: {why}", dir.join(FILE).display()),
    )
}

fn storage_error(dir: &Path, error: &io::Error) -> Error {
    Error::new(
        ErrorCode::StorageFailed,
        format!("{}: {error}", dir.join(FILE).display()),
    )
}

#[cfg(test)]
mod tests {
    use longbow_types::Role;

    use super::*;

    fn identity(cluster: &str, node: &str) -> Identity {
        Identity {
            cluster_id: cluster.parse().unwrap(),
            node_id: node.parse().unwrap(),
            role: Role::WalKeeper,
            generation: 1,
        }
    }

    fn voters(names: &[&str]) -> Vec<NodeId> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    #[test]
    fn a_place_is_kept_and_not_given_to_others() {
        let dir = tempfile::tempdir().unwrap();
        let me = identity("c", "k2");
        let three = voters(&["k1", "k2", "k3"]);
        assert_eq!(Group::load(dir.path(), &me, &three).unwrap(), None);
        let mut group = Group::new(&me, &three, u64::MAX - 1);
        assert_eq!(group.raft_id, 2);
        group.formed = true;
        group.store(dir.path(), &me).unwrap();
        for named in [&three[..], &[]] {
            assert_eq!(
                Group::load(dir.path(), &me, named).unwrap().as_ref(),
                Some(&group)
            );
        }
        let code = |identity: &Identity, named: &[NodeId]| {
            Group::load(dir.path(), identity, named).unwrap_err().code
        };
        assert_eq!(code(&identity("other", "k2"), &three), ErrorCode::WrongCluster);
        assert_eq!(code(&identity("c", "k1"), &three), ErrorCode::InvalidValue);
        assert_eq!(code(&me, &three[..2]), ErrorCode::InvalidValue);
        fs::write(dir.path().join(FILE), "{").unwrap();
        assert_eq!(code(&me, &three), ErrorCode::Corruption);
    }

    #[test]
    fn who_is_not_among_the_voters_waits_for_a_raft_id() {
        let dir = tempfile::tempdir().unwrap();
        let me = identity("c", "k9");
        let three = voters(&["k1", "k2", "k3"]);
        let mut group = Group::new(&me, &three, 0);
        assert_eq!((group.raft_id, group.log_id), (0, 1));
        // Given one, it keeps it; an id of those that formed the group is none of its.
        for (raft_id, formed, fits) in [
            (0, false, true),
            (4, true, true),
            (2, true, false),
            (0, true, false),
        ] {
            (group.raft_id, group.formed) = (raft_id, formed);
            group.store(dir.path(), &me).unwrap();
            assert_eq!(Group::load(dir.path(), &me, &three).is_ok(), fits, "{group:?}");
        }
        assert_eq!(Group::new(&me, &[], 1).initial_voters, voters(&["k9"]));
    }
}
