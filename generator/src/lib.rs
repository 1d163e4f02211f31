//! Metrics made from spans: span metrics and the service graph, in the series that Tempo's metrics generator makes.
//!
//! ```text
//! live table ─▶ select: once each, not too late ─┬─▶ span metrics ──┬─▶ registry: series and limits ─┬─▶ /metrics/generated
//!                                                ├─▶ service graph ─┤      of each tenant            └─▶ remote write:
//!                                                └─▶ host info ─────┘                                    queue ─▶ targets
//! ```
//!
//! [`Generator::take`] counts a table, whole columns at a time; [`Generator::collect`] hands on what was counted. The two
//! halves of a call are paired by ids, in one table or in two that come minutes apart.
//!
//! A [`ServiceMapper`] adds up the calls of stored traces by the same rules, without series, and a [`History`] makes the series
//! of stored spans.
//!
//! What was counted survives the process with how far in the log it was counted (`checkpoint.rs`).
//!
//! Knows span tables and series; only `checkpoint` and `remote_write` do IO.

mod checkpoint;
mod config;
mod generator;
mod history;
mod state;

mod copies;
mod memory;
mod selection;

mod drain;
mod filter;
mod interner;
mod multiplier;
mod service_graph;
mod span_metrics;

mod buckets;
mod durations;
mod exposition;
mod labels;
mod limits;
mod registry;

pub mod remote_write;

mod columns;
mod error;
mod names;
mod telemetry;

#[cfg(test)]
mod testing;

pub use buckets::{Buckets, BucketsError};
pub use checkpoint::Checkpoints;
pub use config::{
    DEFAULT_WAIT, DimensionMapping, Histograms, HostInfo, IntrinsicDimensions, NameFolding, Processor, ServiceGraphs,
    SpanMetrics, TenantConfig,
};
pub use durations::Durations;
pub use error::Error;
pub use exposition::Format;
pub use filter::{FilterPolicy, MatchType, PolicyAttribute, PolicyMatch, PolicyValue};
pub use generator::{Config, Generator};
pub use history::History;
pub use limits::Limits;
pub use memory::DEFAULT_MEMORY_BYTES;
pub use registry::NativeBuckets;
pub use service_graph::{Connection, ConnectionStats, Node, NodeKind, ServiceMap, ServiceMapper};
pub use state::{Checkpoint, Collection};
