//! Jobs of queries, given to other processes and done for them: see [`querier::jobs`].

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use model::{ErrorKind, TenantId, TraceId};
use object_store::ObjectStore;
use prost::Message;
use querier::Querier;
use querier::jobs::message::{BlockToRead, Job, JobAnswer};
use querier::jobs::{JOB_VERSION, JobError, Workers};
use storage::CpuPool;
use storage::block::{BlockCache, BlockSource};
use storage::deletion::hiding;
use storage::ids::NodeId;
use storage::manifest::BlockEntry;
use storage::nodes::{Node, Nodes, Role};
use storage::source::Source;
use tracing::debug;

use crate::grpc::GrpcPeers;
use crate::question::PeerError;
use crate::wire::{self, damaged};

/// How old a list of nodes may be that a query is dealt out by. A node that is new waits so long for its first job.
const NODES_VALID_FOR: Duration = Duration::from_secs(10);
const ID_BYTES: usize = 16;

/// The processes of a cluster that take jobs, as one of them knows them.
pub struct ClusterWorkers {
    own: Arc<Node>,
    nodes: Arc<Nodes>,
    peers: Arc<GrpcPeers>,
}

impl ClusterWorkers {
    pub fn new(own: Arc<Node>, nodes: Arc<Nodes>, peers: Arc<GrpcPeers>) -> Self {
        Self { own, nodes, peers }
    }

    async fn all(&self) -> Arc<[Arc<Node>]> {
        let listed = self.nodes.all(NODES_VALID_FOR).await;
        listed.unwrap_or_else(|error| {
            debug!(%error, "other processes are not known, a query is answered by this one");
            Arc::default()
        })
    }

    /// One that understands jobs as this one does, and answered when it was asked last.
    fn takes_jobs(&self, node: &Node) -> bool {
        let is_alike = node.build == self.own.build && node.jobs == JOB_VERSION;
        node.id != self.own.id && node.has(Role::Queries) && is_alike && self.peers.may_ask(&node.address)
    }
}

#[async_trait]
impl Workers for ClusterWorkers {
    fn own(&self) -> NodeId {
        self.own.id
    }

    async fn nodes(&self) -> Vec<NodeId> {
        self.all().await.iter().filter(|node| self.takes_jobs(node)).map(|node| node.id).collect()
    }

    async fn run(&self, node: NodeId, job: &Job, within: Duration) -> Result<JobAnswer, JobError> {
        let all = self.all().await;
        let node = all.iter().find(|known| known.id == node).ok_or_else(|| JobError::Node("it is gone".to_owned()))?;
        let answered = self.peers.call_within(within, wire::JOB, &node.address, job.clone()).await;
        let answer = answered.and_then(|bytes| JobAnswer::decode(bytes.as_slice()).map_err(damaged));
        answer.map_err(|error| match error {
            PeerError::OfQuery(reason) => JobError::Job(reason),
            error => JobError::Node(error.to_string()),
        })
    }
}

/// Does jobs for other processes.
#[derive(Clone)]
pub struct Worker {
    pub querier: Querier,
    pub objects: Arc<dyn ObjectStore>,
    pub cpu: CpuPool,
    pub cache: BlockCache,
}

impl Worker {
    /// # Errors
    /// [`PeerError::OfQuery`] where the query asks for too much.
    pub async fn run(&self, job: &Job) -> Result<JobAnswer, PeerError> {
        if job.version != JOB_VERSION {
            return Err(PeerError::Refused(format!("it knows jobs of version {JOB_VERSION}, not {}", job.version)));
        }
        let sources = job.blocks.iter().map(|block| self.source(block)).collect::<Result<_, _>>()?;
        self.querier.do_job(job, sources).await.map_err(|error| match error.kind() {
            ErrorKind::InvalidInput => PeerError::OfQuery(error.to_string()),
            _ => PeerError::Refused(error.to_string()),
        })
    }

    fn source(&self, block: &BlockToRead) -> Result<Arc<dyn Source>, PeerError> {
        let (tenant, entry) =
            (TenantId::parse(&block.tenant).map_err(damaged)?, BlockEntry::decode(&block.entry).map_err(damaged)?);
        let (ids, rest) = block.deleted.as_chunks::<ID_BYTES>();
        if !rest.is_empty() {
            return Err(damaged("ids of deleted traces"));
        }
        let deleted: HashSet<TraceId> = ids.iter().copied().map(TraceId).collect();
        let (objects, cpu, cache) = (self.objects.clone(), self.cpu.clone(), self.cache.clone());
        Ok(hiding(Arc::new(BlockSource::new(tenant, entry, objects, cpu, cache)), Arc::new(deleted)))
    }
}

#[cfg(test)]
mod tests;
