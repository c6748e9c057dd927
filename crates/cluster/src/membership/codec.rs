//! foca's packets in postcard, with two liberties.
//!
//! - A call to "somebody at this address" is read as a call to ourselves, since a seed's id is not known beforehand.
//! - A packet that speaks of a newer life of our own node is refused and the newer life noted. foca would declare it
//!   down and tell everybody, and the two would shout each other down for ever.

use std::fmt;

use bytes::{Buf, BufMut};
use foca::{Header, Member, Message, PostcardCodec};

use super::{Handle, MemberId, lock};

/// See the module.
pub(super) struct Codec(Handle);

impl Codec {
    pub(super) fn new(shared: Handle) -> Self {
        Self(shared)
    }
}

/// Why a packet is not taken.
#[derive(Debug)]
pub(super) enum CodecError {
    Malformed(postcard::Error),
    /// Somebody is not a name for a sender or a member.
    Nameless,
    /// See the module.
    NewerLife,
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CodecError::Malformed(error) => write!(f, "malformed packet: {error}"),
            CodecError::Nameless => f.write_str("a sender or member without a name"),
            CodecError::NewerLife => f.write_str("a newer life of this node exists"),
        }
    }
}

impl std::error::Error for CodecError {}

impl From<postcard::Error> for CodecError {
    fn from(error: postcard::Error) -> Self {
        CodecError::Malformed(error)
    }
}

/// Who sent a packet to whom, and what about.
pub(super) fn header(packet: &[u8]) -> Result<Header<MemberId>, CodecError> {
    let (header, _) = postcard::take_from_bytes::<Header<MemberId>>(packet)?;
    if header.src.is_somebody() {
        Err(CodecError::Nameless)
    } else {
        Ok(header)
    }
}

impl foca::Codec<MemberId> for Codec {
    type Error = CodecError;

    fn encode_header(&mut self, header: &Header<MemberId>, buf: impl BufMut) -> Result<(), CodecError> {
        Ok(PostcardCodec.encode_header(header, buf)?)
    }

    fn decode_header(&mut self, buf: impl Buf) -> Result<Header<MemberId>, CodecError> {
        let mut header: Header<MemberId> = PostcardCodec.decode_header(buf)?;
        if header.src.is_somebody() {
            return Err(CodecError::Nameless);
        }
        if header.dst.is_somebody() && header.message == Message::Announce {
            header.dst = lock(&self.0).own.clone();
        }
        Ok(header)
    }

    fn encode_member(&mut self, member: &Member<MemberId>, buf: impl BufMut) -> Result<(), CodecError> {
        Ok(PostcardCodec.encode_member(member, buf)?)
    }

    fn decode_member(&mut self, buf: impl Buf) -> Result<Member<MemberId>, CodecError> {
        let member: Member<MemberId> = PostcardCodec.decode_member(buf)?;
        if member.id().is_somebody() {
            return Err(CodecError::Nameless);
        }
        let mut shared = lock(&self.0);
        if member.id().supersedes(&shared.own) {
            shared.newer = Some((member.id().clone(), member.state() != foca::State::Down));
            return Err(CodecError::NewerLife);
        }
        Ok(member)
    }
}
