//! The way out: questions about stored traces, answered from blocks and live data alike.
//!
//! ```text
//! parse → check → plan → prune → scan → evaluate → combine → answer
//! ```
//!
//! Each question has a file that shows its path on one screen: `search`, `trace_by_id`, `tags`. They share:
//!
//! - `eval`: TraceQL over span batches, column by column;
//! - `concurrent`: several reads at a time;
//! - `scan`: which rows of a source are read, and where they stand;
//! - `parts`, `merge`: traces whose spans lie in several sources.
//!
//! Knows TraceQL and the span table; knows no protocol and no file format.

pub mod answer;
pub mod request;

mod querier;

mod search;
mod tags;
mod trace_by_id;

mod legacy;

mod concurrent;
mod eval;
mod merge;
mod parts;
mod scan;

mod config;
mod error;
mod telemetry;

#[cfg(test)]
mod testing;

pub use config::Config;
pub use error::Error;
pub use querier::{Querier, Sources};
