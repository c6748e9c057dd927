//! `longbow latch …`: act on the cluster-wide "stop accepting writes" state.

use clap::Subcommand;
use longbow_client::{Error, ErrorCode, LatchStatus};
use serde_json::json;

use crate::{
    args::Global,
    commands::status::{latch_json, latch_line},
    connect,
    output::Output,
};

const STATUS_EXAMPLES: &str = "\
Examples:
  longbow latch status
  longbow latch status --json | jq -e '.latch.tripped | not'";

const RESET_EXAMPLES: &str = "\
Examples:
  longbow latch status      names the disk that failed
  longbow latch reset --reason 'the disk of keeper-0 is a new one'";

/// What to do with the latch.
#[derive(Debug, Subcommand)]
pub enum LatchCommand {
    /// Show whether writes are refused, and why; or why they were accepted again.
    #[command(after_help = STATUS_EXAMPLES)]
    Status,
    /// Accept writes again, after most keepers have proved that their disks can be written and synced.
    #[command(after_help = RESET_EXAMPLES)]
    Reset {
        /// Why, in a sentence: keepers log it and remember it, at most 400 bytes.
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
    },
}

/// Runs the command.
pub async fn run(command: &LatchCommand, global: &Global) -> anyhow::Result<()> {
    let client = connect::client(global)?;
    let output = Output { json: global.json };
    match command {
        LatchCommand::Status => {
            let latch = client.status().await?.latch;
            output.result(&json!({ "latch": latch_json(&latch) }), || latch_line(&latch))?;
        }
        LatchCommand::Reset { reason } => {
            // Only to tell whether there was anything to reset; a reset must not depend on it.
            let before = client.status().await.ok().map(|status| status.latch);
            let latch = client.reset_latch(reason).await?;
            if let Some(error) = still_tripped(&latch) {
                return Err(error.into());
            }
            let idle = before.is_some_and(|before| was_idle(&before, &latch));
            output.result(&json!({ "latch": latch_json(&latch), "reset": !idle }), || {
                let note = if idle { "nothing was tripped; " } else { "" };
                format!("{note}{}", latch_line(&latch))
            })?;
        }
    }
    Ok(())
}

/// The error if writes are refused although the reset was taken: a disk failed again meanwhile.
fn still_tripped(latch: &LatchStatus) -> Option<Error> {
    latch.tripped.then(|| {
        let message = format!("still after the reset: {}", latch_line(latch).trim_end());
        Error::new(ErrorCode::LatchTripped, message)
    })
}

/// Whether there was nothing to reset. A reset of a tripped latch raises the epoch, which a router may hear of late.
fn was_idle(before: &LatchStatus, after: &LatchStatus) -> bool {
    !before.tripped && before.epoch == after.epoch
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_that_changed_nothing_is_known() {
        let latch = |tripped, epoch| LatchStatus {
            tripped,
            epoch,
            cause: String::new(),
        };
        assert!(was_idle(&latch(false, 0), &latch(false, 0)));
        assert!(!was_idle(&latch(true, 1), &latch(false, 2)));
        // The router had not heard that it was tripped.
        assert!(!was_idle(&latch(false, 0), &latch(false, 2)));
        assert_eq!(still_tripped(&latch(false, 2)), None);
        assert_eq!(
            still_tripped(&latch(true, 3)).map(|error| error.code),
            Some(ErrorCode::LatchTripped)
        );
    }
}
