//! Is what a keeper sends of the log that this node follows, and of the life of it that it follows?

use anyhow::anyhow;
use longbow_types::{Error, ErrorCode};
use longbow_wire::internal::TailResponse;

use super::{Follower, GROUP, Stop};

impl Follower {
    /// Refuses entries of another log than the one followed so far: applied to what is here they would make rows that
    /// neither has.
    pub(super) fn check_log(&mut self, message: &TailResponse) -> std::result::Result<(), Stop> {
        check_group(message.group)?;
        let (mine, theirs) = (self.route.log_id(), message.log_id);
        if mine == 0 || mine == theirs {
            return self.check_life(message);
        }
        if theirs != 0 {
            return Err(self.formed_anew(mine, theirs));
        }
        // A keeper far behind, or one of a log that no shard has registered with. Registering tells: it changes
        // nothing in the log that we know, and names another.
        self.register();
        if message.entries.is_empty() {
            return Ok(());
        }
        Err(anyhow!("its log has no id, and this node follows {mine:016x}").into())
    }

    /// The log may have been cut knowingly since, and another life of it begun: what this node has applied may be no part
    /// of it any more.
    fn check_life(&self, message: &TailResponse) -> std::result::Result<(), Stop> {
        let (mine, theirs) = (self.route.catalogue().incarnation(), message.incarnation);
        if theirs > mine && theirs != self.admitted {
            return Err(Stop::Rewound);
        }
        if theirs < mine && !message.entries.is_empty() {
            return Err(anyhow!("it has life {theirs} of the log, and this node follows life {mine}").into());
        }
        Ok(())
    }

    /// The keepers have another log than this node: what it holds is of no use.
    pub(super) fn formed_anew(&self, mine: u64, theirs: u64) -> Stop {
        if let Some(store) = &self.tail.snapshots {
            store.disown(mine);
        }
        let text = format!(
            "a keeper has log {theirs:016x}, and this node follows {mine:016x}: the keepers were formed anew"
        );
        Stop::Node(Error::new(ErrorCode::WrongCluster, text))
    }
}

pub(super) fn check_group(group: u32) -> std::result::Result<(), Stop> {
    if group == GROUP {
        return Ok(());
    }
    let text = format!("a keeper has log group {group}, and this node follows {GROUP}");
    Err(Stop::Node(Error::new(ErrorCode::WrongCluster, text)))
}
