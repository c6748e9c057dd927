//! One member: what it does with its disk, and which messages it refuses.

use std::sync::Arc;

use longbow_wire::internal::{RaftConfState, RaftEntry};

use super::{
    simulation::{VOTERS, disk::Reader},
    *,
};

fn single(restored: Restored, reader: Reader) -> Result<RaftCore<Reader>> {
    RaftCore::new(
        &CoreConfig::new(1),
        restored,
        reader,
        Box::new(|range| range.start),
    )
}

fn alone() -> Restored {
    Restored {
        conf_state: RaftConfState {
            voters: vec![1],
            ..Default::default()
        },
        ..Restored::default()
    }
}

#[test]
fn a_group_of_one_commits_when_its_disk_is_done() {
    let disk = Reader(Arc::default());
    let mut core = single(alone(), disk.clone()).unwrap();
    assert_eq!(core.propose(Bytes::new()).unwrap_err().code, ErrorCode::NotLeader);
    core.campaign();
    let first = core.effects();
    assert!(core.is_leader() && first.role_changed);
    assert_eq!(core.read_index(1).unwrap_err().code, ErrorCode::NoLeader);
    let proposed = core.propose(Bytes::from_static(b"x")).unwrap();
    assert_eq!(proposed, Proposed { index: 2, term: 1 });
    let second = core.effects();
    assert!(
        core.effects().is_empty(),
        "nothing is committed before the disk is done"
    );
    for persist in [first.persist.unwrap(), second.persist.unwrap()] {
        disk.0.lock().unwrap().write(&persist, None);
        core.persisted(persist.number);
    }
    let committed = core.effects().committed;
    assert_eq!(
        committed.iter().map(|entry| entry.index).collect::<Vec<_>>(),
        [1, 2]
    );
    core.applied(2);
    core.read_index(9).unwrap();
    assert_eq!(core.effects().reads, [ReadState { request: 9, index: 2 }]);

    // A later start knows what was applied even where the stored commit index lags behind.
    let hard_state = disk.0.lock().unwrap().hard_state;
    let again = Restored {
        hard_state: HardState {
            commit: 0,
            ..hard_state
        },
        applied: 2,
        ..alone()
    };
    assert_eq!(single(again.clone(), disk).unwrap().commit_index(), 2);
    let lost = single(again, Reader(Arc::default())).err().unwrap();
    assert_eq!(lost.code, ErrorCode::Corruption);
}

#[test]
fn a_member_that_lost_its_log_says_so_instead_of_voting() {
    let restored = Restored {
        conf_state: RaftConfState {
            voters: VOTERS.to_vec(),
            ..Default::default()
        },
        ..Restored::default()
    };
    let mut core = single(restored, Reader(Arc::default())).unwrap();
    let heartbeat = RaftMessage {
        msg_type: MessageType::MsgHeartbeat as i32,
        to: 1,
        from: 2,
        term: 3,
        commit: 5,
        ..Default::default()
    };
    assert_eq!(core.step(&heartbeat).unwrap_err().code, ErrorCode::Corruption);
    // To another, and an answer of one who is no member.
    for (to, from, kind) in [
        (2, 3, MessageType::MsgHeartbeat),
        (1, 9, MessageType::MsgAppendResponse),
    ] {
        let stray = RaftMessage {
            msg_type: kind as i32,
            to,
            from,
            commit: 0,
            ..heartbeat.clone()
        };
        assert_eq!(core.step(&stray).unwrap_err().code, ErrorCode::InvalidValue);
    }
    let entry = |index| RaftEntry {
        index,
        term: 3,
        ..Default::default()
    };
    let append = RaftMessage {
        msg_type: MessageType::MsgAppend as i32,
        commit: 0,
        entries: vec![entry(1), entry(3)],
        ..heartbeat
    };
    assert_eq!(core.step(&append).unwrap_err().code, ErrorCode::InvalidValue);
}

fn follower(disk: &Reader) -> RaftCore<Reader> {
    let restored = Restored {
        conf_state: RaftConfState {
            voters: VOTERS.to_vec(),
            ..Default::default()
        },
        ..Restored::default()
    };
    single(restored, disk.clone()).unwrap()
}

fn from_leader(msg_type: MessageType, term: u64) -> RaftMessage {
    RaftMessage {
        msg_type: msg_type as i32,
        to: 1,
        from: 2,
        term,
        ..Default::default()
    }
}

fn kinds(messages: &[RaftMessage]) -> Vec<i32> {
    messages.iter().map(|message| message.msg_type).collect()
}

#[test]
fn a_heartbeat_is_answered_while_entries_wait_for_the_disk() {
    let disk = Reader(Arc::default());
    let mut core = follower(&disk);
    let heartbeat = from_leader(MessageType::MsgHeartbeat, 1);
    // The term is new: the answer waits for it.
    core.step(&heartbeat).unwrap();
    let first = core.effects();
    assert!(first.send.is_empty(), "{:?}", first.send);
    let persist = first.persist.unwrap();
    disk.0.lock().unwrap().write(&persist, None);
    core.persisted(persist.number);
    assert_eq!(kinds(&core.effects().send), [HEARTBEAT_ANSWER]);
    let append = RaftMessage {
        entries: vec![RaftEntry {
            index: 1,
            term: 1,
            ..Default::default()
        }],
        ..from_leader(MessageType::MsgAppend, 1)
    };
    core.step(&append).unwrap();
    let second = core.effects();
    assert!(second.send.is_empty() && second.persist.is_some());
    core.step(&heartbeat).unwrap();
    assert_eq!(
        kinds(&core.effects().send),
        [HEARTBEAT_ANSWER],
        "the disk is busy"
    );
    core.step(&from_leader(MessageType::MsgHeartbeat, 2)).unwrap();
    let third = core.effects();
    assert!(
        third.send.is_empty(),
        "a promise that is not kept yet: {:?}",
        third.send
    );
    core.step(&from_leader(MessageType::MsgHeartbeat, 2)).unwrap();
    assert!(core.effects().send.is_empty());
}

#[test]
fn what_raft_would_panic_on_is_refused() {
    let mut core = follower(&Reader(Arc::default()));
    let bad = [
        RaftMessage {
            commit: 9,
            ..from_leader(MessageType::MsgHeartbeat, 0)
        },
        RaftMessage {
            index: 7,
            commit: 7,
            ..from_leader(MessageType::MsgAppend, 1)
        },
        RaftMessage {
            index: u64::MAX,
            log_term: 1,
            entries: vec![RaftEntry::default()],
            ..from_leader(MessageType::MsgAppend, 1)
        },
        RaftMessage {
            entries: vec![RaftEntry {
                index: 1,
                term: 2,
                ..Default::default()
            }],
            ..from_leader(MessageType::MsgAppend, 1)
        },
        RaftMessage {
            index: 1,
            ..from_leader(MessageType::MsgAppendResponse, 1)
        },
        from_leader(MessageType::MsgReadIndex, 1),
        from_leader(MessageType::MsgTransferLeader, 1),
    ];
    for message in bad {
        let error = core.step(&message).unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidValue, "{message:?}");
        core.effects();
    }
}

/// A disk that cannot be read any more.
struct Broken(Reader);

impl LogReader for Broken {
    fn first_index(&self) -> u64 {
        self.0.first_index()
    }

    fn last_index(&self) -> u64 {
        self.0.last_index()
    }

    fn term(&self, index: u64) -> Option<u64> {
        self.0.term(index)
    }

    fn entries(&self, _: Range<u64>, _: usize) -> Result<Vec<RaftEntry>> {
        Err(Error::new(ErrorCode::Corruption, "a bad record"))
    }
}

#[test]
fn an_entry_that_cannot_be_read_is_told_and_ends_nothing() {
    let disk = Reader(Arc::default());
    disk.0.lock().unwrap().entries.push(RaftEntry {
        index: 1,
        term: 1,
        ..Default::default()
    });
    let restored = Restored {
        hard_state: HardState {
            term: 1,
            vote: 1,
            commit: 1,
        },
        ..alone()
    };
    let timeouts: TimeoutSource = Box::new(|range| range.start);
    let mut core = RaftCore::new(&CoreConfig::new(1), restored, Broken(disk), timeouts).unwrap();
    assert!(core.effects().committed.is_empty());
    let error = core.take_read_error().unwrap();
    assert_eq!(
        (error.code, error.message.as_ref()),
        (ErrorCode::Corruption, "a bad record")
    );
    core.campaign();
    core.effects();
    assert!(core.take_read_error().is_some());
}
