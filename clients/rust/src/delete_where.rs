//! Deletes by filter.

use std::future::IntoFuture;

use longbow_types::Result;
use longbow_wire::v1;

use crate::{
    client::writes,
    dataset::{Answer, DatasetHandle},
    filter::Filter,
    retry::Repeat,
    write::{Ack, Written},
};

/// A delete of the rows that a filter is true of; await it. [`Written::rows`] tells how many these were.
///
/// All partitions are judged as of one place in the log, and the answer comes when the rows are gone ([`Ack::Applied`]).
/// After a lost answer the call is not sent again: it would also delete what others wrote meanwhile.
#[derive(Debug)]
#[must_use = "nothing happens until it is awaited"]
pub struct DeleteWhere {
    dataset: DatasetHandle,
    filter: Filter,
    ack: Ack,
}

impl DeleteWhere {
    pub(crate) fn new(dataset: DatasetHandle, filter: Filter) -> Self {
        Self {
            dataset,
            filter,
            ack: Ack::Applied,
        }
    }

    /// What must have happened before the answer comes; at least and without it [`Ack::Applied`].
    pub fn ack(mut self, ack: Ack) -> Self {
        self.ack = ack;
        self
    }
}

impl IntoFuture for DeleteWhere {
    type Output = Result<Written>;
    type IntoFuture = Answer<Written>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let request = v1::DeleteRequest {
                dataset: self.dataset.name().to_owned(),
                ack: self.ack.to_proto(),
                filter: Some(self.filter.into_proto()),
                ..v1::DeleteRequest::default()
            };
            let client = self.dataset.client();
            let answer = client
                .pool()
                .call(Repeat::OnlyIfNotSent, &request, |channel, request| async move {
                    writes(channel).delete(request).await
                })
                .await?;
            let mut written = Written::nothing(Ack::Indexed);
            written.add(&answer.token, answer.ack(), answer.rows)?;
            client.remember(&written.token);
            Ok(written)
        })
    }
}
