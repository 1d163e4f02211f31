//! Jobs of queries between simulated nodes: lost on their way, done and never heard of, done twice, or done while blocks are
//! published and merged.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use prost::Message;
use querier::jobs::message::{Job, JobAnswer};
use querier::jobs::{JobError, SpreadPolicy, Workers};
use storage::ids::NodeId;
use storage::incarnation::Incarnation;

use super::{Network, Plant, locked};

/// Everything that another node can read is dealt out.
pub const EVERYTHING: SpreadPolicy = SpreadPolicy { least_bytes: 0, newest_here: 0 };

/// The other nodes, as one of them sees them.
pub struct OtherNodes {
    pub network: Arc<Network>,
    pub own: Incarnation,
}

#[async_trait]
impl Workers for OtherNodes {
    fn own(&self) -> NodeId {
        NodeId(self.own.0)
    }

    /// Also those that are gone: a list may be old.
    async fn nodes(&self) -> Vec<NodeId> {
        let known = locked(&self.network.known).clone();
        known.into_iter().filter(|incarnation| *incarnation != self.own).map(|one| NodeId(one.0)).collect()
    }

    async fn run(&self, node: NodeId, job: &Job, _within: Duration) -> Result<JobAnswer, JobError> {
        let network = &self.network;
        let lost = |probability| match network.happens(probability) {
            true => Err(JobError::Node("the message was lost".to_owned())),
            false => Ok(()),
        };
        lost(0.05)?;
        let reachable = network.find(&Incarnation(node.0)).map_err(|error| JobError::Node(error.to_string()))?;
        network.meanwhile(&reachable).await;
        let mut job = Job::decode(job.encode_to_vec().as_slice()).map_err(|error| JobError::Job(error.to_string()))?;
        if network.plant == Some(Plant::SplitTracesDoneTwice) {
            job.blocks.iter_mut().for_each(|block| block.without.clear());
        }
        if network.happens(0.1) {
            _ = reachable.worker.run(&job).await; // nobody hears of it
        }
        let answer = reachable.worker.run(&job).await.map_err(|error| JobError::Node(error.to_string()))?;
        network.meanwhile(&reachable).await;
        lost(0.05)?;
        *locked(&network.jobs_done) += 1;
        JobAnswer::decode(answer.encode_to_vec().as_slice()).map_err(|error| JobError::Node(error.to_string()))
    }
}
