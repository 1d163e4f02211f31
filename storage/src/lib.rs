//! Everything at rest: the log of requests that are not yet in a block, the blocks, and the list of those that exist.
//!
//! ```text
//! request ──> wal ──────────────────────────────> replay at start
//!              │ segment dropped when its spans are in blocks that a manifest names
//! rows ──> block files ──> objects ──> manifest ──> snapshot for queries
//! ```
//!
//! Owns files, keys, formats and their durability. Does not know requests, queries, or when something is due.

pub mod block;
pub mod bucket_log;
pub mod cache;
mod clock;
pub mod coded;
pub mod compaction;
pub mod config;
pub mod continued;
pub mod cpu;
pub mod damage;
pub mod deletion;
pub mod durable;
pub mod error;
mod exact;
pub mod garbage;
pub mod ids;
pub mod incarnation;
pub mod index;
pub mod lock;
pub mod manifest;
pub mod members;
pub mod memory;
pub mod memory_budget;
pub mod nodes;
pub mod objects;
pub mod paths;
pub mod publish_deadline;
pub mod rendezvous;
pub mod retention;
pub mod rollup;
pub mod source;
pub mod telemetry;
pub mod tempo;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod trace_ids;
mod trace_map;
pub mod trace_mapper;
pub mod upkeep_share;
pub mod user_overrides;
mod varint;
pub mod view;
pub mod wal;

pub use config::Config;
pub use cpu::CpuPool;
pub use error::Error;
pub use memory::MemorySource;
pub use memory_budget::MemoryBudget;
pub use source::{Dimensions, Projection, RowGroup, Source, TraceAt, TracePart};
pub use telemetry::Telemetry;
pub use trace_ids::{TraceHash, TraceIds};
