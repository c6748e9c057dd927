//! An answer as it leaves: its items, and beside them what is to be known of all of them.

use futures::{StreamExt, stream};
use longbow_wire::v1::Freshness;
use tonic::{Response, Status};

use super::Answers;

/// Response header: the state that was read, as a token.
const TOKEN: &str = "x-longbow-token";
/// Response header: there, and `true`, where the newest state could not be proved because no keeper leads.
const DEGRADED: &str = "x-longbow-degraded";

/// An answer on its way.
pub struct Reply<T> {
    /// The items. Errors on the way come among them.
    pub items: Answers<T>,
    /// How fresh what was read is.
    pub freshness: Option<Freshness>,
}

impl<T: Send + 'static> Reply<T> {
    /// An answer that is there already.
    pub fn of(items: Vec<T>) -> Self {
        Self {
            items: stream::iter(items.into_iter().map(Ok::<T, Status>)).boxed(),
            freshness: None,
        }
    }

    /// Says how fresh what was read is.
    pub fn fresh(self, freshness: Freshness) -> Self {
        Self {
            freshness: Some(freshness),
            ..self
        }
    }

    /// As a response: freshness goes into headers, which clients that know nothing of them ignore.
    pub fn into_response(self) -> Response<Answers<T>> {
        let mut response = Response::new(self.items);
        if let Some(freshness) = self.freshness {
            // Tokens are text of our own making; one that no header can hold is left out.
            if let Ok(token) = freshness.token.parse() {
                response.metadata_mut().insert(TOKEN, token);
            }
            if freshness.degraded {
                let told = tonic::metadata::MetadataValue::from_static("true");
                response.metadata_mut().insert(DEGRADED, told);
            }
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freshness_is_told_in_headers() {
        let headers = |degraded| {
            let freshness = Freshness {
                token: "abc".to_owned(),
                degraded,
            };
            let response = Reply::of(vec![1]).fresh(freshness).into_response();
            response.metadata().clone()
        };
        assert_eq!(headers(true).get(DEGRADED).unwrap(), "true");
        assert_eq!(headers(true).get(TOKEN).unwrap(), "abc");
        assert!(headers(false).get(DEGRADED).is_none());
        assert!(Reply::of(vec![1]).into_response().metadata().is_empty());
    }
}
