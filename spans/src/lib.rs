//! The span table: spans as Arrow columns, the one shape that live data, blocks and queries share.
//!
//! ```text
//! OTLP bytes ──decode──▶ builder ──▶ SpanTable ──combine──▶ SpanTable ──encode──▶ OTLP
//! ```
//!
//! Knows OTLP messages and Arrow; knows no file, no query and no network.

pub mod schema;

mod decode;
mod strings;
mod wire;

#[cfg(any(test, feature = "testing"))]
pub mod testing;

mod absent;
mod align_schema;
mod arrays;
mod builder;
mod by_id;
mod columns_to_list;
mod copies;
mod encode;
mod error;
mod keys;
mod merge;
mod nested;
mod parent_link;
mod promote;
mod sampling;
mod screen;
mod services;
mod size;
mod table;
mod traces;
mod tree;

pub use absent::{JOINED_COLUMNS, with_absent_columns};
pub use arrays::{ArrayElement, array_elements};
pub use builder::{Mark, TableBuilder};
pub use by_id::ById;
pub use columns_to_list::columns_to_list;
pub use decode::{RequestSummary, check};
pub use encode::{Encoded, encode, encode_with_rows};
pub use error::Error;
pub use keys::{attribute_keys, batch_keys, batch_memory_bytes, list_keys, span_keys};
pub use merge::{Copies, MergedTable, SharedDimensions, merge_dimensions, merge_tables, merge_tables_while};
pub use promote::Promotion;
pub use sampling::adjusted_count;
pub use screen::{TraceShare, Truncated, traces as trace_shares, truncate_attributes, without_traces};
pub use services::service_names;
pub use size::span_sizes;
pub use table::{SpanTable, Traces, column, replace, u32s};
pub use tree::{NestedSet, nested_sets};

#[cfg(test)]
mod tests;
