//! Changes of some columns.

use std::future::IntoFuture;

use longbow_types::Result;
use longbow_wire::v1;

use crate::{
    client::writes,
    dataset::{Answer, DatasetHandle},
    retry::Repeat,
    row::Row,
    write::{Ack, Written, positions},
};

/// Changes of columns of rows that are there; await it. What the rows do not tell stays as it is.
///
/// All rows tell the same columns and go in one message, in which no id comes twice; [`Written::unmatched`] tells which
/// were not there. The answer comes when the changes are [`Ack::Applied`]. After a lost answer the call is not sent again.
#[derive(Debug)]
#[must_use = "nothing happens until it is awaited"]
pub struct Update {
    dataset: DatasetHandle,
    rows: Vec<Row>,
    ack: Ack,
    versions: Vec<u64>,
}

impl Update {
    pub(crate) fn new(dataset: DatasetHandle, rows: Vec<Row>) -> Self {
        Self {
            dataset,
            rows,
            ack: Ack::Applied,
            versions: Vec::new(),
        }
    }

    /// What must have happened before the answer comes; at least and without it [`Ack::Applied`].
    pub fn ack(mut self, ack: Ack) -> Self {
        self.ack = ack;
        self
    }

    /// Changes each row only if it is of this version; one for each row, in their order, none of them 0.
    pub fn if_row_versions(mut self, versions: impl IntoIterator<Item = u64>) -> Self {
        self.versions = versions.into_iter().collect();
        self
    }
}

impl IntoFuture for Update {
    type Output = Result<Written>;
    type IntoFuture = Answer<Written>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let told = |row: Row| {
                let row = row.into_proto();
                // A row without a vector has one of no elements.
                let vector = row.vector.filter(|vector| !vector.values.is_empty());
                v1::Row { vector, ..row }
            };
            let rows = self.rows.into_iter().map(told).collect();
            let request = v1::UpdateRequest {
                dataset: self.dataset.name().to_owned(),
                rows: Some(v1::Rows { rows }),
                ack: self.ack.to_proto(),
                if_row_version: self.versions,
            };
            let client = self.dataset.client();
            let answer = client
                .pool()
                .call(Repeat::OnlyIfNotSent, &request, |channel, request| async move {
                    writes(channel).update(request).await
                })
                .await?;
            let mut written = Written::nothing(Ack::Indexed);
            written.add(&answer.token, answer.ack(), answer.rows)?;
            written.unmatched = positions(&answer.unmatched);
            client.remember(&written.token);
            Ok(written)
        })
    }
}
