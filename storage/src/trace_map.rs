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

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use format::TraceHash;
pub(crate) use read::{TraceMap, TraceMapCache};
pub use whole::{Fault, fault};
pub use worker::TraceMapper;

/// Names a trace map; time-ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TraceMapId(pub Uuid);

impl TraceMapId {
    pub(crate) fn generate() -> Self {
        Self(Uuid::now_v7())
    }
}

impl fmt::Display for TraceMapId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for TraceMapId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        Ok(Self(text.parse()?))
    }
}
