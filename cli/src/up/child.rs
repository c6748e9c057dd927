//! One child process of `up`: started, watched, stopped.

use std::{
    fs::File,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, ChildStdin, Command};

use super::layout::NodePlan;

/// Lines of a log shown when its process fails.
const TAIL_LINES: usize = 8;
/// Bytes of a log read for that.
const TAIL_BYTES: u64 = 8 << 10;

/// A running node.
pub struct Node {
    /// What it is.
    pub plan: NodePlan,
    /// Command line that starts it again.
    pub argv: Vec<String>,
    /// Where its log lines go.
    pub log: PathBuf,
    /// Its process id.
    pub pid: u32,
    child: Child,
    /// The child ends when this closes.
    _alive: ChildStdin,
}

impl Node {
    /// Starts a node. It ends when this process does, whatever the reason.
    pub fn start(plan: NodePlan, program: &Path, dir: &Path) -> anyhow::Result<Self> {
        let log = dir.join(format!("{}.log", plan.node_id));
        let out = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| format!("opening {}", log.display()))?;
        let program_text = program.display().to_string();
        let mut argv = vec![program_text, "role".to_owned(), plan.role.to_string()];
        argv.extend(plan.args.iter().cloned());
        let mut command = Command::new(program);
        command
            .args(["role", crate::role::DIE_WITH_PARENT])
            .args(&argv[2..])
            // The child ends when it finds the other end of this pipe closed.
            .stdin(Stdio::piped())
            .stdout(out.try_clone()?)
            .stderr(out)
            // Ctrl-C is for this process, which then stops the nodes in order.
            .process_group(0)
            .kill_on_drop(true);
        let mut child = command
            .spawn()
            .with_context(|| format!("starting {}", plan.node_id))?;
        let pid = child.id().context("a process just started has an id")?;
        // Taken out, because waiting for the child would close it.
        let alive = child.stdin.take().context("standard input is a pipe")?;
        Ok(Self {
            plan,
            argv,
            log,
            pid,
            child,
            _alive: alive,
        })
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits for its end.
    pub async fn end(&mut self) -> std::io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Asks it to stop with SIGTERM; after `patience` kills it. Tells how it ended.
    pub async fn stop(&mut self, patience: Duration) -> anyhow::Result<ExitStatus> {
        if let Some(status) = self.ended()? {
            return Ok(status);
        }
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It may just have ended by itself.
            let _ = kill_process(pid, Signal::TERM);
        }
        if let Ok(status) = tokio::time::timeout(patience, self.child.wait()).await {
            return Ok(status?);
        }
        eprintln!(
            "{} did not stop within {patience:?} of SIGTERM: killing it",
            self.plan.node_id
        );
        self.child.kill().await?;
        Ok(self.child.wait().await?)
    }

    /// The last lines of its log.
    pub fn log_tail(&self) -> String {
        tail(&self.log).unwrap_or_default()
    }
}

/// A sentence about how a process ended.
pub fn ending(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

fn tail(path: &Path) -> std::io::Result<String> {
    use std::io::{Read, Seek, SeekFrom};
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(TAIL_LINES);
    Ok(lines[from..].iter().map(|line| format!("  | {line}\n")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_are_told() {
        assert_eq!(ending(ExitStatus::from_raw(3 << 8)), "ended with code 3");
        assert_eq!(ending(ExitStatus::from_raw(9)), "was ended by signal 9");
    }

    #[test]
    fn the_tail_of_a_log_is_short() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let lines: String = (0..10_000).map(|n| format!("line {n}\n")).collect();
        std::fs::write(file.path(), lines).unwrap();
        let text = tail(file.path()).unwrap();
        assert_eq!(text.lines().count(), TAIL_LINES);
        assert!(text.ends_with("  | line 9999\n"));
    }
}
