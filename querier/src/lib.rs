//! The way out: questions about stored traces, answered from blocks and live data alike.
//!
//! ```text
//! parse → check → plan → prune → scan → evaluate → combine → answer
//! ```
//!
//! Each question has a file that shows its path on one screen: `search`, `metrics`, `trace_by_id`, `tags`, and `summary` for
//! what others make of whole traces. From the bottom:
//!
//! - `request`, `answer`, `intervals`: what is asked and what is said, as data;
//! - `eval`: TraceQL over span batches, column by column; `series`: the numbers that metrics make; `shown`: the values that
//!   an answer shows of a span;
//! - `engine`: the sources of a query, pruned, read and matched within a budget, and traces put together that lie in several;
//! - `jobs`: blocks of a query that other processes look at;
//! - `tenants`: the sources of several tenants as those of one;
//! - the questions, each on the engine;
//! - `querier`: the questions that can be asked, with deadline, count and line in the log (`query_log`); `objectives`:
//!   whether they were answered as soon as they should be.
//!
//! `explain` says what a query would read, without running it.
//!
//! Knows TraceQL and the span table; knows no protocol and no file format.

pub mod answer;
mod intervals;
pub mod request;

mod querier;
mod query_log;

pub mod explain;
mod legacy;
mod metrics;
mod search;
mod summary;
mod tags;
mod trace_by_id;

mod engine;
pub mod jobs;
mod tenants;

mod eval;
mod series;
mod shown;

mod cancellation;
mod config;
mod error;
mod lock;
mod mask;
mod objectives;
mod telemetry;

#[cfg(test)]
mod slow;
#[cfg(test)]
mod testing;

pub use crate::intervals::Intervals;
pub use arrow::buffer::BooleanBuffer as Matches;
pub use config::Config;
pub use error::{Error, SummarizeError};
#[cfg(feature = "testing")]
pub use metrics::aggregation;
pub use objectives::{Objective, Objectives};
pub use querier::{Asked, Querier};
pub use spans::SpanTable;
pub use storage::source::Projection;
pub use summary::Summarize;
