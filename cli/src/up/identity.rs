//! Who the cluster in a data directory is: its id and secret, made once and kept in `cluster.toml`; and the lock that
//! keeps two commands out of one directory.

use std::{
    fs::{self, File, TryLockError},
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::{Rng, TryRngCore, rngs::OsRng};
use serde::{Deserialize, Serialize};

const FILE: &str = "cluster.toml";
const LOCK: &str = "lock";
const SECRET_BYTES: usize = 32;

/// A data directory that this process owns.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    cluster_id: String,
    /// Held, and so locked, until the process ends.
    _lock: File,
}

/// `cluster.toml`: also a valid configuration file of every role.
#[derive(Debug, Serialize, Deserialize)]
struct ClusterFile {
    cluster: Cluster,
}

#[derive(Debug, Serialize, Deserialize)]
struct Cluster {
    id: String,
    secret: String,
}

impl DataDir {
    /// Opens a directory, making it and its identity if they are not there.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder
            .create(path)
            .with_context(|| format!("making the data directory {}", path.display()))?;
        let path = path
            .canonicalize()
            .with_context(|| format!("finding the data directory {}", path.display()))?;
        let lock = lock(&path)?;
        let file = path.join(FILE);
        if !file.exists() {
            create(&file).with_context(|| format!("writing {}", file.display()))?;
        }
        let text = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        let parsed: ClusterFile =
            toml::from_str(&text).with_context(|| format!("{} is not as written", file.display()))?;
        Ok(Self {
            path,
            cluster_id: parsed.cluster.id,
            _lock: lock,
        })
    }

    /// The directory, absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Identity of the cluster.
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// The configuration file with id and secret.
    pub fn cluster_file(&self) -> PathBuf {
        self.path.join(FILE)
    }
}

fn lock(path: &Path) -> anyhow::Result<File> {
    let file = path.join(LOCK);
    let lock = File::options()
        .create(true)
        .write(true)
        .truncate(false)
        .open(&file)
        .with_context(|| format!("opening {}", file.display()))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => bail!(
            "another longbow runs on {}; stop it, or choose another --data-dir",
            path.display()
        ),
        Err(TryLockError::Error(error)) => {
            Err(anyhow::Error::from(error).context(format!("locking {}", file.display())))
        }
    }
}

/// Writes the file whole or not at all, readable by its owner alone.
fn create(file: &Path) -> anyhow::Result<()> {
    let mut secret = [0; SECRET_BYTES];
    OsRng.try_fill_bytes(&mut secret)?;
    let content = ClusterFile {
        cluster: Cluster {
            id: format!("local-{:08x}", rand::rng().random::<u32>()),
            secret: URL_SAFE_NO_PAD.encode(secret),
        },
    };
    let text = format!(
        "# Identity and secret of the cluster in this directory, made by longbow. Keep both, and keep them private.\n{}",
        toml::to_string(&content)?
    );
    let new = file.with_extension("toml.new");
    let mut out = File::options()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    out.write_all(text.as_bytes())?;
    out.sync_all()?;
    fs::rename(&new, file)?;
    if let Some(parent) = file.parent() {
        File::open(parent)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_identity_is_made_once_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        let first = DataDir::open(&path).unwrap();
        let id = first.cluster_id().to_owned();
        let mode = fs::metadata(first.cluster_file()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let text = fs::read_to_string(first.cluster_file()).unwrap();
        let busy = DataDir::open(&path).unwrap_err().to_string();
        assert!(busy.contains("another longbow"), "{busy}");
        drop(first);
        let second = DataDir::open(&path).unwrap();
        assert_eq!(second.cluster_id(), id);
        assert_eq!(fs::read_to_string(second.cluster_file()).unwrap(), text);
    }

    #[test]
    fn two_clusters_differ() {
        let dir = tempfile::tempdir().unwrap();
        let text = |name: &str| {
            let opened = DataDir::open(&dir.path().join(name)).unwrap();
            fs::read_to_string(opened.cluster_file()).unwrap()
        };
        assert_ne!(text("a"), text("b"));
    }

    #[test]
    fn a_damaged_file_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), "[cluster]\nid = 1\n").unwrap();
        assert!(DataDir::open(dir.path()).is_err());
    }
}
