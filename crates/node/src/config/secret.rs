//! Which secret holds: one given directly, or one that stands in a file?
//!
//! `KEY` and `KEY_file` are one setting given in two ways, so precedence counts for the pair: the one given in the
//! layer of higher rank holds, and only a pair given in one and the same layer is in doubt.

use std::fmt;

use longbow_types::{Error, ErrorCode};

use super::{Settings, Source};

/// A value that never shows itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<[u8]>);

impl Secret {
    /// Hides bytes.
    pub fn new(bytes: impl Into<Box<[u8]>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes, for those who must have them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

impl Settings {
    /// A secret given directly or by a file; the file's ends are cut of white space. None if neither is given.
    ///
    /// Of the two the one given in the layer of higher rank holds; it is an error if one layer gives both.
    pub fn secret(&self, key: &str, file_key: &str) -> Result<Option<Secret>, Error> {
        let (direct, by_file) = (self.rank_of(key), self.rank_of(file_key));
        if direct.is_some() && direct == by_file {
            let message = format!("both {key} and {file_key} are given; which one holds?");
            return Err(Error::new(ErrorCode::InvalidValue, message).field(key.to_owned()));
        }
        let path = self.opt_path(file_key).filter(|_| by_file > direct);
        let Some(path) = path else {
            return Ok(self.opt_str(key).map(|text| Secret::new(text.as_bytes())));
        };
        let text = std::fs::read_to_string(&path).map_err(|error| {
            let message = format!("{file_key}: cannot read {}: {error}", path.display());
            Error::new(ErrorCode::InvalidValue, message).field(file_key.to_owned())
        })?;
        Ok(Some(Secret::new(text.trim().as_bytes())))
    }

    /// The other half of a pair, if that is given in a layer of higher rank: then this value does nothing.
    pub(super) fn overridden_by(&self, key: &str) -> Option<&'static str> {
        let other = match key.strip_suffix("_file") {
            Some(direct) => self.declared.get(direct).filter(|setting| setting.secret)?,
            None if self.declaration(key).secret => self.declared.get(format!("{key}_file").as_str())?,
            None => return None,
        };
        (self.rank_of(key).is_some() && self.rank_of(other.key) > self.rank_of(key)).then_some(other.key)
    }

    /// Rank of the layer that gives a value; none if it is not given, or empty.
    fn rank_of(&self, key: &str) -> Option<u8> {
        self.opt_str(key)?;
        self.source(key).map(Source::rank)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_show() {
        assert_eq!(format!("{:?}", Secret::new(*b"hush")), "Secret(***)");
    }
}
