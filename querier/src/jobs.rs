//! What other processes are asked to do of a query: the seam, and the messages that cross it.
//!
//! A job is about single blocks, which never change: it is sent with what the manifest says of them, and no process needs to
//! have the manifest of another. Whoever asks evaluates traces that lie in several sources, put together; a job leaves these
//! out.
//!
//! - [`Workers`]: the other processes;
//! - `message`: jobs and what they give, as they are sent; `values`: what is in them, as queries have it;
//! - who gets which job, until it is done: `engine/spread.rs`;
//! - questions make jobs and do them, each beside its own path: `search/elsewhere.rs`, `metrics/elsewhere.rs`.

pub mod message;
mod values;

use std::time::Duration;

use async_trait::async_trait;
use storage::ids::NodeId;

pub(crate) use values::{attributes, ids, ids_of, named, trace_id, unreadable};

use self::message::{Job, JobAnswer};

/// Of jobs and their answers. A node of another version is given none: a query is answered by one version, while processes
/// of two run beside each other.
pub const JOB_VERSION: u32 = 2;

/// The other processes that look at blocks for queries of this one.
#[async_trait]
pub trait Workers: Send + Sync {
    /// This process among them.
    fn own(&self) -> NodeId;

    /// The others that may be given jobs now; none where they are not known.
    async fn nodes(&self) -> Vec<NodeId>;

    /// Has a node do a job within this time. Dropping the call ends the work there, too.
    ///
    /// # Errors
    /// When the node has not done it by then.
    async fn run(&self, node: NodeId, job: &Job, within: Duration) -> Result<JobAnswer, JobError>;
}

/// Why a node has not done a job.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// Another node may do it.
    #[error("the node does not do it: {0}")]
    Node(String),
    /// So would any node, but for the one that asks, which can say more about it.
    #[error("the job cannot be done: {0}")]
    Job(String),
}

/// From when on, and how, a query is dealt out.
#[derive(Debug, Clone, Copy)]
pub struct SpreadPolicy {
    /// Bytes of blocks below which they are looked at here. Of 32 MiB a query reads some columns, in tens of milliseconds of
    /// one core; a call to another process costs a few, and blocks that are not in its caches more.
    pub least_bytes: u64,
    /// The newest sources of a search that are looked at here, before others are asked: mostly they are all that is needed.
    pub newest_here: usize,
}

impl Default for SpreadPolicy {
    fn default() -> Self {
        Self { least_bytes: 32 << 20, newest_here: 4 }
    }
}
