//! The way in: a request is logged, applied and acknowledged; later its spans become a block.
//!
//! ```text
//!            push ──▶ log writer ──▶ applier ──▶ live rows ──cut──▶ flusher ──▶ block, manifest
//!                     append, sync    rows, ack      ▲    │                        │
//!                         ▲                          │    └─full chunks─▶ sorter   │
//!                         │                          └── recovery (at start)       │
//!                         └────────────────────── remove segments ◀────────────────┘
//! ```
//!
//! Log writer and applier are threads, each owning its state; they work on a request at the same time. Flusher and sorter
//! are tasks. What all of them share is in `state.rs`, what they tell each other in `command.rs`. A cut travels the same way
//! as the requests, so what lies in the closed log segments is exactly what the cut rows hold. Tables that are full or some
//! seconds old are handed to whoever counts spans (`feed.rs`).
//!
//! The log lies on a disk, or on the bucket (`log.rs`), or is shipped from the one to the other (`ship.rs`); what a writer left
//! there that is gone, another adopts (`adopt.rs`).
//!
//! Knows the log, the span table and blocks; knows no protocol.

mod adopt;
mod apply;
mod command;
mod config;
mod cut;
mod error;
mod feed;
mod flush;
mod live;
mod log;
mod log_writer;
mod push;
mod rates;
mod recover;
mod screen;
mod ship;
mod sort;
mod state;
mod stores;
mod telemetry;
mod trace_limits;
mod unavailable;

pub use adopt::Adopter;
pub use config::Config;
pub use error::Error;
pub use feed::{Barrier, Fed, Feed};
pub use live::LiveSpans;
pub use log::OpenedLog;
pub use push::{Accepted, Ingester};
pub use state::Readiness;
pub use stores::Storage;
