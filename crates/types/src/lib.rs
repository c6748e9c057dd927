//! Words every crate shares: ids, LSNs, tokens, schemas, limits and error codes.
//!
//! Nothing here does I/O, and nothing here knows a protocol or a file format.

pub mod decimal;
pub mod error;
pub mod evolution;
pub mod id;
pub mod limits;
pub mod lsn;
pub mod node;
pub mod partition;
pub mod quantization;
pub mod recall;
pub mod schema;

pub use error::{Error, ErrorCode, Result};
pub use id::{DatasetId, IdKind, RowId};
pub use lsn::{Lsn, Token};
pub use node::{ClusterId, NodeId, Role};
pub use quantization::Quantization;
pub use schema::{DefaultValue, Metric, Schema, VectorColumn, VectorElement};
