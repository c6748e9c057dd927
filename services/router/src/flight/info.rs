//! GetFlightInfo and GetSchema: what a dataset holds.

use std::time::Instant;

use arrow::ipc::writer::IpcWriteOptions;
use arrow_flight::{
    FlightDescriptor, FlightEndpoint, FlightInfo, IpcMessage, SchemaAsIpc, SchemaResult, Ticket,
    flight_descriptor::DescriptorType,
};
use longbow_types::{Error, ErrorCode, Result};

use super::schema as schemas;
use crate::ops::{Core, Described};

/// The dataset that a descriptor names: PATH `[dataset]`.
///
/// # Errors
/// `MISSING_FIELD` or `INVALID_VALUE`, naming `path`.
pub fn dataset_of(descriptor: &FlightDescriptor) -> Result<String> {
    if descriptor.r#type() != DescriptorType::Path {
        return Err(Error::new(ErrorCode::InvalidValue, "the descriptor is no path")
            .field("descriptor.type")
            .limit("PATH [dataset]"));
    }
    match descriptor.path.as_slice() {
        [name] if !name.is_empty() => Ok(name.clone()),
        [] | [_] => Err(Error::new(ErrorCode::MissingField, "the path names no dataset")
            .field("descriptor.path")
            .limit("one dataset")),
        _ => Err(Error::new(ErrorCode::InvalidValue, "the path has several parts")
            .field("descriptor.path")
            .limit("one dataset")),
    }
}

/// Describes a dataset.
///
/// # Errors
/// `DATASET_NOT_FOUND`, or those of the descriptor.
pub async fn flight_info(core: &Core, descriptor: &FlightDescriptor, at: Instant) -> Result<FlightInfo> {
    let described = core.get_dataset(&dataset_of(descriptor)?, at).await?;
    of(&described)
}

/// A dataset as Flight describes it: -1 stands for a count that is not known.
///
/// # Errors
/// `INTERNAL` if arrow cannot write the schema.
pub fn of(described: &Described) -> Result<FlightInfo> {
    let name = &described.open.dataset.name;
    let schema = schemas::of_dataset(&described.open.schema);
    let count = |count: Option<u64>| count.map_or(-1, |count| i64::try_from(count).unwrap_or(i64::MAX));
    let info = FlightInfo::new()
        .try_with_schema(&schema)
        .map_err(|error| Error::new(ErrorCode::Internal, error.to_string()))?;
    Ok(info
        .with_descriptor(FlightDescriptor::new_path(vec![name.clone()]))
        // No location: the ticket is good on the connection that it came by, and on any other router.
        .with_endpoint(FlightEndpoint::new().with_ticket(Ticket::new(name.clone())))
        .with_total_records(count(described.counts.map(|counts| counts.rows)))
        .with_total_bytes(count(described.counts.map(|counts| counts.bytes))))
}

/// The schema of a dataset.
///
/// # Errors
/// `DATASET_NOT_FOUND`, or those of the descriptor.
pub async fn schema(core: &Core, descriptor: &FlightDescriptor, at: Instant) -> Result<SchemaResult> {
    let open = core.open_newest(&dataset_of(descriptor)?, at).await?;
    let schema = schemas::of_dataset(&open.schema);
    let options = IpcWriteOptions::default();
    let message: IpcMessage = SchemaAsIpc::new(&schema, &options)
        .try_into()
        .map_err(|error: arrow_schema::ArrowError| Error::new(ErrorCode::Internal, error.to_string()))?;
    Ok(SchemaResult { schema: message.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_one_dataset() {
        let path = |parts: &[&str]| {
            dataset_of(&FlightDescriptor::new_path(
                parts.iter().map(|&p| p.to_owned()).collect(),
            ))
        };
        assert_eq!(path(&["words"]).unwrap(), "words");
        for bad in [&[][..], &[""], &["a", "b"]] {
            assert_eq!(path(bad).unwrap_err().field.as_deref(), Some("descriptor.path"));
        }
        assert!(dataset_of(&FlightDescriptor::new_cmd("words")).is_err());
    }
}
