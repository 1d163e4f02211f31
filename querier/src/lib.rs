//! The way out: questions about stored traces, answered from blocks and live data alike.
//!
//! ```text
//! parse → check → plan → prune → scan → evaluate → combine → answer
//! ```
//!
//! Each question has a file that shows its path on one screen: `search`, `metrics`, `trace_by_id`, `tags`. They share:
//!
//! - `eval`: TraceQL over span batches, column by column;
//! - `finder`: which spans match, for a filter or a pipeline;
//! - `plan`, `reading`: the sources of a query, and traces that lie in several of them;
//! - `budget`: what a query spends, and what it could not read; `question`: how it is counted and logged;
//! - `memory`, `turns`: what all queries share, and how they wait for each other;
//! - `concurrent`: several reads at a time;
//! - `prune`, `candidates`: what a source says before it is opened, and which of its traces are left;
//! - `selection`, `series`: which spans of a batch count, and the numbers that metrics make of them;
//! - `cancellation`: how evaluation ends when nobody waits any more;
//! - `scan`: which rows of a source are read, and where they stand;
//! - `parts`, `merge`: putting the parts of a trace together.
//!
//! `explain` says what a query would read, without running it.
//!
//! Knows TraceQL and the span table; knows no protocol and no file format.

pub mod answer;
pub mod request;

mod querier;
mod question;

mod metrics;
mod search;
mod tags;
mod trace_by_id;

pub mod explain;
mod legacy;

mod finder;
mod plan;
mod reading;
mod split;

mod budget;
mod cancellation;
mod candidates;
mod concurrent;
mod eval;
mod mask;
mod memory;
mod merge;
mod parts;
mod prune;
mod scan;
mod scans;
mod selection;
mod series;
mod turns;

mod config;
mod error;
mod telemetry;

#[cfg(test)]
mod slow;
#[cfg(test)]
mod testing;

pub use config::Config;
pub use error::Error;
pub use metrics::Intervals;
#[cfg(feature = "testing")]
pub use metrics::aggregation;
pub use querier::Querier;
