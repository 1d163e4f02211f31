//! Blocks of a query that other processes look at, so that a large query has the processors of all.
//!
//! ```text
//! sources of a query ─▶ deal ─┬▶ here: what is live, what others cannot read, this node's share
//!                             └▶ a job for each other node ─▶ Workers ─▶ what it found, merged by the question
//!                                       late, failed ─▶ the next node ─▶ here
//! ```
//!
//! A block belongs to the first node in rendezvous order that is not loaded above the others, so that the same node mostly
//! has it in its caches. Whoever asks evaluates traces that lie in several sources, put together; a job leaves these out.
//! So a job is about single blocks, which never change: it is sent with what the manifest says of them, and no process needs
//! to have the manifest of another.
//!
//! - [`Workers`]: the other processes. Without any, nothing of this is done or paid;
//! - `message`: jobs and what they give, as they are sent; `deal`: who gets what; `part`: a job until it is done;
//! - questions make jobs and do them, each beside its own path: `search/elsewhere.rs`, `metrics/elsewhere.rs`.

mod deal;
pub mod message;
mod part;
mod values;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use storage::ids::NodeId;

pub(crate) use deal::Dealt;
pub(crate) use part::{JobSources, Part};
pub(crate) use values::{attributes, ids, ids_of, named, trace_id, unreadable};

use self::message::{Job, JobAnswer};
use self::part::UnderWay;

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

/// What of the queries of this process others do.
#[derive(Default)]
pub(crate) struct Jobs {
    spread: OnceLock<Spread>,
}

struct Spread {
    workers: Arc<dyn Workers>,
    policy: SpreadPolicy,
    under_way: UnderWay,
}

impl Jobs {
    /// From now on others take part. Only the first call counts.
    pub fn spread_over(&self, workers: Arc<dyn Workers>, policy: SpreadPolicy) {
        _ = self.spread.set(Spread { workers, policy, under_way: UnderWay::default() });
    }

    /// Whether nobody else takes part.
    pub fn is_alone(&self) -> bool {
        self.spread.get().is_none()
    }

    /// The newest sources of a search that are looked at before others are asked.
    pub fn newest_here(&self) -> usize {
        self.spread.get().map_or(0, |spread| spread.policy.newest_here)
    }
}

#[cfg(test)]
pub(crate) mod tests;
