//! Our messages and raft-rs' own, field by field.
//!
//! Peer bytes are parsed by prost alone: the protobuf 2 that raft-rs is built on never sees them.

use longbow_types::Result;
use longbow_wire::internal::{RaftConfState, RaftEntry, RaftEntryType, RaftMessage, RaftSnapshot};
use raft::eraftpb::{ConfState, Entry, EntryType, HardState, Message, MessageType, Snapshot};

use super::{refused, types::ENTRY_BYTES_MAX};

pub(super) fn messages_to_wire(messages: Vec<Message>) -> Vec<RaftMessage> {
    messages.into_iter().map(message_to_wire).collect()
}

pub(super) fn message_to_wire(mut message: Message) -> RaftMessage {
    let snapshot = message.snapshot.take().filter(|snapshot| !snapshot.is_empty());
    RaftMessage {
        msg_type: message.msg_type as i32,
        to: message.to,
        from: message.from,
        term: message.term,
        log_term: message.log_term,
        index: message.index,
        entries: message.take_entries().into_iter().map(entry_to_wire).collect(),
        commit: message.commit,
        commit_term: message.commit_term,
        snapshot: snapshot.map(snapshot_to_wire),
        request_snapshot: message.request_snapshot,
        reject: message.reject,
        reject_hint: message.reject_hint,
        context: message.context,
        priority: message.priority,
    }
}

/// Refuses what members do not send in this way: local messages, and snapshots, which come with their bytes.
pub(super) fn message_from_wire(message: &RaftMessage) -> Result<Message> {
    let msg_type = message_type(message.msg_type)?;
    if message.snapshot.is_some() {
        return Err(refused("a snapshot without its bytes".to_owned()));
    }
    plain_from_wire(msg_type, message)
}

/// A message that carries a snapshot. Its configuration was checked by whoever read its bytes.
pub(super) fn snapshot_from_wire(message: &RaftMessage) -> Result<Message> {
    let snapshot = message.snapshot.as_ref();
    let known = message.msg_type == MessageType::MsgSnapshot as i32 && message.entries.is_empty();
    let Some(snapshot) =
        snapshot.filter(|at| known && at.index > 0 && at.term > 0 && at.term <= message.term)
    else {
        return Err(refused("no message with a snapshot".to_owned()));
    };
    let conf = snapshot.conf_state.clone().unwrap_or_default();
    let mut out = plain_from_wire(MessageType::MsgSnapshot, message)?;
    let metadata = out.mut_snapshot().mut_metadata();
    (metadata.index, metadata.term) = (snapshot.index, snapshot.term);
    metadata.set_conf_state(conf_state_from_wire(&conf));
    Ok(out)
}

fn plain_from_wire(msg_type: MessageType, message: &RaftMessage) -> Result<Message> {
    let mut out = Message::default();
    out.set_msg_type(msg_type);
    out.to = message.to;
    out.from = message.from;
    out.term = message.term;
    out.log_term = message.log_term;
    out.index = message.index;
    let entries: Result<Vec<Entry>> = message.entries.iter().map(entry_from_wire).collect();
    out.set_entries(entries?.into());
    out.commit = message.commit;
    out.commit_term = message.commit_term;
    out.request_snapshot = message.request_snapshot;
    out.reject = message.reject;
    out.reject_hint = message.reject_hint;
    out.context = message.context.clone();
    out.priority = message.priority;
    Ok(out)
}

/// The kinds that one member of this version sends to another. Reads and transfers are asked of the leader itself.
fn message_type(number: i32) -> Result<MessageType> {
    use MessageType as T;
    let sent = [
        T::MsgAppend,
        T::MsgAppendResponse,
        T::MsgRequestVote,
        T::MsgRequestVoteResponse,
        T::MsgHeartbeat,
        T::MsgHeartbeatResponse,
        T::MsgTimeoutNow,
        T::MsgRequestPreVote,
        T::MsgRequestPreVoteResponse,
    ];
    sent.into_iter()
        .find(|&known| known as i32 == number)
        .ok_or_else(|| refused(format!("kind {number} is not one that members send")))
}

/// Whether a message asks for a vote, or gives or refuses one. Members send it once in an election.
pub fn is_vote(message: &RaftMessage) -> bool {
    use MessageType as T;
    let votes = [
        T::MsgRequestPreVote,
        T::MsgRequestPreVoteResponse,
        T::MsgRequestVote,
        T::MsgRequestVoteResponse,
    ];
    votes.into_iter().any(|vote| vote as i32 == message.msg_type)
}

pub(super) fn entry_to_wire(entry: Entry) -> RaftEntry {
    let entry_type = match entry.entry_type {
        EntryType::EntryNormal => RaftEntryType::Unspecified,
        EntryType::EntryConfChange => RaftEntryType::ConfChange,
        EntryType::EntryConfChangeV2 => RaftEntryType::ConfChangeV2,
    };
    RaftEntry {
        entry_type: entry_type as i32,
        term: entry.term,
        index: entry.index,
        data: entry.data,
        context: entry.context,
    }
}

pub(super) fn entry_from_wire(entry: &RaftEntry) -> Result<Entry> {
    let entry_type = match RaftEntryType::try_from(entry.entry_type) {
        Ok(RaftEntryType::Unspecified) => EntryType::EntryNormal,
        Ok(RaftEntryType::ConfChangeV2) => EntryType::EntryConfChangeV2,
        _ => return Err(refused(format!("an entry of kind {}", entry.entry_type))),
    };
    if !entry.context.is_empty() {
        return Err(refused("an entry with a context".to_owned()));
    }
    if entry.data.len() > ENTRY_BYTES_MAX {
        let size = entry.data.len();
        return Err(refused(format!(
            "an entry of {size} bytes (limit: {ENTRY_BYTES_MAX})"
        )));
    }
    Ok(Entry {
        entry_type,
        term: entry.term,
        index: entry.index,
        data: entry.data.clone(),
        ..Default::default()
    })
}

fn snapshot_to_wire(mut snapshot: Snapshot) -> RaftSnapshot {
    let mut metadata = snapshot.take_metadata();
    RaftSnapshot {
        data: snapshot.data,
        conf_state: Some(conf_state_to_wire(metadata.take_conf_state())),
        index: metadata.index,
        term: metadata.term,
    }
}

/// Sorted: raft-rs keeps sets, whose order differs from member to member.
pub(super) fn conf_state_to_wire(mut state: ConfState) -> RaftConfState {
    let lists = [
        &mut state.voters,
        &mut state.learners,
        &mut state.voters_outgoing,
        &mut state.learners_next,
    ];
    lists.into_iter().for_each(|list| list.sort_unstable());
    RaftConfState {
        voters: state.voters,
        learners: state.learners,
        voters_outgoing: state.voters_outgoing,
        learners_next: state.learners_next,
        auto_leave: state.auto_leave,
    }
}

pub(super) fn conf_state_from_wire(state: &RaftConfState) -> ConfState {
    ConfState {
        voters: state.voters.clone(),
        learners: state.learners.clone(),
        voters_outgoing: state.voters_outgoing.clone(),
        learners_next: state.learners_next.clone(),
        auto_leave: state.auto_leave,
        ..Default::default()
    }
}

pub(super) fn hard_state(state: &HardState) -> super::HardState {
    super::HardState {
        term: state.term,
        vote: state.vote,
        commit: state.commit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use longbow_types::ErrorCode;
    use proptest::prelude::*;

    fn entry() -> impl Strategy<Value = RaftEntry> {
        (
            any::<u64>(),
            any::<u64>(),
            proptest::collection::vec(any::<u8>(), 0..20),
        )
            .prop_map(|(term, index, data)| RaftEntry {
                term,
                index,
                data: Bytes::from(data),
                ..Default::default()
            })
    }

    fn message() -> impl Strategy<Value = RaftMessage> {
        let numbers = proptest::collection::vec(any::<u64>(), 9);
        let entries = proptest::collection::vec(entry(), 0..4);
        let kinds = prop_oneof![3i32..=6, 8i32..=9, Just(14), 17i32..=18];
        (kinds, numbers, entries, any::<bool>(), any::<i64>()).prop_map(
            |(msg_type, n, entries, reject, priority)| RaftMessage {
                msg_type,
                to: n[0],
                from: n[1],
                term: n[2],
                log_term: n[3],
                index: n[4],
                entries,
                commit: n[5],
                commit_term: n[6],
                snapshot: None,
                request_snapshot: n[7],
                reject,
                reject_hint: n[8],
                context: Bytes::from(n[8].to_le_bytes().to_vec()),
                priority,
            },
        )
    }

    proptest! {
        #[test]
        fn messages_survive_the_trip(message in message()) {
            let carried = message_to_wire(message_from_wire(&message).unwrap());
            prop_assert_eq!(carried, message);
        }

        #[test]
        fn unknown_kinds_are_refused(kind in prop_oneof![-1i32..25, any::<i32>()]) {
            let sent = matches!(kind, 3..=6 | 8..=9 | 14 | 17..=18);
            let message = RaftMessage { msg_type: kind, ..Default::default() };
            prop_assert_eq!(message_from_wire(&message).is_ok(), sent);
        }
    }

    #[test]
    fn what_this_version_cannot_do_is_refused() {
        let change = RaftEntry {
            entry_type: RaftEntryType::ConfChange as i32,
            ..Default::default()
        };
        let with_change = RaftMessage {
            msg_type: 3,
            entries: vec![change],
            ..Default::default()
        };
        // Snapshots come with their bytes, by another call.
        let with_snapshot = RaftMessage {
            msg_type: 3,
            snapshot: Some(RaftSnapshot::default()),
            ..Default::default()
        };
        let too_large = RaftEntry {
            data: Bytes::from(vec![0; ENTRY_BYTES_MAX + 1]),
            ..Default::default()
        };
        let with_too_much = RaftMessage {
            msg_type: 3,
            entries: vec![too_large],
            ..Default::default()
        };
        for message in [with_change, with_snapshot, with_too_much] {
            assert_eq!(
                message_from_wire(&message).unwrap_err().code,
                ErrorCode::InvalidValue
            );
        }
    }
}
