//! The live rows of other processes: several writers over one store answer as one.
//!
//! ```text
//! ClusterViews ─▶ own rows ─▶ manifest M ─▶ each writer of a members view: "your rows beyond M's watermark of yours"
//!      │                                          │
//!      │            rows │ gone: use manifest m │ no answer: the view says whose rows are missing
//!      ▼                                          ▼
//! TenantView: own rows, blocks of M, PeerSource ──fetch once──▶ table, kept (cache)
//!
//! Holder (at the writer): LiveRows ─▶ tables beyond a watermark; of one trace, its spans alone
//! ```
//!
//! Each row is in a view once: it is in the blocks of M, or its writer says that it is beyond M's watermark. Rows that have
//! left the memory of their writer, because a manifest newer than M has them, are told apart by the number of that manifest.
//!
//! A writer that does not answer and whose log is on the bucket is read from there (`logged`).
//!
//! - `question`: what is asked and answered, without a wire; `holder`: who answers; `views`: who asks;
//! - `source`: rows of another process as a [`storage::Source`]; queries know nothing else of peers;
//! - [`Peers`]: what asks go over. [`GrpcPeers`] (`grpc`) is the one of processes, tests have others;
//! - `wire`: its messages; `server`: its other end; `transport`: what both lie on.
//!
//! Halves of calls that the metrics generators of processes ask each other for go over the same connections; what is in the
//! messages is known to the generator alone.
//!
//! Knows live rows, manifests and members; knows no query. Nobody is authenticated: a listener belongs in a network that only
//! the processes of one cluster reach.

mod grpc;
mod holder;
mod logged;
mod question;
mod server;
mod source;
mod telemetry;
mod transport;
mod views;
mod watch;
mod wire;
mod worker;

use std::sync::Arc;

use async_trait::async_trait;
use model::TenantId;
use spans::SpanTable;
use storage::members::Record;
use storage::view::TableId;

pub use grpc::GrpcPeers;
pub use holder::Holder;
pub use logged::Logged;
pub use question::{Answer, Listed, PeerError, Question, Rows};
pub use server::Server;
pub use source::TableCache;
pub use telemetry::Telemetry;
pub use transport::{Dial, Socket};
pub use views::ClusterViews;
pub use watch::{Hello, UpkeepWatch};
pub use worker::{ClusterWorkers, Worker};

/// Reaches the writers of a cluster. Every call ends within a time of its own, and is over when it is dropped.
#[async_trait]
pub trait Peers: Send + Sync {
    /// Which live rows a writer has.
    ///
    /// # Errors
    /// When the writer has not answered: nothing is known of its rows then.
    async fn live(&self, writer: &Record, question: &Question) -> Result<Answer, PeerError>;

    /// Whether a writer answers, whatever it has.
    ///
    /// # Errors
    /// When it has not answered.
    async fn hear(&self, writer: &Record) -> Result<(), PeerError> {
        match self.live(writer, &Question::of_nothing(writer.incarnation)).await {
            Ok(_) | Err(PeerError::NotWhole) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The rows of a table that a writer has listed; `None` when it has them no more.
    ///
    /// # Errors
    /// When the writer has not answered.
    async fn table(&self, writer: &Record, tenant: &TenantId, id: TableId) -> Result<Option<SpanTable>, PeerError>;

    /// What the metrics generator of a writer answers.
    ///
    /// # Errors
    /// When the writer has not answered, or makes no metrics.
    async fn halves(&self, _writer: &Record, _question: Vec<u8>) -> Result<Vec<u8>, PeerError> {
        Err(PeerError::Refused("it makes no metrics".to_owned()))
    }
}

/// Answers for the metrics generator of this process. CPU work.
pub type AnswerHalves = Arc<dyn Fn(&[u8]) -> Vec<u8> + Send + Sync>;
