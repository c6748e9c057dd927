//! The catalogue, with producers, for a shard that cannot get there by replaying the log: it has been cut.

use std::sync::Arc;

use longbow_cluster::catalogue::incarnation_of;
use longbow_node::rpc::{MESSAGE_BYTES_MAX, require};
use longbow_types::{Error, ErrorCode, Result, Role};
use longbow_wire::{
    convert::status::to_status,
    internal::{Catalogue, GetCatalogueRequest, GetCatalogueResponse},
};
use prost::Message as _;
use tokio::sync::oneshot;
use tonic::{Request, Status};

use super::{Inner, refused, stopping};
use crate::{GROUP, mailbox::Request as Mail};

/// Room in a message for what goes with the catalogue.
const REST_BYTES: usize = 1 << 10;

pub(super) async fn get(
    keeper: &Arc<Inner>,
    request: &Request<GetCatalogueRequest>,
) -> Result<GetCatalogueResponse, Status> {
    require(request, &[Role::Shard])?;
    // It may be as large as a snapshot: one at a time is made.
    let Ok(_permit) = keeper.catalogues.clone().try_acquire_owned() else {
        let error = Error::new(ErrorCode::Overloaded, "another shard is being sent the catalogue").limit(1);
        return Err(to_status(&error));
    };
    let (reply, answer) = oneshot::channel();
    let queued = keeper.mailbox.request(Mail::Catalogue(reply));
    queued.map_err(|error| to_status(&error))?;
    let catalogue = answer.await.map_err(|_| stopping())?;
    let catalogue = catalogue.map_err(|refusal| refused(&refusal))?;
    let message = tokio::task::spawn_blocking(move || catalogue.to_proto(true)).await;
    let message = message.map_err(|error| to_status(&Error::new(ErrorCode::Internal, error.to_string())))?;
    check_length(&message, MESSAGE_BYTES_MAX - REST_BYTES).map_err(|error| to_status(&error))?;
    let incarnation = incarnation_of(&message);
    Ok(GetCatalogueResponse {
        catalogue: Some(message),
        first_index: keeper.committed.first_index(),
        group: GROUP,
        incarnation,
    })
}

/// Tonic would refuse it, too, but without a code that says what is too large.
fn check_length(catalogue: &Catalogue, bytes_max: usize) -> Result<()> {
    let bytes = catalogue.encoded_len();
    if bytes <= bytes_max {
        return Ok(());
    }
    let error = Error::new(ErrorCode::TooLarge, format!("a catalogue of {bytes} bytes"));
    Err(error.field("catalogue").limit(format_args!("{bytes_max} bytes")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_catalogue_that_does_not_fit_is_refused_by_name() {
        let catalogue = Catalogue {
            shards: vec!["s1".to_owned(); 10],
            ..Catalogue::default()
        };
        let bytes = catalogue.encoded_len();
        check_length(&catalogue, bytes).unwrap();
        let error = check_length(&catalogue, bytes - 1).unwrap_err();
        assert_eq!(
            (error.code, error.field.as_deref()),
            (ErrorCode::TooLarge, Some("catalogue"))
        );
        assert_eq!(
            error.limit.as_deref(),
            Some(format!("{} bytes", bytes - 1)).as_deref()
        );
    }
}
