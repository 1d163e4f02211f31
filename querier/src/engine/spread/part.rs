//! A job of another node, until it is done there or has come back.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prost::Message;
use storage::ids::NodeId;
use storage::source::Source;
use tracing::debug;

use super::deal::Numbered;
use crate::engine::budget::Budget;
use crate::error::Error;
use crate::jobs::message::{BlockToRead, Job, JobAnswer};
use crate::jobs::{JOB_VERSION, JobError, Workers, ids};
use crate::lock::locked;
use crate::telemetry::{JobOutcome, Telemetry};

/// How often a job is given away before it is done here: who has failed twice waits no more.
const MOST_NODES: usize = 2;
/// After so long, and a second for each [`LATE_BYTES_PER_SECOND`] of its blocks, a job is late and goes to the next node. Much
/// longer than a node takes that does nothing else; a few times what one takes that is as busy as this one.
const LATE_AFTER: Duration = Duration::from_secs(2);
const LATE_BYTES_PER_SECOND: u64 = 32 << 20;
/// The most that a job may have as it is sent: one that names more traces is done here.
const MOST_JOB_BYTES: usize = 2 << 20;

/// Bytes of blocks that each node looks at now, for all queries of this process.
#[derive(Default)]
pub(super) struct UnderWay(Mutex<HashMap<NodeId, u64>>);

impl UnderWay {
    pub fn bytes(&self, node: &NodeId) -> u64 {
        locked(&self.0).get(node).copied().unwrap_or_default()
    }

    fn add(&self, node: NodeId, bytes: u64) -> Counted<'_> {
        *locked(&self.0).entry(node).or_default() += bytes;
        Counted { all: self, node, bytes }
    }
}

struct Counted<'a> {
    all: &'a UnderWay,
    node: NodeId,
    bytes: u64,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let mut all = locked(&self.all.0);
        if let Some(bytes) = all.get_mut(&self.node) {
            *bytes -= self.bytes;
            if *bytes == 0 {
                all.remove(&self.node);
            }
        }
    }
}

/// Blocks that another node is to look at.
pub(crate) struct Part<'s> {
    pub sources: Vec<Numbered<'s>>,
    workers: &'s dyn Workers,
    under_way: &'s UnderWay,
    /// In the order in which they are asked.
    nodes: Vec<NodeId>,
}

impl<'s> Part<'s> {
    pub(super) fn new(
        workers: &'s dyn Workers,
        under_way: &'s UnderWay,
        nodes: Vec<NodeId>,
        sources: Vec<Numbered<'s>>,
    ) -> Self {
        Self { sources, workers, under_way, nodes }
    }

    /// The job without a question; `without` gives the traces of a source that are not to be looked at, ascending.
    pub fn job(&self, without: impl Fn(usize, &Arc<dyn Source>) -> Vec<u8>) -> Job {
        let block = |(number, source): &Numbered<'_>| {
            let (tenant, entry) = source.stored()?;
            let deleted = source.deleted_traces().map(|deleted| ids(deleted.iter())).unwrap_or_default();
            let without = without(*number, source);
            Some(BlockToRead { tenant: tenant.to_string(), entry: entry.encode(), deleted, without })
        };
        Job {
            version: JOB_VERSION,
            blocks: self.sources.iter().filter_map(block).collect(),
            search: None,
            metrics: None,
        }
    }

    /// What `read` makes of the answer to a job; `None` when it is to be done here. What it has cost is counted for the query.
    ///
    /// # Errors
    /// When the query has spent with it what it may.
    pub async fn run<T>(
        &self,
        job: &Job,
        budget: &Budget,
        telemetry: &Telemetry,
        read: impl Fn(&JobAnswer) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        if job.blocks.len() != self.sources.len() || job.encoded_len() > MOST_JOB_BYTES {
            return Ok(None);
        }
        let bytes: u64 = self.sources.iter().map(|(_, source)| source.size_bytes()).sum();
        let late_after = LATE_AFTER + Duration::from_secs(bytes / LATE_BYTES_PER_SECOND);
        for node in self.nodes.iter().take(MOST_NODES) {
            let _under_way = self.under_way.add(*node, bytes);
            let done = self.workers.run(*node, job, late_after).await;
            let done = done.and_then(|answer| {
                let result = read(&answer);
                let unreadable = |error| JobError::Node(format!("its answer cannot be read: {error}"));
                Ok((result.map_err(unreadable)?, answer))
            });
            match done {
                Ok((result, answer)) => {
                    telemetry.job(JobOutcome::Done);
                    self.count(&answer, budget)?;
                    return Ok(Some(result));
                }
                Err(error @ JobError::Job(_)) => {
                    telemetry.job(JobOutcome::Refused);
                    debug!(%node, %error, "a job is done here");
                    return Ok(None);
                }
                Err(error) => {
                    telemetry.job(JobOutcome::Failed);
                    debug!(%node, %error, "a job was not done by a node");
                }
            }
        }
        Ok(None)
    }

    fn count(&self, answer: &JobAnswer, budget: &Budget) -> Result<(), Error> {
        for (position, (_, source)) in self.sources.iter().enumerate() {
            match answer.left_out.contains(&(position as u32)) {
                true => budget.leave_out(source.block_id(), &Error::damaged("of a block, as another process found")),
                false => budget.count_source(),
            }
        }
        budget.count_elsewhere(&answer.spent())
    }
}

/// The sources of a job that this process does, in the order of its blocks.
pub(crate) struct JobSources(pub Vec<Arc<dyn Source>>);

impl JobSources {
    /// What the job has cost, without what it found.
    pub fn answer(&self, budget: &Budget) -> Result<JobAnswer, Error> {
        let is_left_out = |source: &&Arc<dyn Source>| budget.is_left_out(source.block_id());
        let left_out = self.0.iter().filter(is_left_out).map(|source| self.position(source));
        Ok(JobAnswer::of(&budget.spent(), left_out.collect::<Result<_, Error>>()?))
    }

    /// The place of a block in the job.
    pub fn position(&self, source: &Arc<dyn Source>) -> Result<u32, Error> {
        let position = self.0.iter().position(|other| other.block_id() == source.block_id());
        position.map(|position| position as u32).ok_or_else(|| Error::damaged("of a job"))
    }
}
