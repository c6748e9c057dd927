//! Faults of one process at a time, injected from outside: a small library in its way to the operating system
//! (`shim/faults.c`). The programs are those that users run; nothing in them knows of it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::{cluster::PATIENCE, wait};

/// The library, and the folder of its rules.
pub struct Faults {
    folder: PathBuf,
}

/// What can be made to go wrong at a node; `shim/faults.c` says how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Syncs fail with EIO.
    SyncError,
    /// Syncs do nothing and succeed.
    SyncLie,
    /// Syncs wait until the fault is over.
    SyncStall,
    /// Writes fail with ENOSPC.
    Full,
    /// Each write takes so many milliseconds more.
    Slow(u64),
    /// The next write to the log lacks so many bytes at its end, and the process is gone.
    Torn(u64),
    /// The wall clock is so many seconds off.
    Clock(i64),
    /// Packets to this port are lost.
    Cut(u16),
}

/// A fault that lasts until it is ended or dropped.
pub struct Injected {
    rule: PathBuf,
    header: u64,
}

impl Faults {
    /// Builds the library in a folder, where rules will be, too.
    pub fn new(folder: &Path) -> Result<Self> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("shim/faults.c");
        let this = Self {
            folder: folder.to_owned(),
        };
        let status = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(this.library())
            .arg(source)
            .args(["-ldl", "-lpthread"])
            .status()
            .context("a C compiler is there, as the build needs one too")?;
        ensure!(status.success(), "cc ended with {status}");
        Ok(this)
    }

    fn library(&self) -> PathBuf {
        self.folder.join("faults.so")
    }

    /// What processes must find in their environment. With `undo`, keepers note what their writes replace: see
    /// [`power`](crate::power).
    pub fn env(&self, undo: bool) -> Vec<(String, String)> {
        let mut env = vec![
            ("LD_PRELOAD".to_owned(), self.library().display().to_string()),
            ("FAULTS_DIR".to_owned(), self.folder.display().to_string()),
        ];
        if undo {
            env.push(("FAULTS_UNDO".to_owned(), "1".to_owned()));
        }
        env
    }

    /// Where a keeper notes what its writes replace.
    pub fn notes(&self, node: &str) -> PathBuf {
        self.folder.join(format!("{node}.undo"))
    }

    /// Makes something go wrong at a node from now on.
    pub fn inject(&self, node: &str, fault: Fault) -> Result<Injected> {
        let (kind, number) = match fault {
            Fault::SyncError => ("eio".to_owned(), 0),
            Fault::SyncLie => ("lie".to_owned(), 0),
            Fault::SyncStall => ("stall".to_owned(), 0),
            Fault::Full => ("full".to_owned(), 0),
            Fault::Slow(millis) => ("slow".to_owned(), i64::try_from(millis)?),
            Fault::Torn(bytes) => ("torn".to_owned(), i64::try_from(bytes)?),
            Fault::Clock(seconds) => ("clock".to_owned(), seconds),
            Fault::Cut(port) => (format!("cut-{port}"), 0),
        };
        let header = format!("{number}\n");
        let rule = self.folder.join(format!("{node}.{kind}"));
        // Whole from the first moment it is seen.
        let beside = self.folder.join(format!("{node}.{kind}.new"));
        fs::write(&beside, &header)?;
        fs::rename(&beside, &rule)?;
        let header = header.len() as u64;
        Ok(Injected { rule, header })
    }
}

impl Injected {
    /// How often it has happened: at least this often where it is much.
    pub fn fired(&self) -> u64 {
        fs::metadata(&self.rule).map_or(0, |rule| rule.len().saturating_sub(self.header))
    }

    /// Waits until it has happened so often.
    pub async fn has_fired(&self, times: u64) -> Result<()> {
        let what = format!("{} to happen {times} times", self.rule.display());
        wait::until(&what, PATIENCE, || async {
            let fired = self.fired();
            ensure!(fired >= times, "it happened {fired} times");
            Ok(())
        })
        .await
    }

    /// Ends it; fails if it never happened.
    pub fn end(self) -> Result<()> {
        ensure!(self.fired() > 0, "{} never happened", self.rule.display());
        Ok(())
    }
}

impl Drop for Injected {
    fn drop(&mut self) {
        // Gone with its folder, perhaps.
        let _ = fs::remove_file(&self.rule);
    }
}
