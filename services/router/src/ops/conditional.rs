//! Writes and deletes the rows whose conditions hold, and tells which these are.
//!
//! A call is one command, so that all its conditions are judged by one state, and so that a command which the log refused
//! can be made anew: nothing of the call was written then.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use longbow_query::rank::ANY_ROW_VERSION;
use longbow_types::{Error, ErrorCode, Lsn, Result, Schema, Token};
use longbow_wire::{
    internal::{PartitionOutcome, WriteKind},
    v1::{self, AckLevel},
};
use prost::Message;

use super::{
    Core, Input, Open, Written,
    upsert::{checked, id_in},
};
use crate::{
    commands::{self, Command, Conditional, Target},
    ingest::columns::id_batch,
    rows::{
        ids::id_array,
        write::{changes_from_rows, check_count, checked_ids},
    },
};

/// What must be there for a row to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conditions {
    /// For each row, a row of this version; none, where it is 0.
    Versions(Vec<u64>),
    /// No row, for every row.
    Absent,
}

/// What became of a conditional write.
#[derive(Debug, Clone)]
pub struct Decided {
    /// The write; its rows are those that were written or deleted.
    pub written: Written,
    /// Rows of the call whose conditions did not hold, ascending.
    pub unmatched: Vec<u32>,
}

/// A command that was applied, and what the shards told of its rows.
pub(super) struct Judged<C> {
    prepared: C,
    /// The write; its rows are those of the command.
    pub(super) written: Written,
    /// By partition.
    pub(super) outcomes: BTreeMap<u32, PartitionOutcome>,
}

/// What the conditions of a request are called.
const FIELD: &str = "if_row_version";

impl Conditions {
    /// The version that each of so many rows asks for.
    fn versions(&self, rows: usize) -> Result<Vec<u64>> {
        match self {
            Conditions::Absent => Ok(vec![0; rows]),
            Conditions::Versions(versions) if versions.len() == rows => Ok(versions.clone()),
            Conditions::Versions(versions) => {
                let message = format!("{} conditions for {rows} rows", versions.len());
                Err(Error::new(ErrorCode::InvalidValue, message)
                    .field(FIELD)
                    .limit(format_args!("one for each of {rows} rows")))
            }
        }
    }
}

/// Refuses a version that no row has.
fn check_versions(versions: &[u64]) -> Result<()> {
    let Some(position) = versions
        .iter()
        .position(|version| [0, ANY_ROW_VERSION].contains(version))
    else {
        return Ok(());
    };
    Err(Error::new(ErrorCode::InvalidValue, "no row has such a version")
        .field(format!("{FIELD}[{position}]"))
        .limit("the version of a row, above 0"))
}

impl Core {
    /// Checks rows whole, writes those whose conditions hold, and waits until that is applied at least.
    ///
    /// # Errors
    /// Those of [`Core::upsert`]; `INVALID_VALUE` for an id that comes twice or conditions that are not one for each row,
    /// `TOO_LARGE` for rows that need more than one command; `OUTCOME_UNKNOWN` if the write is applied, and it was
    /// forgotten to which rows.
    pub async fn upsert_if(
        &self,
        dataset: &str,
        input: Input,
        conditions: Conditions,
        ack: AckLevel,
        at: Instant,
    ) -> Result<Decided> {
        let bytes = input.bytes();
        let shared = Arc::new((input, conditions));
        self.write_if(dataset, bytes, ack, at, move |schema, target| {
            let (input, conditions) = shared.as_ref();
            let batch = checked(input, schema)?;
            let versions = conditions.versions(batch.num_rows())?;
            let id = id_in(&batch, schema)?;
            commands::conditional(&batch, id, versions, "rows", target, WriteKind::UpsertIf)
        })
        .await
    }

    /// Deletes those ids whose rows have the versions asked for.
    ///
    /// # Errors
    /// Those of [`Core::upsert_if`] that ids can cause; `INVALID_VALUE` for a version of 0, which no row has.
    pub async fn delete_if(
        &self,
        dataset: &str,
        ids: Vec<v1::RowId>,
        versions: Vec<u64>,
        ack: AckLevel,
        at: Instant,
    ) -> Result<Decided> {
        check_count(ids.len(), "ids")?;
        check_versions(&versions)?;
        let versions = Conditions::Versions(versions).versions(ids.len())?;
        let bytes = ids.iter().map(Message::encoded_len).sum();
        let shared = Arc::new((ids, versions));
        self.write_if(dataset, bytes, ack, at, move |schema, target| {
            let (ids, versions) = shared.as_ref();
            let ids = checked_ids(ids, schema)?;
            let batch = id_batch(id_array(ids.iter(), schema.id_kind()), schema)?;
            commands::conditional(&batch, 0, versions.clone(), "ids", target, WriteKind::DeleteIf)
        })
        .await
    }

    /// Changes columns of rows that are there, of the versions asked for if there are any.
    ///
    /// # Errors
    /// Those of [`Core::upsert_if`]; `INVALID_VALUE` for a version of 0, or for rows that tell different columns.
    pub async fn update(
        &self,
        dataset: &str,
        rows: Vec<v1::Row>,
        versions: Vec<u64>,
        ack: AckLevel,
        at: Instant,
    ) -> Result<Decided> {
        check_versions(&versions)?;
        let versions = if versions.is_empty() {
            vec![ANY_ROW_VERSION; rows.len()]
        } else {
            Conditions::Versions(versions).versions(rows.len())?
        };
        let bytes = rows.iter().map(Message::encoded_len).sum();
        let shared = Arc::new((rows, versions));
        self.write_if(dataset, bytes, ack, at, move |schema, target| {
            let (rows, versions) = shared.as_ref();
            let (batch, id) = changes_from_rows(rows, schema)?;
            commands::conditional(&batch, id, versions.clone(), "rows", target, WriteKind::Update)
        })
        .await
    }

    async fn write_if<P>(
        &self,
        dataset: &str,
        bytes: usize,
        ack: AckLevel,
        at: Instant,
        prepare: P,
    ) -> Result<Decided>
    where
        P: Fn(&Schema, Target) -> Result<Conditional> + Clone + Send + 'static,
    {
        let judged = self.judged(dataset, bytes, ack, at, prepare).await?;
        let unmatched = judged.prepared.unmatched(judged.outcomes.values())?;
        let mut written = judged.written;
        written.rows -= unmatched.len() as u64;
        Ok(Decided { written, unmatched })
    }

    /// As [`Core::write`] the one command that `prepare` makes, and gives what became of its rows.
    pub(super) async fn judged<P, C>(
        &self,
        dataset: &str,
        bytes: usize,
        ack: AckLevel,
        at: Instant,
        prepare: P,
    ) -> Result<Judged<C>>
    where
        P: Fn(&Schema, Target) -> Result<C> + Clone + Send + 'static,
        C: AsRef<[Command]> + Send + 'static,
    {
        let (open, prepared, lsn) = self.log(dataset, bytes, at, prepare).await?;
        self.outcome_of(&open, prepared, lsn, ack, at).await
    }

    async fn outcome_of<C: AsRef<[Command]>>(
        &self,
        open: &Open,
        prepared: C,
        lsn: Lsn,
        ack: AckLevel,
        at: Instant,
    ) -> Result<Judged<C>> {
        let ack = match ack {
            AckLevel::Indexed => AckLevel::Indexed,
            AckLevel::Unspecified | AckLevel::Logged | AckLevel::Applied => AckLevel::Applied,
        };
        let commands = prepared.as_ref();
        let partitions: BTreeSet<u32> = commands.iter().flat_map(Command::partitions).collect();
        let indexed = ack == AckLevel::Indexed;
        let outcomes = self.outcomes(open, &partitions, lsn.index, indexed, at).await?;
        let written = Written {
            token: Token::of(lsn),
            ack,
            rows: commands.iter().map(|command| command.rows).sum(),
            partitions,
        };
        Ok(Judged {
            prepared,
            written,
            outcomes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_one_condition() {
        let three = Conditions::Versions(vec![7, 0, 9]);
        assert_eq!(three.versions(3), Ok(vec![7, 0, 9]));
        assert_eq!(Conditions::Absent.versions(2), Ok(vec![0, 0]));
        let error = three.versions(2).unwrap_err();
        assert_eq!(
            (error.code, error.field.as_deref(), error.limit.as_deref()),
            (
                ErrorCode::InvalidValue,
                Some(FIELD),
                Some("one for each of 2 rows")
            )
        );
    }
}
