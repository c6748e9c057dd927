//! Writes: upsert and delete.

use std::future::IntoFuture;

use arrow::record_batch::RecordBatch;
use longbow_types::{Error, ErrorCode, Result, RowId, Token, limits::WRITE_ROWS_MAX};
use longbow_wire::v1::{self, AckLevel, upsert_request::Payload};

use crate::{
    arrow_ipc::{MESSAGE_BYTES, pieces},
    client::{read_token, writes},
    dataset::{Answer, DatasetHandle},
    retry::Repeat,
    row::{Row, id_to_proto},
};

/// What must have happened to a write before it is acknowledged. Each level includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Ack {
    /// On a quorum of disks: never lost from here on.
    #[default]
    Logged,
    /// Visible to searches.
    Applied,
    /// Linked into the graph.
    Indexed,
}

impl Ack {
    pub(crate) fn to_proto(self) -> i32 {
        let level = match self {
            Ack::Logged => AckLevel::Logged,
            Ack::Applied => AckLevel::Applied,
            Ack::Indexed => AckLevel::Indexed,
        };
        level as i32
    }

    fn from_proto(level: AckLevel) -> Self {
        match level {
            AckLevel::Unspecified | AckLevel::Logged => Ack::Logged,
            AckLevel::Applied => Ack::Applied,
            AckLevel::Indexed => Ack::Indexed,
        }
    }
}

/// An acknowledged write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// A read given this sees the write.
    pub token: Token,
    /// What has happened to all of it: at least what was asked for.
    pub ack: Ack,
    /// Rows written, after duplicates inside one message were folded. Of deletes the rows deleted, if there were conditions,
    /// else 0.
    pub rows: u64,
    /// Positions in the call of the rows whose conditions did not hold, ascending: nothing was done to them.
    pub unmatched: Vec<usize>,
}

impl Written {
    pub(crate) fn nothing(ack: Ack) -> Self {
        Self {
            token: Token::default(),
            ack,
            rows: 0,
            unmatched: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, token: &str, ack: AckLevel, rows: u64) -> Result<()> {
        self.token.join(&read_token(token)?);
        self.ack = self.ack.min(Ack::from_proto(ack));
        self.rows += rows;
        Ok(())
    }
}

/// Conditions of the rows of a call.
#[derive(Debug, Clone, Default)]
enum Conditions {
    #[default]
    None,
    /// No row has the id.
    Absent,
    /// The row that has the id is of this version.
    Versions(Vec<u64>),
}

impl Conditions {
    /// A call that changed something may fail its own conditions when it is sent again.
    fn repeat(&self) -> Repeat {
        match self {
            Conditions::None => Repeat::Harmless,
            Conditions::Absent | Conditions::Versions(_) => Repeat::OnlyIfNotSent,
        }
    }

    fn versions(&self) -> Vec<u64> {
        match self {
            Conditions::None | Conditions::Absent => Vec::new(),
            Conditions::Versions(versions) => versions.clone(),
        }
    }

    fn check(&self, rows: usize) -> Result<()> {
        match self {
            Conditions::Versions(versions) if versions.len() != rows => {
                let message = format!("{} conditions for {rows} rows", versions.len());
                Err(Error::new(ErrorCode::InvalidValue, message)
                    .field("if_row_version")
                    .limit(format_args!("one for each of {rows} rows")))
            }
            _ => Ok(()),
        }
    }
}

/// Rows to be written; await it.
///
/// Large sets go in several messages, in order. Each message is validated whole before anything of it is written; the
/// set as a whole is not atomic. An error about a row names it as `rows[i]`, counted over the whole call.
///
/// Rows are whole, so the call is retried after a lost answer; if another writer changes or deletes the same row
/// meanwhile, the retry may come after it and undo that.
#[derive(Debug)]
#[must_use = "nothing happens until it is awaited"]
pub struct Upsert {
    dataset: DatasetHandle,
    rows: Vec<Row>,
    ack: Ack,
    conditions: Conditions,
}

impl Upsert {
    pub(crate) fn new(dataset: DatasetHandle, rows: Vec<Row>) -> Self {
        Self {
            dataset,
            rows,
            ack: Ack::default(),
            conditions: Conditions::None,
        }
    }

    /// What must have happened before the answer comes; without it [`Ack::Logged`].
    pub fn ack(mut self, ack: Ack) -> Self {
        self.ack = ack;
        self
    }

    /// Writes only rows whose ids no row has. [`Written::unmatched`] tells which were not written.
    ///
    /// With conditions all rows go in one message, in which no id comes twice; they are judged by one state, and the
    /// answer comes when they are [`Ack::Applied`]. After a lost answer the call is not sent again: its rows' versions tell
    /// whether it was written.
    pub fn if_absent(mut self) -> Self {
        self.conditions = Conditions::Absent;
        self
    }

    /// Writes each row only if the row that has its id is of this version, which [`Found::row_version`](crate::Found)
    /// tells; 0: only if no row has it. One for each row, in their order; else as [`Self::if_absent`].
    pub fn if_row_versions(mut self, versions: impl IntoIterator<Item = u64>) -> Self {
        self.conditions = Conditions::Versions(versions.into_iter().collect());
        self
    }
}

impl IntoFuture for Upsert {
    type Output = Result<Written>;
    type IntoFuture = Answer<Written>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let mut written = Written::nothing(Ack::Indexed);
            let mut before = 0;
            self.conditions.check(self.rows.len())?;
            let all = messages(self.rows)?;
            if all.len() > 1 && !matches!(self.conditions, Conditions::None) {
                let message = "rows with conditions go in one message, and these need more";
                return Err(Error::new(ErrorCode::TooLarge, message)
                    .field("rows")
                    .limit(format_args!("{WRITE_ROWS_MAX} rows and {MESSAGE_BYTES} bytes")));
            }
            for rows in all {
                let count = rows.len();
                let rows = rows.into_iter().map(Row::into_proto).collect();
                let payload = Payload::Rows(v1::Rows { rows });
                send(&self.dataset, payload, self.ack, &self.conditions, &mut written)
                    .await
                    .map_err(|error| counted_from(before, error))?;
                before += count;
            }
            Ok(written)
        })
    }
}

/// Arrow batches to be written; await it. What [`Upsert`] says about size and retries holds here.
#[derive(Debug)]
#[must_use = "nothing happens until it is awaited"]
pub struct UpsertBatches {
    dataset: DatasetHandle,
    batches: Vec<RecordBatch>,
    ack: Ack,
}

impl UpsertBatches {
    pub(crate) fn new(dataset: DatasetHandle, batches: Vec<RecordBatch>) -> Self {
        let ack = Ack::default();
        Self {
            dataset,
            batches,
            ack,
        }
    }

    /// What must have happened before the answer comes; without it [`Ack::Logged`].
    pub fn ack(mut self, ack: Ack) -> Self {
        self.ack = ack;
        self
    }
}

impl IntoFuture for UpsertBatches {
    type Output = Result<Written>;
    type IntoFuture = Answer<Written>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let mut written = Written::nothing(Ack::Indexed);
            let mut before = 0;
            for piece in pieces(self.batches) {
                let piece = piece?;
                let payload = Payload::ArrowIpc(piece.stream);
                send(&self.dataset, payload, self.ack, &Conditions::None, &mut written)
                    .await
                    .map_err(|error| counted_from(before, error))?;
                before += piece.rows;
            }
            // No piece is empty.
            if before > 0 {
                Ok(written)
            } else {
                Err(no_rows("batches"))
            }
        })
    }
}

async fn send(
    dataset: &DatasetHandle,
    payload: Payload,
    ack: Ack,
    conditions: &Conditions,
    written: &mut Written,
) -> Result<()> {
    let request = v1::UpsertRequest {
        dataset: dataset.name().to_owned(),
        ack: ack.to_proto(),
        payload: Some(payload),
        if_row_version: conditions.versions(),
        if_absent: matches!(conditions, Conditions::Absent),
    };
    let answer = dataset
        .client()
        .pool()
        .call(conditions.repeat(), &request, |channel, request| async move {
            writes(channel).upsert(request).await
        })
        .await?;
    written.add(&answer.token, answer.ack(), answer.rows)?;
    written.unmatched = positions(&answer.unmatched);
    dataset.client().remember(&written.token);
    Ok(())
}

/// Rows to be deleted; await it. Retried after a lost answer; a row that another writer wrote again meanwhile may then be
/// deleted, too.
#[derive(Debug)]
#[must_use = "nothing happens until it is awaited"]
pub struct Delete {
    dataset: DatasetHandle,
    ids: Vec<RowId>,
    ack: Ack,
    conditions: Conditions,
}

impl Delete {
    pub(crate) fn new(dataset: DatasetHandle, ids: Vec<RowId>) -> Self {
        Self {
            dataset,
            ids,
            ack: Ack::default(),
            conditions: Conditions::None,
        }
    }

    /// What must have happened before the answer comes; without it [`Ack::Logged`].
    pub fn ack(mut self, ack: Ack) -> Self {
        self.ack = ack;
        self
    }

    /// Deletes each row only if it is of this version; one for each id, in their order, none of them 0. All else as
    /// [`Upsert::if_row_versions`].
    pub fn if_row_versions(mut self, versions: impl IntoIterator<Item = u64>) -> Self {
        self.conditions = Conditions::Versions(versions.into_iter().collect());
        self
    }
}

impl IntoFuture for Delete {
    type Output = Result<Written>;
    type IntoFuture = Answer<Written>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            if self.ids.is_empty() {
                return Err(no_rows("ids"));
            }
            let mut written = Written::nothing(Ack::Indexed);
            self.conditions.check(self.ids.len())?;
            let most = match self.conditions {
                Conditions::None => WRITE_ROWS_MAX,
                // More than may be are refused.
                _ => self.ids.len(),
            };
            for ids in self.ids.chunks(most) {
                let request = v1::DeleteRequest {
                    dataset: self.dataset.name().to_owned(),
                    ids: ids.iter().map(id_to_proto).collect(),
                    ack: self.ack.to_proto(),
                    if_row_version: self.conditions.versions(),
                    filter: None,
                };
                let client = self.dataset.client();
                let answer = client
                    .pool()
                    .call(
                        self.conditions.repeat(),
                        &request,
                        |channel, request| async move { writes(channel).delete(request).await },
                    )
                    .await?;
                written.add(&answer.token, answer.ack(), answer.rows)?;
                written.unmatched = positions(&answer.unmatched);
                client.remember(&written.token);
            }
            Ok(written)
        })
    }
}

/// Cuts rows into messages below the limits, in order.
fn messages(rows: Vec<Row>) -> Result<Vec<Vec<Row>>> {
    if rows.is_empty() {
        return Err(no_rows("rows"));
    }
    let mut all: Vec<Vec<Row>> = Vec::new();
    let mut bytes = 0;
    for row in rows {
        let size = row.wire_bytes();
        match all.last_mut() {
            Some(last) if last.len() < WRITE_ROWS_MAX && bytes + size <= MESSAGE_BYTES => {
                last.push(row);
                bytes += size;
            }
            _ => {
                all.push(vec![row]);
                bytes = size;
            }
        }
    }
    Ok(all)
}

/// The error with `rows[i]` counted over the whole call, of which `before` rows went in earlier messages.
fn counted_from(before: usize, mut error: Error) -> Error {
    let place = error.field.as_deref().and_then(|field| {
        let (row, rest) = field.strip_prefix("rows[")?.split_once(']')?;
        Some((row.parse::<usize>().ok()?.checked_add(before)?, rest))
    });
    if let Some((row, rest)) = place {
        error.field = Some(format!("rows[{row}]{rest}").into());
    }
    error
}

pub(crate) fn positions(rows: &[u32]) -> Vec<usize> {
    rows.iter().map(|&row| row as usize).collect()
}

fn no_rows(field: &'static str) -> Error {
    Error::new(ErrorCode::MissingField, "there is nothing to write").field(field)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_cut_into_messages_in_order() {
        let rows: Vec<Row> = (0..3000_u64)
            .map(|id| Row::new(id).vector(vec![0.0; 2000]))
            .collect();
        let all = messages(rows.clone()).unwrap();
        assert!(all.len() >= 3);
        for message in &all {
            assert!(message.iter().map(Row::wire_bytes).sum::<usize>() <= MESSAGE_BYTES);
        }
        assert_eq!(all.concat(), rows);
        assert_eq!(messages(Vec::new()).unwrap_err().field.as_deref(), Some("rows"));
    }

    #[test]
    fn one_huge_row_is_left_to_the_server() {
        let row = Row::new(1_u64).column("text", "x".repeat(2 * MESSAGE_BYTES));
        assert_eq!(messages(vec![row.clone(), row]).unwrap().len(), 2);
    }

    #[test]
    fn rows_at_fault_are_counted_over_the_whole_call() {
        for (field, want) in [
            ("rows[3].vector", "rows[1003].vector"),
            ("rows[3]", "rows[1003]"),
            ("rows[x].vector", "rows[x].vector"),
            ("dataset", "dataset"),
        ] {
            let error = counted_from(1000, Error::new(ErrorCode::InvalidValue, "x").field(field));
            assert_eq!(error.field.as_deref(), Some(want));
        }
        let error = counted_from(1000, Error::new(ErrorCode::InvalidValue, "x"));
        assert_eq!(error.field, None);
    }

    #[test]
    fn the_lowest_ack_counts() {
        let mut written = Written::nothing(Ack::Indexed);
        written.add("", AckLevel::Applied, 3).unwrap();
        written.add("", AckLevel::Indexed, 4).unwrap();
        assert_eq!((written.ack, written.rows), (Ack::Applied, 7));
    }
}
