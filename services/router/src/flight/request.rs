//! Text that clients send with a call: tickets, criteria and bodies of actions, bounded before they are read.

use bytes::Bytes;
use longbow_types::{Error, ErrorCode, Result, limits::FLIGHT_REQUEST_BYTES_MAX};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};

use crate::ops::off_thread;

/// Reads what a client sent; away from the threads that serve sockets where it is long.
///
/// # Errors
/// `TOO_LARGE` naming `field`; those of `read`.
pub async fn read<T: Send + 'static>(
    bytes: Bytes,
    field: &'static str,
    read: impl FnOnce(&[u8]) -> Result<T> + Send + 'static,
) -> Result<T> {
    check_size(bytes.len(), field)?;
    off_thread(bytes.len(), move || read(&bytes)).await
}

/// Reads JSON.
///
/// # Errors
/// `TOO_LARGE` or `INVALID_VALUE` naming `field`.
pub async fn json<T: DeserializeOwned + Send + 'static>(bytes: Bytes, field: &'static str) -> Result<T> {
    read(bytes, field, move |bytes| parse(bytes, field)).await
}

/// Parses JSON.
///
/// # Errors
/// `INVALID_VALUE` naming `field`.
pub fn parse<T: DeserializeOwned>(bytes: &[u8], field: &'static str) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| {
        let message = format!("the {field} cannot be read: {error}");
        Error::new(ErrorCode::InvalidValue, message).field(field)
    })
}

fn check_size(bytes: usize, field: &'static str) -> Result<()> {
    if bytes <= FLIGHT_REQUEST_BYTES_MAX {
        return Ok(());
    }
    Err(
        Error::new(ErrorCode::TooLarge, format!("the {field} is {bytes} bytes long"))
            .field(field)
            .limit(format_args!("{FLIGHT_REQUEST_BYTES_MAX} bytes")),
    )
}

/// For keys that clients send as `null` where they mean to leave them out.
pub fn null_as_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    value: D,
) -> std::result::Result<T, D::Error> {
    Option::deserialize(value).map(Option::unwrap_or_default)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[tokio::test]
    async fn long_requests_are_read_and_too_long_ones_refused_unread() {
        let spaces = |count: usize| Bytes::from(vec![b' '; count]);
        let error = json::<Value>(spaces(FLIGHT_REQUEST_BYTES_MAX + 1), "body")
            .await
            .unwrap_err();
        assert_eq!(
            (error.code, error.field.as_deref(), error.limit.as_deref()),
            (ErrorCode::TooLarge, Some("body"), Some("16777216 bytes"))
        );
        let error = json::<Value>(spaces(1 << 20), "ticket").await.unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidValue);
        let long = format!("\"{}\"", "x".repeat(1 << 20));
        assert!(json::<Value>(long.into(), "body").await.unwrap().is_string());
    }
}
