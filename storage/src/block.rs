//! A block: the spans of one tenant in Parquet files, immutable once published.
//!
//! ```text
//! <tenant>/blocks/<block-id>/spans.parquet      one row a span, attribute columns beside the rest list
//!                            traces.parquet     one row a trace
//!                            resources.parquet  one row a distinct resource
//!                            scopes.parquet     one row a distinct instrumentation scope
//!                            index.bundle       which pages hold which values; see [`crate::index`]
//!                            directory.bundle   where row groups and traces stand; see `directory`
//!                            meta.json          what the block holds, size and checksum of each file
//! ```
//!
//! Columns are those of [`spans::schema`]. A block exists from the moment that a manifest names it: files are written
//! first, in the order above, then the manifest is committed; see [`crate::manifest`].

mod cache;
mod chunks;
mod columns;
mod content;
mod directory;
mod encode;
mod encoded_chunk;
mod fetch;
mod footer;
mod group_traces;
mod inspect;
mod meta;
mod open_block;
mod pages;
mod properties;
mod reader;
mod row_group;
mod trace_ids;
mod verify;
mod version1;
mod whole;
mod writer;

#[cfg(test)]
mod tests;

pub use cache::BlockCache;
pub(crate) use cache::PageCache;
pub use encode::{encode, encode_tables};
pub use inspect::{Column, Inspection, RowGroup, inspect};
pub use meta::{BlockMeta, FileMeta};
pub(crate) use properties::ROW_GROUP_ROWS;
pub use reader::BlockSource;
pub(crate) use row_group::EncodedColumns;
pub use verify::Verifier;
pub(crate) use whole::WholeBlock;
pub(crate) use writer::{BlockWriter, SpansLayout};
pub use writer::{Continued, EncodedBlock};
