//! Who is in a cluster.

use std::{fmt, str::FromStr};

use crate::{Error, ErrorCode};

/// What a node is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Takes requests.
    Router,
    /// Holds replicas.
    Shard,
    /// Holds the log.
    WalKeeper,
}

impl Role {
    /// Stable text of the role.
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::Router => "router",
            Role::Shard => "shard",
            Role::WalKeeper => "wal-keeper",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        [Role::Router, Role::Shard, Role::WalKeeper]
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| {
                Error::new(ErrorCode::InvalidValue, format!("unknown role {text:?}")).field("role")
            })
    }
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $field:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                check_label(text, $field)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name_type!(
    /// Identity of a node, unique in its cluster and kept over restarts: 1 to 63 of `a-z A-Z 0-9 - _ .`.
    NodeId,
    "node_id"
);
name_type!(
    /// Identity of a cluster: 1 to 63 of `a-z A-Z 0-9 - _ .`.
    ClusterId,
    "cluster_id"
);

const LABEL_BYTES_MAX: usize = 63;

fn check_label(text: &str, field: &'static str) -> Result<(), Error> {
    let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if text.is_empty() || text.len() > LABEL_BYTES_MAX || !text.chars().all(valid) {
        return Err(
            Error::new(ErrorCode::InvalidName, format!("{text:?} is not a valid {field}"))
                .field(field)
                .limit(format_args!(
                    "1 to {LABEL_BYTES_MAX} letters, digits, '-', '_' or '.'"
                )),
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        assert!("keeper-0".parse::<NodeId>().is_ok());
        for bad in ["", "a b", "a/b", &"x".repeat(64)] {
            assert_eq!(bad.parse::<NodeId>().unwrap_err().code, ErrorCode::InvalidName);
        }
    }
}
