//! The entrance: a client of one cluster, shared by any number of tasks.

use std::sync::{Arc, Mutex, PoisonError};

use longbow_types::{Result, Token, limits::MESSAGE_BYTES_MAX};
use longbow_wire::v1::{
    self, cluster_service_client::ClusterServiceClient, dataset_service_client::DatasetServiceClient,
    search_service_client::SearchServiceClient, write_service_client::WriteServiceClient,
};
use tonic::transport::Channel;

use crate::{
    cluster::{ClusterStatus, LatchStatus},
    dataset::{DatasetHandle, DatasetInfo},
    keeper::KeeperInfo,
    options::Options,
    pool::Pool,
    retry::Repeat,
    search::Consistency,
};

/// A client of one cluster. Clones share connections.
#[derive(Debug, Clone)]
pub struct Client {
    pool: Arc<Pool>,
    /// What this session has written and seen, if it is one.
    memory: Option<Arc<Mutex<Token>>>,
}

impl Client {
    /// Connects to a cluster through its routers, given as `http://HOST:PORT`.
    ///
    /// Fails if none of them answers within [`Options::timeout`]. Afterwards lost connections are opened again
    /// as needed.
    pub async fn connect<I>(endpoints: I, options: Options) -> Result<Self>
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        let client = Self::lazy(endpoints, options)?;
        client.status().await?;
        Ok(client)
    }

    /// Like [`connect`](Self::connect), but the first call opens the first connection. Fails only if an endpoint
    /// or the key cannot be one.
    ///
    /// Must be called inside a tokio runtime.
    pub fn lazy<I>(endpoints: I, options: Options) -> Result<Self>
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        let endpoints = endpoints.into_iter().map(Into::into).collect();
        Ok(Self {
            pool: Arc::new(Pool::new(endpoints, options)?),
            memory: None,
        })
    }

    /// A client over the same connections that remembers what it wrote and saw: each of its reads sees at least
    /// that, on whichever router it lands, unless the read says otherwise. Clones of a session share its memory.
    ///
    /// Plain clients read [`Consistency::Fresh`] by default, which sees every acknowledged write of everybody.
    /// A session's reads do not ask the log's leader, so they work while there is none.
    ///
    /// ```no_run
    /// # async fn example(client: longbow_client::Client) -> longbow_client::Result<()> {
    /// use longbow_client::Row;
    ///
    /// let session = client.session();
    /// let words = session.dataset("words");
    /// words.upsert([Row::new(7_u64).vector(vec![1.0, 0.0, 0.0])]).await?;
    /// assert!(words.get([7_u64]).await?.rows.len() == 1);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn session(&self) -> Self {
        self.session_from(Token::default())
    }

    /// A [session](Self::session) that has already seen what a token covers, for example that of another process.
    #[must_use]
    pub fn session_from(&self, token: Token) -> Self {
        Self {
            pool: Arc::clone(&self.pool),
            memory: Some(Arc::new(Mutex::new(token))),
        }
    }

    /// What a session has written and seen; `None` for a plain client.
    pub fn session_token(&self) -> Option<Token> {
        let memory = self.memory.as_ref()?;
        Some(memory.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// A dataset by name, whether it exists or not.
    pub fn dataset(&self, name: impl Into<String>) -> DatasetHandle {
        DatasetHandle::new(self.clone(), name.into())
    }

    /// All datasets by name. Counting rows and bytes asks the shards.
    pub async fn list_datasets(&self, with_counts: bool) -> Result<Vec<DatasetInfo>> {
        let request = v1::ListDatasetsRequest { with_counts };
        let answer = self
            .pool
            .call(Repeat::Read, &request, |channel, request| async move {
                datasets(channel).list_datasets(request).await
            })
            .await?;
        answer.datasets.into_iter().map(DatasetInfo::from_proto).collect()
    }

    /// Nodes, leader, partitions and latch as one router sees them.
    pub async fn status(&self) -> Result<ClusterStatus> {
        let request = v1::GetClusterStatusRequest {};
        let answer = self
            .pool
            .call(Repeat::Read, &request, |channel, request| async move {
                cluster(channel).get_cluster_status(request).await
            })
            .await?;
        Ok(ClusterStatus::from_proto(answer))
    }

    /// Lets the cluster accept writes again after its disks were repaired, for a reason that is kept (at most 400 bytes; it
    /// may be empty). Resetting twice is harmless.
    pub async fn reset_latch(&self, reason: &str) -> Result<LatchStatus> {
        let request = v1::ResetLatchRequest {
            reason: reason.to_owned(),
        };
        let answer = self
            .pool
            .call(Repeat::Read, &request, |channel, request| async move {
                cluster(channel).reset_latch(request).await
            })
            .await?;
        Ok(LatchStatus::from_proto(answer.latch.unwrap_or_default()))
    }

    /// The wal-keepers: members by raft id, then those that wait to be added.
    pub async fn list_keepers(&self) -> Result<Vec<KeeperInfo>> {
        let request = v1::ListKeepersRequest {};
        let answer = self
            .pool
            .call(Repeat::Read, &request, |channel, request| async move {
                cluster(channel).list_keepers(request).await
            })
            .await?;
        Ok(answer.keepers.into_iter().map(KeeperInfo::from_proto).collect())
    }

    /// Adds a running keeper with an empty disk to the group, as a learner without a vote.
    pub async fn add_keeper(&self, node_id: &str) -> Result<KeeperInfo> {
        let request = v1::AddKeeperRequest {
            node_id: node_id.to_owned(),
        };
        let answer = self
            .pool
            .call(Repeat::OnlyIfNotSent, &request, |channel, request| async move {
                cluster(channel).add_keeper(request).await
            })
            .await?;
        Ok(KeeperInfo::from_proto(answer.keeper.unwrap_or_default()))
    }

    /// Gives a learner a vote. `force`: although it lags far behind.
    pub async fn promote_keeper(&self, node_id: &str, force: bool) -> Result<KeeperInfo> {
        let request = v1::PromoteKeeperRequest {
            node_id: node_id.to_owned(),
            force,
        };
        let answer = self
            .pool
            .call(Repeat::OnlyIfNotSent, &request, |channel, request| async move {
                cluster(channel).promote_keeper(request).await
            })
            .await?;
        Ok(KeeperInfo::from_proto(answer.keeper.unwrap_or_default()))
    }

    /// Takes a keeper out of the group, for good. `force`: although it alone holds entries so old.
    pub async fn remove_keeper(&self, node_id: &str, force: bool) -> Result<()> {
        let request = v1::RemoveKeeperRequest {
            node_id: node_id.to_owned(),
            force,
        };
        self.pool
            .call(Repeat::OnlyIfNotSent, &request, |channel, request| async move {
                cluster(channel).remove_keeper(request).await
            })
            .await
            .map(drop)
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Remembers a token, if this is a session.
    pub(crate) fn remember(&self, token: &Token) {
        if let Some(memory) = &self.memory {
            memory.lock().unwrap_or_else(PoisonError::into_inner).join(token);
        }
    }

    /// How fresh reads are that do not say.
    pub(crate) fn default_consistency(&self) -> Consistency {
        self.session_token()
            .map_or(Consistency::Fresh, Consistency::AtLeast)
    }
}

/// Reads a token that the server wrote; an empty one covers nothing.
pub(crate) fn read_token(text: &str) -> Result<Token> {
    if text.is_empty() {
        return Ok(Token::default());
    }
    text.parse()
}

pub(crate) fn datasets(channel: Channel) -> DatasetServiceClient<Channel> {
    DatasetServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX)
}

pub(crate) fn writes(channel: Channel) -> WriteServiceClient<Channel> {
    WriteServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX)
}

pub(crate) fn searches(channel: Channel) -> SearchServiceClient<Channel> {
    SearchServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX)
}

fn cluster(channel: Channel) -> ClusterServiceClient<Channel> {
    ClusterServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use longbow_types::Lsn;

    #[tokio::test]
    async fn sessions_remember_and_plain_clients_do_not() {
        let plain = Client::lazy(["http://127.0.0.1:1"], Options::default()).unwrap();
        let token = Token::of(Lsn {
            group: 0,
            incarnation: 1,
            index: 9,
        });
        plain.remember(&token);
        assert_eq!(plain.default_consistency(), Consistency::Fresh);

        let session = plain.session();
        let shared = session.clone();
        session.remember(&token);
        assert_eq!(shared.session_token(), Some(token.clone()));
        assert_eq!(shared.default_consistency(), Consistency::AtLeast(token));
        assert_eq!(plain.session().session_token(), Some(Token::default()));
    }
}
