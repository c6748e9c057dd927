//! Limits of the public surface. Every refusal names the one it is about.

use std::time::Duration;

/// Longest dataset or column name, in bytes.
pub const NAME_BYTES_MAX: usize = 255;
/// Longest zone of a timestamp column, in bytes.
pub const ZONE_BYTES_MAX: usize = 64;
/// Longest default of a column of text or bytes, in bytes.
pub const DEFAULT_BYTES_MAX: usize = 4_096;
/// Longest UTF-8 row id, in bytes.
pub const ID_BYTES_MAX: usize = 512;
/// Shortest life of the rows of a dataset.
pub const TTL_MIN: Duration = Duration::from_secs(1);
/// Longest life of them, if it is not for ever.
pub const TTL_MAX: Duration = Duration::from_secs(36_500 * 86_400);
/// Largest vector dimension.
pub const DIMENSION_MAX: usize = 32_768;
/// Most columns in a schema, id and vector included.
pub const COLUMNS_MAX: usize = 1_024;
/// Most vector columns in a schema, the one included that is never null.
pub const VECTOR_COLUMNS_MAX: usize = 8;
/// Most rows or ids in one unary write.
pub const WRITE_ROWS_MAX: usize = 100_000;
/// Most bytes that the rows of one write may become, spelt out in all columns of the dataset.
pub const WRITE_BYTES_MAX: usize = 256 << 20;
/// Most ids in one fetch.
pub const FETCH_IDS_MAX: usize = 10_000;
/// Largest k of a search.
pub const K_MAX: usize = 10_000;
/// Largest k that a shard is asked for: a search near a row asks for that row too, and leaves it out.
pub const SHARD_K_MAX: usize = K_MAX + 1;
/// Largest ef of a search.
pub const EF_MAX: usize = 100_000;
/// Most partitions of a dataset.
pub const PARTITIONS_MAX: u32 = 1_024;
/// Partitions of a dataset when none are asked for.
pub const PARTITIONS_DEFAULT: u32 = 4;
/// Largest log command, header and body together.
pub const COMMAND_BYTES_MAX: usize = 8 << 20;
/// Largest message a public native API call may send.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// Largest Arrow Flight message.
pub const FLIGHT_MESSAGE_BYTES_MAX: usize = 512 << 20;
/// Largest ticket, criteria or body of an action.
pub const FLIGHT_REQUEST_BYTES_MAX: usize = 16 << 20;
/// Most bytes of answers that one `VectorSearch` may give, all its query vectors together.
pub const FLIGHT_ANSWER_BYTES_MAX: usize = 512 << 20;
/// Deepest nesting of a filter.
pub const FILTER_DEPTH_MAX: usize = 32;
/// Most nodes in a filter.
pub const FILTER_NODES_MAX: usize = 1_024;
/// Most values of a membership filter.
pub const FILTER_VALUES_MAX: usize = 10_000;
/// Most values in all of a filter, those of lists counted one by one.
pub const FILTER_VALUES_TOTAL_MAX: usize = 100_000;
/// Longest pattern of a filter, in bytes.
pub const FILTER_PATTERN_BYTES_MAX: usize = 1_024;
/// Most log groups that one token may name.
pub const TOKEN_GROUPS_MAX: usize = 64;
