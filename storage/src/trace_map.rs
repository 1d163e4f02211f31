//! Which of a thousand blocks may have a trace: so that a look-up opens few of them, and asks the store for little.
//!
//! ```text
//! make                                                     ask
//! manifest ─▶ planner   blocks without a map, small maps    trace id ─▶ read    header (kept), one bucket (kept)
//!             worker    their trace ids ─▶ one object                     │
//!             format    ◀──────────── hash of an id ─▶ blocks ────────────┘
//!             whole     all of a map, to merge it or to compare it with its blocks
//! ```
//!
//! A map is an object `<tenant>/trace-maps/<id>.map` that the manifest names. It is made after the blocks were published,
//! from their `traces.parquet`, and never changed: a larger one takes its place. What no map has (the newest blocks, and
//! blocks whose traces could not be read) is opened to be asked.
//!
//! Order of writes: the map is stored, then one commit names it and drops those that it replaces. What no manifest names
//! any more, or never did, is deleted by [`crate::garbage`]. A map may name a block too many and never one too few; without
//! it, or with a damaged one, its blocks are asked themselves.

mod format;
mod planner;
mod read;
mod whole;
mod worker;

#[cfg(test)]
mod tests;

pub use format::TraceHash;
pub(crate) use read::{TraceMap, TraceMapCache};
pub use whole::{Fault, fault};
pub use worker::TraceMapper;
