//! Which of a thousand blocks may have a trace: so that a look-up opens few of them, and asks the store for little.
//!
//! ```text
//! make                                                     ask
//! made by `crate::trace_mapper`                             trace id ─▶ read    header (kept), one bucket (kept)
//!                                                                         │
//!             format    ◀──────────── hash of an id ─▶ blocks ────────────┘
//! ```
//!
//! A map is an object `<tenant>/trace-maps/<id>.map` that the manifest names. It is made after the blocks were published,
//! from their `traces.parquet`, and never changed: a larger one takes its place. What no map has (the newest blocks, and
//! blocks whose traces could not be read) is opened to be asked.
//!
//! Order of writes: the map is stored, then one commit names it and drops those that it replaces. What no manifest names
//! any more, or never did, is deleted by [`crate::garbage`]. A map may name a block too many and never one too few; without
//! it, or with a damaged one, its blocks are asked themselves.

pub(crate) mod format;
mod read;

pub(crate) use read::{TraceMap, TraceMapCache};
