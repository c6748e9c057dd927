//! etcd, asked over its own protocol.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use bytes::Bytes;
use http::uri::PathAndQuery;
use longbow_harness::{cluster::PATIENCE, load::channel};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tonic::{Request, client::Grpc, transport::Channel};
use tonic_prost::ProstCodec;

use crate::report::NotRun;

/// Of etcd's `rpc.proto`: what is needed of a put.
#[derive(Clone, PartialEq, prost::Message)]
struct PutRequest {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PutResponse {}

/// A server of one node, which syncs each batch of writes before it answers, as it does by default.
pub(super) struct Etcd {
    process: Child,
    channel: Channel,
    _dir: TempDir,
}

impl Etcd {
    /// Starts it in a folder of its own under `folder`.
    pub async fn start(folder: &std::path::Path) -> Result<Self> {
        let dir = TempDir::new_in(folder)?;
        let url = || -> Result<String> {
            let free = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
            Ok(format!("http://{free}"))
        };
        let (client, peer) = (url()?, url()?);
        let started = Command::new("etcd")
            .arg(format!("--data-dir={}", dir.path().join("etcd").display()))
            .args([
                format!("--listen-client-urls={client}"),
                format!("--advertise-client-urls={client}"),
            ])
            .args([
                format!("--listen-peer-urls={peer}"),
                format!("--initial-advertise-peer-urls={peer}"),
            ])
            .arg(format!("--initial-cluster=default={peer}"))
            .args(["--log-level=error", "--quota-backend-bytes=8000000000"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let process = match started {
            Ok(process) => process,
            Err(error) => bail!(NotRun(format!("needs etcd-server: {error}"))),
        };
        let etcd = Self {
            process,
            channel: channel(&client)?,
            _dir: dir,
        };
        let until = Instant::now() + PATIENCE;
        while let Err(error) = put(etcd.channel.clone(), 0, Bytes::new()).await {
            if Instant::now() > until {
                bail!("etcd does not answer: {error}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(etcd)
    }

    /// Lets clients put values one after the other, each under its own key; how long it takes until all have.
    pub async fn write(&self, clients: usize, each: u64, value: &Bytes) -> Result<Duration> {
        let mut tasks = JoinSet::new();
        let began = Instant::now();
        for client in 0..clients {
            let (channel, value) = (self.channel.clone(), value.clone());
            tasks.spawn(async move {
                for _ in 0..each {
                    put(channel.clone(), client as u64, value.clone()).await?;
                }
                anyhow::Ok(())
            });
        }
        while let Some(done) = tasks.join_next().await {
            done??;
        }
        Ok(began.elapsed())
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn put(channel: Channel, key: u64, value: Bytes) -> Result<()> {
    let mut grpc = Grpc::new(channel);
    grpc.ready().await?;
    let put = PutRequest {
        key: Bytes::copy_from_slice(&key.to_be_bytes()),
        value,
    };
    let path = PathAndQuery::from_static("/etcdserverpb.KV/Put");
    let codec = ProstCodec::<PutRequest, PutResponse>::default();
    grpc.unary(Request::new(put), path, codec).await?;
    Ok(())
}
