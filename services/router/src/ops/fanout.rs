//! How is a question about partitions asked of the shards that hold them?
//!
//! Each partition is asked of one replica; partitions of one shard go in one call; all calls run at once. A call that
//! fails is asked of other replicas while the deadline allows. Nothing is spawned: dropping the future cancels every
//! call under way, on the shards too.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream::FuturesUnordered};
use longbow_node::{
    gossip::Member,
    rpc::{AuthedChannel, MESSAGE_BYTES_MAX, deadline},
};
use longbow_types::{Error, ErrorCode, NodeId, Result, error::ErrorKind};
use longbow_wire::{
    convert::status::from_status,
    internal::{PartitionSet, shard_service_client::ShardServiceClient},
};
use tonic::{Code, Request, Response, Status};

use super::{Core, Open, replicas};

/// A client of one shard.
pub(super) type Shard = ShardServiceClient<AuthedChannel>;

/// How long one replica may take while another could be asked.
const ATTEMPT_MAX: Duration = Duration::from_secs(5);
/// Pause before replicas that failed are asked again.
const PAUSE: Duration = Duration::from_millis(100);

/// A partition to be asked, and how far it must have applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Want {
    pub partition: u32,
    pub min_index: u64,
}

/// One shard's answer.
#[derive(Debug)]
pub(super) struct Answer<A> {
    pub partitions: Vec<u32>,
    pub answer: A,
}

/// A want and the replicas that failed to serve it.
#[derive(Debug, Clone)]
struct Task {
    want: Want,
    failed: Vec<NodeId>,
}

/// One call to be made.
struct Call {
    shard: Member,
    tasks: Vec<Task>,
    until: Instant,
}

impl Core {
    /// Asks every partition of one replica each. Where all replicas of one fail for now, they are asked again for as
    /// long as `patience` says.
    ///
    /// # Errors
    /// The first refusal that no other replica would answer differently; `NO_REPLICA` naming the partition;
    /// `DEADLINE_EXCEEDED`.
    pub(super) async fn scatter<A, F, Fut>(
        &self,
        open: &Open,
        wants: impl IntoIterator<Item = Want>,
        at: Instant,
        patience: Duration,
        send: F,
    ) -> Result<Vec<Answer<A>>>
    where
        F: Fn(Shard, PartitionSet, Instant) -> Fut,
        Fut: Future<Output = Result<Response<A>, Status>>,
    {
        let turn = self.0.turn.fetch_add(1, Ordering::Relaxed);
        let give_up = at.min(Instant::now() + patience);
        let ask = |call: Call| {
            let target = target(open, &call.tasks);
            let sent = send(self.shard(&call.shard), target, call.until);
            async move {
                let answer = tokio::time::timeout_at(call.until.into(), sent).await;
                (
                    call,
                    answer.unwrap_or_else(|_| {
                        Err(Status::deadline_exceeded("the shard did not answer in time"))
                    }),
                )
            }
        };
        let tasks = wants
            .into_iter()
            .map(|want| Task {
                want,
                failed: Vec::new(),
            })
            .collect();
        let mut calls: FuturesUnordered<_> =
            self.plan(open, tasks, turn, at)?.into_iter().map(&ask).collect();
        let mut answers = Vec::with_capacity(calls.len());
        while let Some((call, answer)) = calls.next().await {
            let status = match answer {
                Ok(answer) => {
                    let partitions = call.tasks.iter().map(|task| task.want.partition).collect();
                    answers.push(Answer {
                        partitions,
                        answer: answer.into_inner(),
                    });
                    continue;
                }
                Err(status) => status,
            };
            let (error, class) = failure(&status);
            tracing::debug!(shard = %call.shard.node_id, %error, "a shard did not answer");
            let next = self
                .after_failure(open, call, (error, class), at, give_up, turn)
                .await?;
            calls.extend(next.into_iter().map(&ask));
        }
        Ok(answers)
    }

    /// What to ask instead of a call that failed.
    async fn after_failure(
        &self,
        open: &Open,
        call: Call,
        (error, class): (Error, Class),
        at: Instant,
        give_up: Instant,
        turn: usize,
    ) -> Result<Vec<Call>> {
        if class == Class::Final {
            return Err(error);
        }
        if deadline::passed(Some(at)) {
            return Err(deadline::exceeded());
        }
        let mut tasks = call.tasks;
        for task in &mut tasks {
            task.failed.push(call.shard.node_id.clone());
        }
        match self.plan(open, tasks.clone(), turn, at) {
            Ok(calls) => Ok(calls),
            // Every replica failed. Those that may come back are asked again, for a while.
            Err(_) if class == Class::Elsewhere => Err(error),
            Err(unreachable) if Instant::now() >= give_up => Err(match error.code {
                ErrorCode::ReplicaStopped | ErrorCode::ReplicaLost | ErrorCode::DeadlineExceeded => error,
                _ => unreachable,
            }),
            Err(_) => {
                tokio::time::sleep(PAUSE).await;
                tasks.iter_mut().for_each(|task| task.failed.clear());
                self.plan(open, tasks, turn, at)
            }
        }
    }

    /// Groups tasks by the replica that each is asked of.
    ///
    /// # Errors
    /// `NO_REPLICA` for a partition of which no replica is left.
    fn plan(&self, open: &Open, tasks: Vec<Task>, turn: usize, at: Instant) -> Result<Vec<Call>> {
        let members = self.0.gossip.members();
        let mut calls: Vec<Call> = Vec::new();
        for task in tasks {
            let replicas = open.dataset.partitions.get(task.want.partition as usize);
            let order = replicas::in_order(
                replicas.map_or(&[], Vec::as_slice),
                &members,
                turn + task.want.partition as usize,
            );
            let mut left = order
                .iter()
                .filter(|member| !task.failed.contains(&member.node_id));
            let Some(shard) = left.next() else {
                return Err(no_replica(open, task.want.partition));
            };
            let until = if left.next().is_some() {
                attempt_until(at)
            } else {
                at
            };
            let fits = |call: &&mut Call| {
                call.shard.node_id == shard.node_id && call.tasks[0].want.min_index == task.want.min_index
            };
            match calls.iter_mut().find(fits) {
                Some(call) => {
                    call.until = call.until.min(until);
                    call.tasks.push(task);
                }
                None => calls.push(Call {
                    shard: (*shard).clone(),
                    tasks: vec![task],
                    until,
                }),
            }
        }
        Ok(calls)
    }

    /// A client of a shard.
    pub(super) fn shard(&self, member: &Member) -> Shard {
        ShardServiceClient::new(self.0.peers.channel(member.rpc_addr))
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }
}

/// A request that tells the shard how long we wait.
pub(super) fn request<T>(message: T, until: Instant) -> Request<T> {
    let mut request = Request::new(message);
    deadline::apply(&mut request, Some(until));
    request
}

fn target(open: &Open, tasks: &[Task]) -> PartitionSet {
    PartitionSet {
        dataset_id: open.dataset.id.0,
        partitions: tasks.iter().map(|task| task.want.partition).collect(),
        min_index: tasks.iter().map(|task| task.want.min_index).max().unwrap_or(0),
        schema_version: open.dataset.schema_version,
    }
}

/// Half of what is left, so that somebody else can be asked after that.
fn attempt_until(at: Instant) -> Instant {
    let now = Instant::now();
    now + (at.saturating_duration_since(now) / 2).min(ATTEMPT_MAX)
}

fn no_replica(open: &Open, partition: u32) -> Error {
    let message = format!(
        "no replica of partition {partition} of {:?} can be reached",
        open.dataset.name
    );
    Error::new(ErrorCode::NoReplica, message)
        .field(format!("partitions[{partition}]"))
        .retry_after(Duration::from_millis(500))
}

/// What a shard's failure says about asking again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Every replica would say the same.
    Final,
    /// Another replica may do better; this one will not.
    Elsewhere,
    /// Any replica may do better, this one too, a moment later.
    Later,
}

/// A shard's failure, and what it says about asking again.
pub(super) fn failure(status: &Status) -> (Error, Class) {
    // What tonic refuses to send or to take: our own refusals have details.
    if status.code() == Code::OutOfRange && status.details().is_empty() {
        let message = "the answer of one shard is too large: ask for fewer rows or columns at once";
        let error = Error::new(ErrorCode::TooLarge, message)
            .field("answer")
            .limit(format_args!("{MESSAGE_BYTES_MAX} bytes"));
        return (error, Class::Final);
    }
    let error = from_status(status);
    let class = match classify(&error) {
        // Our own errors have details. A failure without is the connection's, which may be there again in a moment.
        Class::Elsewhere if status.details().is_empty() => Class::Later,
        class => class,
    };
    (error, class)
}

/// What a failure says about asking again.
pub(super) fn classify(error: &Error) -> Class {
    match error.code.kind() {
        // The replicas have one log: where one has gone on, the others have, or will.
        _ if error.code == ErrorCode::SchemaVersionStale => Class::Final,
        ErrorKind::InvalidArgument
        | ErrorKind::AlreadyExists
        | ErrorKind::FailedPrecondition
        | ErrorKind::PermissionDenied
        | ErrorKind::Unauthenticated
        | ErrorKind::Unimplemented => Class::Final,
        ErrorKind::ResourceExhausted if error.code == ErrorCode::TooLarge => Class::Final,
        // Shards wait for a dataset's creation, so one that is not there was dropped.
        ErrorKind::NotFound => Class::Final,
        // A replica that damaged its copy speaks for itself alone.
        ErrorKind::Internal | ErrorKind::DataLoss | ErrorKind::Aborted => Class::Elsewhere,
        ErrorKind::Unavailable
        | ErrorKind::ResourceExhausted
        | ErrorKind::DeadlineExceeded
        | ErrorKind::Cancelled => Class::Later,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_could_go_better_is_asked_again() {
        let class = |code| classify(&Error::new(code, ""));
        assert_eq!(class(ErrorCode::UnknownColumn), Class::Final);
        assert_eq!(class(ErrorCode::TooLarge), Class::Final);
        assert_eq!(class(ErrorCode::WrongCluster), Class::Final);
        assert_eq!(class(ErrorCode::Corruption), Class::Elsewhere);
        assert_eq!(class(ErrorCode::ReplicaStopped), Class::Later);
        // Another may have it, which may be there again in a moment.
        assert_eq!(class(ErrorCode::ReplicaLost), Class::Later);
        assert_eq!(class(ErrorCode::Overloaded), Class::Later);
        assert_eq!(class(ErrorCode::NoReplica), Class::Later);
        assert_eq!(class(ErrorCode::DatasetNotFound), Class::Final);
        assert_eq!(class(ErrorCode::SchemaVersionStale), Class::Final);
        let (error, class) = failure(&Status::out_of_range("Error, decoded message length too large"));
        assert_eq!((error.code, class), (ErrorCode::TooLarge, Class::Final));
        assert_eq!(error.limit.as_deref(), Some("134217728 bytes"));
        // A connection that broke, and a defect that a shard told.
        assert_eq!(failure(&Status::unknown("transport error")).1, Class::Later);
        let told = longbow_wire::convert::status::to_status(&Error::new(ErrorCode::Internal, "a defect"));
        assert_eq!(failure(&told).1, Class::Elsewhere);
    }
}
