//! The latch register as a broadcast: the highest known one travels, lower ones are dropped.

use std::fmt;

use foca::{BroadcastHandler, Invalidates};
use longbow_wire::internal::LatchRegister;
use prost::Message as _;

use super::{Handle, MemberId, Shared, lock};
use crate::latch::LatchState;

/// First byte of an item. Items of other kinds are left alone, so that later versions may add some.
const ITEM_LATCH: u8 = 1;
/// Longest cause that travels. A packet must hold the register beside two identities, or foca would accept it and
/// never send it.
const CAUSE_BYTES_MAX: usize = 400;

impl Shared {
    /// Takes in a register. Returns whether it was news.
    pub(super) fn learn(&mut self, register: &LatchRegister) -> bool {
        let news = self.latch.merge(&shortened(register));
        self.latch_changed |= news;
        news
    }
}

/// The item of a register; none for the one that every cluster starts with.
pub(super) fn encode(register: &LatchRegister) -> Option<Vec<u8>> {
    (register.epoch > 0).then(|| {
        let mut item = vec![ITEM_LATCH];
        shortened(register).encode(&mut item).expect("a vector has room");
        item
    })
}

fn shortened(register: &LatchRegister) -> LatchRegister {
    let mut register = register.clone();
    let cut = register.cause.floor_char_boundary(CAUSE_BYTES_MAX);
    register.cause.truncate(cut);
    register
}

/// Reads items for foca.
pub(super) struct LatchHandler(pub(super) Handle);

/// Which register an item holds.
pub(super) struct Key(LatchRegister);

impl Invalidates for Key {
    fn invalidates(&self, other: &Self) -> bool {
        !LatchState::new(self.0.clone()).merge(&other.0)
    }
}

/// An item that cannot be read.
#[derive(Debug)]
pub(super) struct Malformed(prost::DecodeError);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed latch register: {}", self.0)
    }
}

impl std::error::Error for Malformed {}

impl BroadcastHandler<MemberId> for LatchHandler {
    type Key = Key;
    type Error = Malformed;

    fn receive_item(&mut self, item: &[u8], sender: Option<&MemberId>) -> Result<Option<Key>, Malformed> {
        let Some((&ITEM_LATCH, item)) = item.split_first() else {
            return Ok(None);
        };
        let register = LatchRegister::decode(item).map_err(Malformed)?;
        let news = lock(&self.0).learn(&register);
        // Without a sender it is ours, to be told again.
        Ok((news || sender.is_none()).then_some(Key(register)))
    }
}
