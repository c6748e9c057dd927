//! DoGet: the rows of a dataset, or the answer of a search.

use std::time::Instant;

use arrow::array::RecordBatch;
use arrow_flight::{FlightData, encode::FlightDataEncoderBuilder, error::FlightError};
use bytes::Bytes;
use futures::{StreamExt, stream};
use longbow_types::{Error, ErrorCode, Result};
use longbow_wire::convert::status::to_status;
use tonic::Status;

use super::{
    Answers, answer, filters,
    reply::Reply,
    schema, search,
    ticket::{self, Table, Ticket},
};
use crate::ops::{Core, Scan, deadline_or_default};

/// Answers a ticket. The schema comes first, also where no row does.
///
/// # Errors
/// Everything that can be wrong with a ticket. Errors on the way come in the stream.
pub async fn do_get(core: &Core, ticket: Bytes, deadline: Option<Instant>) -> Result<Reply<FlightData>> {
    let at = deadline_or_default(deadline);
    match ticket::read(ticket).await? {
        Ticket::Table(table) => rows(core, table, deadline).await,
        Ticket::Search(wanted) => {
            let mut plan = search::plan(core, wanted, at).await?;
            let found = match plan.len() {
                1 => plan.next(core, at).await?,
                _ => None,
            };
            let Some(found) = found else {
                let message = "one stream answers one query vector: use DoAction VectorSearch for several";
                return Err(Error::new(ErrorCode::InvalidValue, message)
                    .field("vectors")
                    .limit(1));
            };
            let batch = answer::batch(&found)?;
            let schema = batch.schema();
            let items = encoded(schema, stream::iter([Ok(batch)]));
            Ok(Reply {
                items,
                freshness: Some(found.freshness),
            })
        }
    }
}

async fn rows(core: &Core, table: Table, deadline: Option<Instant>) -> Result<Reply<FlightData>> {
    let open = core.open(&table.dataset, deadline_or_default(deadline)).await?;
    let scan = Scan {
        filter: filters::all_of(&table.filters, &open.schema)?,
        limit: table.limit,
        consistency: None,
    };
    let scanned = core.scan(&table.dataset, scan, deadline).await?;
    // The dataset may have been made anew meanwhile; what is shown is what is scanned.
    let schema = schema::of_dataset(&scanned.open.schema);
    let shown_as = schema.clone();
    let batches = scanned.batches.map(move |batch| {
        let batch = batch.map_err(|error| tonic(&error))?;
        schema::shown(&batch, &shown_as).map_err(FlightError::Arrow)
    });
    Ok(Reply {
        items: encoded(schema, batches),
        freshness: Some(scanned.freshness),
    })
}

fn encoded(
    schema: arrow::datatypes::SchemaRef,
    batches: impl stream::Stream<Item = Result<RecordBatch, FlightError>> + Send + 'static,
) -> Answers<FlightData> {
    let encoder = FlightDataEncoderBuilder::new().with_schema(schema).build(batches);
    encoder.map(|data| data.map_err(status)).boxed()
}

fn tonic(error: &Error) -> FlightError {
    FlightError::Tonic(Box::new(to_status(error)))
}

fn status(error: FlightError) -> Status {
    match error {
        FlightError::Tonic(status) => *status,
        other => to_status(&Error::new(ErrorCode::Internal, other.to_string())),
    }
}
