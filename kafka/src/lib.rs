//! A consumer of Kafka topics: records come at least once, and offsets are committed when the caller says so.
//!
//! ```text
//! consumer.rs  Consumer::poll ─▶ group.rs: join, heartbeats, offsets ─▶ assign.rs: who reads what (pure)
//!                 │
//!                 └─▶ cluster.rs: which broker leads which partition ─▶ connection.rs: tls.rs, sasl.rs, request → response
//!                                                                        messages.rs, wire.rs: what is said, byte by byte
//! records.rs   what a fetch brought → records, records/unpack.rs
//! ```
//!
//! It speaks the versions of the protocol that brokers from 2.1 to 4 have in common, so none of them has to be asked which
//! to take. A record batch is read as it is committed: what an open or aborted transaction wrote is seen, as clients do by
//! default. Batches older than Kafka 0.11, which no broker of today writes, are reported as damaged.

pub mod config;

mod consumer;
mod group;

mod assign;
mod cluster;
mod connection;
mod sasl;
mod tls;

mod messages;
mod records;
mod wire;

mod error;

pub use config::{Config, Mechanism, Sasl, Start};
pub use consumer::{Consumer, Polled};
pub use error::{Error, ErrorCode};
pub use records::{Damaged, Place, Record};
pub use tls::{Tls, TlsError};
