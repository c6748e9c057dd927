//! Positions in the log, and the opaque tokens that carry them to clients.

use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{Error, ErrorCode, limits::TOKEN_GROUPS_MAX};

/// Position in the log: totally ordered inside one group.
///
/// The incarnation changes when a damaged log is cut knowingly, or a cluster is restored from a backup, so that a position of
/// the old life is never taken for one of the new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lsn {
    /// Log group.
    pub group: u32,
    /// Life of the group.
    pub incarnation: u32,
    /// Raft index, starting at 1.
    pub index: u64,
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.group, self.incarnation, self.index)
    }
}

const TOKEN_VERSION: u8 = 1;
const LSN_BYTES: usize = 16;

/// What a client hands from a write to a read: at most one position per group.
///
/// As text: base64url of version byte, then 16 bytes little-endian per position. Clients must not look inside.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Token(Vec<Lsn>);

impl Token {
    /// A token of one position.
    pub fn of(lsn: Lsn) -> Self {
        Self(vec![lsn])
    }

    /// Adds a position; of two in one group the later stays.
    pub fn merge(&mut self, lsn: Lsn) {
        match self.0.iter_mut().find(|have| have.group == lsn.group) {
            Some(have) => *have = (*have).max(lsn),
            None => self.0.push(lsn),
        }
    }

    /// Adds every position of another token, so that a read at this one sees what both cover.
    pub fn join(&mut self, other: &Token) {
        for &lsn in &other.0 {
            self.merge(lsn);
        }
    }

    /// The position in a group.
    pub fn in_group(&self, group: u32) -> Option<Lsn> {
        self.0.iter().copied().find(|lsn| lsn.group == group)
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = Vec::with_capacity(1 + LSN_BYTES * self.0.len());
        bytes.push(TOKEN_VERSION);
        for lsn in &self.0 {
            bytes.extend_from_slice(&lsn.group.to_le_bytes());
            bytes.extend_from_slice(&lsn.incarnation.to_le_bytes());
            bytes.extend_from_slice(&lsn.index.to_le_bytes());
        }
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for Token {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = |why: &'static str| Error::new(ErrorCode::InvalidToken, why).field("token");
        if text.len() > 2 * (1 + LSN_BYTES * TOKEN_GROUPS_MAX) {
            return Err(bad("the token is too long to be one of ours"));
        }
        let bytes = URL_SAFE_NO_PAD
            .decode(text)
            .map_err(|_| bad("the token is not base64url text"))?;
        let (&version, rest) = bytes.split_first().ok_or_else(|| bad("the token is empty"))?;
        if version != TOKEN_VERSION {
            return Err(bad("the token is of an unknown version"));
        }
        let (positions, tail) = rest.as_chunks::<LSN_BYTES>();
        if !tail.is_empty() || positions.len() > TOKEN_GROUPS_MAX {
            return Err(bad("the token has a wrong length"));
        }
        let mut token = Token::default();
        for p in positions {
            let word = |at: usize| u32::from_le_bytes([p[at], p[at + 1], p[at + 2], p[at + 3]]);
            let index = u64::from(word(8)) | u64::from(word(12)) << 32;
            token.merge(Lsn {
                group: word(0),
                incarnation: word(4),
                index,
            });
        }
        Ok(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn golden() {
        let token = Token::of(Lsn {
            group: 0,
            incarnation: 1,
            index: 258,
        });
        assert_eq!(token.to_string(), "AQAAAAABAAAAAgEAAAAAAAA");
        assert_eq!("AQAAAAABAAAAAgEAAAAAAAA".parse::<Token>().unwrap(), token);
    }

    #[test]
    fn joined_tokens_cover_both() {
        let at = |group, index| Lsn {
            group,
            incarnation: 1,
            index,
        };
        let mut token = Token::of(at(0, 5));
        token.join(&Token(vec![at(0, 3), at(1, 9)]));
        assert_eq!(token, Token(vec![at(0, 5), at(1, 9)]));
    }

    proptest! {
        #[test]
        fn text_round_trips(group in any::<u32>(), incarnation in any::<u32>(), index in any::<u64>()) {
            let token = Token::of(Lsn { group, incarnation, index });
            prop_assert_eq!(token.to_string().parse::<Token>().unwrap(), token);
        }

        #[test]
        fn garbage_never_panics(text in ".{0,80}") {
            let _ = text.parse::<Token>();
        }
    }
}
