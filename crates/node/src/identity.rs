//! Who is this node, and which life of it is this?
//!
//! The id stays over restarts; the generation rises with each start, so that a node that comes back, wherever it comes
//! back, replaces its former self. Both are kept in `node.json` of the data path. A generation is never below the Unix
//! time in milliseconds: a node that lost its data path, or has none, still supersedes its former self, unless the
//! clock went back as well.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use longbow_types::{ClusterId, Error, ErrorCode, NodeId, Role};
use serde::{Deserialize, Serialize};

use crate::config::NodeConfig;

const FILE: &str = "node.json";
const LOCK: &str = "node.lock";
const FORMAT: u32 = 1;
/// No file of ours comes near this.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// Who a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The cluster.
    pub cluster_id: ClusterId,
    /// The node, unique in its cluster.
    pub node_id: NodeId,
    /// What it is for.
    pub role: Role,
    /// Which life of the node: higher supersedes lower.
    pub generation: u64,
}

/// An identity and the sole right to it on this machine: holds a lock on the data path while it lives.
#[derive(Debug)]
pub struct Claim {
    /// Who we are.
    pub identity: Identity,
    _lock: Option<File>,
}

/// What `node.json` holds.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    format: u32,
    cluster_id: String,
    node_id: String,
    role: String,
    generation: u64,
}

/// Settles who we are and begins a new life: reads, raises and stores the generation.
///
/// Refuses a data path that is in use, or that belongs to another node, role or cluster.
pub fn claim(config: &NodeConfig) -> Result<Claim, Error> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    claim_at(
        config,
        u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
        hostname().as_deref(),
    )
}

fn claim_at(config: &NodeConfig, unix_millis: u64, hostname: Option<&str>) -> Result<Claim, Error> {
    let Some(dir) = &config.data_path else {
        let node_id = config
            .node_id
            .clone()
            .unwrap_or_else(|| default_id(config.role, hostname));
        return Ok(Claim {
            identity: identity(config, node_id, unix_millis),
            _lock: None,
        });
    };
    let failed = |error: io::Error| storage_error(dir, &error);
    fs::create_dir_all(dir).map_err(failed)?;
    let lock = lock(dir)?;
    let stored = read(dir)?;
    if let Some(stored) = &stored {
        check_same(config, dir, stored)?;
    }
    let node_id = match (&config.node_id, &stored) {
        (Some(id), _) => id.clone(),
        (None, Some(stored)) => stored.node_id.parse().map_err(|error| corrupt(dir, &error))?,
        (None, None) => default_id(config.role, hostname),
    };
    let generation = stored
        .map_or(0, |stored| stored.generation)
        .saturating_add(1)
        .max(unix_millis);
    let identity = identity(config, node_id, generation);
    write(dir, &identity).map_err(failed)?;
    Ok(Claim {
        identity,
        _lock: Some(lock),
    })
}

fn identity(config: &NodeConfig, node_id: NodeId, generation: u64) -> Identity {
    Identity {
        cluster_id: config.cluster_id.clone(),
        node_id,
        role: config.role,
        generation,
    }
}

/// `HOSTNAME-ROLE`, or a random name where the host name cannot be part of an id.
fn default_id(role: Role, hostname: Option<&str>) -> NodeId {
    let by_host = hostname.and_then(|host| format!("{host}-{role}").parse().ok());
    by_host.unwrap_or_else(|| {
        let id = format!("{role}-{:016x}", rand::random::<u64>());
        id.parse().expect("a role and hex digits make a valid id")
    })
}

fn hostname() -> Option<String> {
    let name = fs::read_to_string("/proc/sys/kernel/hostname")
        .or_else(|_| fs::read_to_string("/etc/hostname"))
        .ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

fn lock(dir: &Path) -> Result<File, Error> {
    let open = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(dir.join(LOCK));
    let file = open.map_err(|error| storage_error(dir, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let message = format!("{} is in use by another process", dir.display());
            Err(Error::new(ErrorCode::InvalidValue, message).field("data_path"))
        }
        Err(TryLockError::Error(error)) => Err(storage_error(dir, &error)),
    }
}

fn read(dir: &Path) -> Result<Option<Stored>, Error> {
    let path = dir.join(FILE);
    let metadata = match fs::metadata(&path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(storage_error(dir, &error)),
    };
    if metadata.len() > FILE_BYTES_MAX {
        return Err(corrupt(dir, &"it is far too long"));
    }
    let bytes = fs::read(&path).map_err(|error| storage_error(dir, &error))?;
    let stored: Stored = serde_json::from_slice(&bytes).map_err(|error| corrupt(dir, &error))?;
    if stored.format != FORMAT {
        return Err(corrupt(
            dir,
            &format_args!("its format is {}, not {FORMAT}", stored.format),
        ));
    }
    Ok(Some(stored))
}

/// Writes beside and renames over, both synced: after a crash there is the old file or the new one.
fn write(dir: &Path, identity: &Identity) -> io::Result<()> {
    let stored = Stored {
        format: FORMAT,
        cluster_id: identity.cluster_id.to_string(),
        node_id: identity.node_id.to_string(),
        role: identity.role.to_string(),
        generation: identity.generation,
    };
    let beside = dir.join(format!("{FILE}.new"));
    let mut file = File::create(&beside)?;
    file.write_all(&serde_json::to_vec_pretty(&stored)?)?;
    file.sync_all()?;
    fs::rename(&beside, dir.join(FILE))?;
    File::open(dir)?.sync_all()
}

fn check_same(config: &NodeConfig, dir: &Path, stored: &Stored) -> Result<(), Error> {
    let differs = |what: &str, have: &str, want: &str| {
        let message = format!("{} belongs to {what} {have}, not {want}", dir.display());
        Err(Error::new(ErrorCode::InvalidValue, message).field("data_path"))
    };
    if stored.cluster_id != config.cluster_id.as_str() {
        return differs("cluster", &stored.cluster_id, config.cluster_id.as_str());
    }
    if stored.role != config.role.as_str() {
        return differs("a", &stored.role, config.role.as_str());
    }
    match &config.node_id {
        Some(id) if id.as_str() != stored.node_id => differs("node", &stored.node_id, id.as_str()),
        _ => Ok(()),
    }
}

fn storage_error(dir: &Path, error: &io::Error) -> Error {
    Error::new(ErrorCode::StorageFailed, format!("{}: {error}", dir.display())).field("data_path")
}

fn corrupt(dir: &Path, why: &dyn std::fmt::Display) -> Error {
    Error::new(
        ErrorCode::Corruption,
        format!("{}: {why}", dir.join(FILE).display()),
    )
    .field("data_path")
}
