//! A block: the spans of one tenant in Parquet files, immutable once published.
//!
//! ```text
//! <tenant>/blocks/<block-id>/spans.parquet      one row a span, attribute columns beside the rest list
//!                            traces.parquet     one row a trace
//!                            resources.parquet  one row a distinct resource
//!                            scopes.parquet     one row a distinct instrumentation scope
//!                            index.bundle       which pages hold which values; see [`crate::index`]
//!                            meta.json          what the block holds, size and checksum of each file
//! ```
//!
//! Columns are those of [`spans::schema`]. A block exists from the moment that a manifest names it: files are written
//! first, in the order above, then the manifest is committed; see [`crate::manifest`].

mod fetch;
mod footer;
mod inspect;
mod meta;
mod properties;
mod reader;
mod row_group;
mod verify;
mod whole;
mod writer;

#[cfg(test)]
mod tests;

pub use inspect::{Column, Inspection, RowGroup, inspect};
pub use meta::{BlockMeta, FileMeta};
pub use reader::{BlockCache, BlockSource};
pub use verify::Verifier;
pub(crate) use whole::WholeBlock;
pub(crate) use writer::{BlockWriter, ROW_GROUP_ROWS, SpansLayout};
pub use writer::{EncodedBlock, encode};
