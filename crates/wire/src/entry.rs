//! One log entry: header length (u32, little-endian), `EntryHeader`, body bytes.
//!
//! The body is never decoded or copied here: it is a slice of what came from the socket or the disk.

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;

use crate::internal::EntryHeader;

/// Largest header accepted, in bytes. A create command with 1,024 partitions fits well inside.
pub const HEADER_BYTES_MAX: usize = 1 << 20;

/// Why bytes are not a log entry.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// Shorter than its own header says.
    #[error("log entry of {have} bytes is shorter than its header of {need} bytes")]
    Truncated {
        /// Bytes there.
        have: usize,
        /// Bytes the header needs.
        need: usize,
    },
    /// The header is larger than any valid one.
    #[error("log entry header of {0} bytes exceeds the limit of {HEADER_BYTES_MAX}")]
    HeaderTooLarge(usize),
    /// The header is not a valid message.
    #[error("log entry header: {0}")]
    Header(#[from] prost::DecodeError),
}

/// Puts an encoded header and a body together. Copies both once.
pub fn join(header: &[u8], body: &[u8]) -> Bytes {
    let mut entry = BytesMut::with_capacity(4 + header.len() + body.len());
    entry.put_u32_le(u32::try_from(header.len()).expect("headers are far below 4 GiB"));
    entry.put_slice(header);
    entry.put_slice(body);
    entry.freeze()
}

/// Splits an entry into its encoded header and its body without copying.
///
/// An empty entry (raft's own) gives two empty slices.
pub fn split(entry: &Bytes) -> Result<(Bytes, Bytes), EntryError> {
    if entry.is_empty() {
        return Ok((Bytes::new(), Bytes::new()));
    }
    let Some(prefix) = entry.first_chunk::<4>() else {
        return Err(EntryError::Truncated {
            have: entry.len(),
            need: 4,
        });
    };
    let header_len = u32::from_le_bytes(*prefix) as usize;
    if header_len > HEADER_BYTES_MAX {
        return Err(EntryError::HeaderTooLarge(header_len));
    }
    let need = 4 + header_len;
    if entry.len() < need {
        return Err(EntryError::Truncated {
            have: entry.len(),
            need,
        });
    }
    Ok((entry.slice(4..need), entry.slice(need..)))
}

/// Decodes an encoded header.
pub fn decode_header(header: &Bytes) -> Result<EntryHeader, EntryError> {
    Ok(EntryHeader::decode(header.clone())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn split_undoes_join(header in proptest::collection::vec(any::<u8>(), 1..200),
                             body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let entry = join(&header, &body);
            let (h, b) = split(&entry).unwrap();
            prop_assert_eq!(&h[..], &header[..]);
            prop_assert_eq!(&b[..], &body[..]);
        }

        #[test]
        fn split_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = split(&Bytes::from(bytes));
        }
    }

    #[test]
    fn lengths_are_not_trusted() {
        let huge = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 1]);
        assert!(matches!(split(&huge), Err(EntryError::HeaderTooLarge(_))));
        let short = Bytes::from_static(&[9, 0, 0, 0, 1]);
        assert!(matches!(
            split(&short),
            Err(EntryError::Truncated { have: 5, need: 13 })
        ));
    }
}
