//! The one error shape that travels from where a fault is found to the caller.
//!
//! A code is stable, `field` names what was at fault, `limit` what would have been accepted.
//! Which gRPC status a code becomes is decided once, by [`ErrorCode::kind`].

use std::{borrow::Cow, fmt, time::Duration};

/// Result with the shared error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Who must act, and whether trying again can help. Maps one to one to a gRPC status code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The caller sent something wrong.
    InvalidArgument,
    /// The thing named is not there.
    NotFound,
    /// The thing named is already there.
    AlreadyExists,
    /// The caller may not do this.
    PermissionDenied,
    /// The caller did not prove who it is.
    Unauthenticated,
    /// A limit is reached; later or with less it may work.
    ResourceExhausted,
    /// The system's state forbids it until somebody acts.
    FailedPrecondition,
    /// Another write came first; read again and decide anew.
    Aborted,
    /// Nobody to do it right now; try again.
    Unavailable,
    /// The caller's deadline passed.
    DeadlineExceeded,
    /// The caller gave up.
    Cancelled,
    /// This version does not do this.
    Unimplemented,
    /// Stored bytes are not what was written.
    DataLoss,
    /// A defect of Longbow.
    Internal,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal, $kind:ident;)*) => {
        /// Stable error codes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode { $($(#[$doc])* $variant,)* }

        impl ErrorCode {
            /// Every code, in declaration order.
            pub const ALL: &'static [ErrorCode] = &[$(ErrorCode::$variant,)*];

            /// The stable text of the code.
            pub const fn as_str(self) -> &'static str {
                match self { $(ErrorCode::$variant => $text,)* }
            }

            /// Who must act.
            pub const fn kind(self) -> ErrorKind {
                match self { $(ErrorCode::$variant => ErrorKind::$kind,)* }
            }

            /// The code of a stable text.
            pub fn parse(text: &str) -> Option<ErrorCode> {
                match text { $($text => Some(ErrorCode::$variant),)* _ => None }
            }
        }
    };
}

codes! {
    /// A field has a value outside its range or form.
    InvalidValue = "INVALID_VALUE", InvalidArgument;
    /// A required field is missing.
    MissingField = "MISSING_FIELD", InvalidArgument;
    /// A name breaks the naming rules.
    InvalidName = "INVALID_NAME", InvalidArgument;
    /// A schema breaks the schema rules.
    InvalidSchema = "INVALID_SCHEMA", InvalidArgument;
    /// A schema cannot follow the one that the dataset has.
    SchemaIncompatible = "SCHEMA_INCOMPATIBLE", InvalidArgument;
    /// Data does not fit the dataset's schema.
    SchemaMismatch = "SCHEMA_MISMATCH", InvalidArgument;
    /// A column is not in the schema.
    UnknownColumn = "UNKNOWN_COLUMN", InvalidArgument;
    /// A value is not of the column's type.
    TypeMismatch = "TYPE_MISMATCH", InvalidArgument;
    /// A vector has the wrong number of elements.
    DimensionMismatch = "DIMENSION_MISMATCH", InvalidArgument;
    /// A vector holds NaN or an infinity, or is zero where the metric forbids it.
    InvalidVector = "INVALID_VECTOR", InvalidArgument;
    /// A null stands where none is allowed.
    NullNotAllowed = "NULL_NOT_ALLOWED", InvalidArgument;
    /// Bytes are not valid Arrow IPC.
    MalformedArrow = "MALFORMED_ARROW", InvalidArgument;
    /// A token was not made by Longbow, or names another cluster's log.
    InvalidToken = "INVALID_TOKEN", InvalidArgument;
    /// A request or message is larger than the limit.
    TooLarge = "TOO_LARGE", ResourceExhausted;
    /// The dataset is not there.
    DatasetNotFound = "DATASET_NOT_FOUND", NotFound;
    /// The row is not there.
    RowNotFound = "ROW_NOT_FOUND", NotFound;
    /// The dataset is already there.
    DatasetExists = "DATASET_EXISTS", AlreadyExists;
    /// Another change of the schema came first; read the dataset and decide anew.
    SchemaConflict = "SCHEMA_CONFLICT", FailedPrecondition;
    /// The schema changed while the request was on its way; send it again.
    SchemaVersionStale = "SCHEMA_VERSION_STALE", Aborted;
    /// The partition map changed while the write was on its way; send it again.
    MapEpochStale = "MAP_EPOCH_STALE", Aborted;
    /// A producer sequence lies below the window of remembered answers.
    SequenceTooOld = "SEQUENCE_TOO_OLD", FailedPrecondition;
    /// A producer is not known to the log.
    UnknownProducer = "UNKNOWN_PRODUCER", FailedPrecondition;
    /// The cluster refuses writes after a fatal flush error.
    LatchTripped = "LATCH_TRIPPED", FailedPrecondition;
    /// There are not enough shards for what was asked.
    NotEnoughShards = "NOT_ENOUGH_SHARDS", FailedPrecondition;
    /// There is no such keeper in the group.
    KeeperNotFound = "KEEPER_NOT_FOUND", NotFound;
    /// The keeper is in the group already.
    KeeperExists = "KEEPER_EXISTS", AlreadyExists;
    /// The change would leave the keepers without a quorum, or the log without a copy.
    QuorumAtRisk = "QUORUM_AT_RISK", FailedPrecondition;
    /// A learner has not caught up with the log.
    LearnerBehind = "LEARNER_BEHIND", FailedPrecondition;
    /// Another change of the group is under way.
    MembershipChanging = "MEMBERSHIP_CHANGING", Aborted;
    /// The keeper was taken out of its group.
    KeeperRemoved = "KEEPER_REMOVED", FailedPrecondition;
    /// This keeper does not hold entries so old; another may.
    LogTruncated = "LOG_TRUNCATED", FailedPrecondition;
    /// The log has reached its size limit and nothing in it may be cut.
    LogFull = "LOG_FULL", ResourceExhausted;
    /// A shard has no memory left for more rows.
    MemoryFull = "MEMORY_FULL", ResourceExhausted;
    /// This keeper does not lead.
    NotLeader = "NOT_LEADER", Unavailable;
    /// No keeper leads right now.
    NoLeader = "NO_LEADER", Unavailable;
    /// No endpoint of the cluster could be reached.
    Unreachable = "UNREACHABLE", Unavailable;
    /// No replica of a partition answers.
    NoReplica = "NO_REPLICA", Unavailable;
    /// A replica stopped applying at a faulty entry.
    ReplicaStopped = "REPLICA_STOPPED", Unavailable;
    /// A replica is lost: what it would be made of is neither on its disk nor in the log.
    ReplicaLost = "REPLICA_LOST", Unavailable;
    /// The node is stopping.
    Stopping = "STOPPING", Unavailable;
    /// A queue is full.
    Overloaded = "OVERLOADED", ResourceExhausted;
    /// Rows were written where their conditions held, but nobody remembers which these were.
    OutcomeUnknown = "OUTCOME_UNKNOWN", Unavailable;
    /// The deadline passed.
    DeadlineExceeded = "DEADLINE_EXCEEDED", DeadlineExceeded;
    /// The caller gave up.
    Cancelled = "CANCELLED", Cancelled;
    /// The key or cluster secret is missing or wrong.
    Unauthenticated = "UNAUTHENTICATED", Unauthenticated;
    /// The caller's role may not do this.
    RoleNotAllowed = "ROLE_NOT_ALLOWED", PermissionDenied;
    /// The caller belongs to another cluster.
    WrongCluster = "WRONG_CLUSTER", PermissionDenied;
    /// This version does not do this.
    Unsupported = "UNSUPPORTED", Unimplemented;
    /// Stored bytes are not what was written.
    Corruption = "CORRUPTION", DataLoss;
    /// The disk failed.
    StorageFailed = "STORAGE_FAILED", Unavailable;
    /// A defect of Longbow.
    Internal = "INTERNAL", Internal;
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An error for the caller of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// Stable code.
    pub code: ErrorCode,
    /// For people: what is wrong and what to do.
    pub message: Cow<'static, str>,
    /// What was at fault: a field path such as `rows[3].vector`, a column, a node.
    pub field: Option<Cow<'static, str>>,
    /// What would have been accepted.
    pub limit: Option<Cow<'static, str>>,
    /// When trying again may help.
    pub retry_after: Option<Duration>,
}

impl Error {
    /// An error with a code and a message.
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            message: message.into(),
            field: None,
            limit: None,
            retry_after: None,
        }
    }

    /// Names what was at fault.
    #[must_use]
    pub fn field(mut self, field: impl Into<Cow<'static, str>>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// Names what would have been accepted.
    #[must_use]
    pub fn limit(mut self, limit: impl fmt::Display) -> Self {
        self.limit = Some(limit.to_string().into());
        self
    }

    /// Says when trying again may help.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)?;
        if let Some(field) = &self.field {
            write!(f, " (field: {field})")?;
        }
        if let Some(limit) = &self.limit {
            write!(f, " (limit: {limit})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_parse_back() {
        for &code in ErrorCode::ALL {
            assert_eq!(ErrorCode::parse(code.as_str()), Some(code));
        }
    }
}
