//! Which processes of a cluster do work for each other, and where they are.
//!
//! ```text
//! cluster/nodes/<node-id>.json     put when the process starts, deleted when it stops
//! ```
//!
//! Apart from the records of writers ([`crate::members`]), which stay for as long as their writer may have live rows: a node
//! has nothing that others lack, so nothing but speed depends on this list. It may be old, have nodes that are gone, or lack
//! some. Who gives a node work sees whether it answers. What is said of a node that has not answered for a while anybody may
//! delete; one that lives says it again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use object_store::{ObjectStore, ObjectStoreExt};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::debug;

use crate::error::Error;
use crate::exact;
use crate::ids::NodeId;
use crate::paths;

/// Of the record. Fields may be added without another version.
const VERSION: u32 = 1;
/// Records that are read at once.
const READ_CONCURRENCY: usize = 16;

/// What a node does for the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Looks at blocks for the queries of others.
    Queries,
    /// Merges and deletes blocks, and makes trace maps.
    Upkeep,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Queries => "queries",
            Self::Upkeep => "upkeep",
        }
    }
}

/// A process of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    version: u32,
    pub id: NodeId,
    /// Host and port where others ask it.
    pub address: String,
    /// Where it stands: the name of a zone, or nothing.
    #[serde(default)]
    pub zone: String,
    /// The version of the program.
    #[serde(default)]
    pub build: String,
    /// The version of the jobs that it understands.
    #[serde(default)]
    pub jobs: u32,
    /// Names that this program does not know are those of a later one.
    roles: Vec<String>,
}

impl Node {
    pub fn new(id: NodeId, address: String, zone: String, build: &str, jobs: u32, roles: &[Role]) -> Self {
        let roles = roles.iter().map(|role| role.name().to_owned()).collect();
        Self { version: VERSION, id, address, zone, build: build.to_owned(), jobs, roles }
    }

    pub fn has(&self, role: Role) -> bool {
        self.roles.iter().any(|name| name == role.name())
    }
}

/// Reads and writes what is said of nodes. What was read is remembered, for it does not change.
pub struct Nodes {
    objects: Arc<dyn ObjectStore>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    listed: Option<(Instant, Arc<[Arc<Node>]>)>,
    /// `None` for one that cannot be read: of a later program, or damaged.
    records: HashMap<NodeId, Option<Arc<Node>>>,
}

impl Nodes {
    pub fn new(objects: Arc<dyn ObjectStore>) -> Self {
        Self { objects, known: Mutex::default() }
    }

    /// Says where a node is.
    ///
    /// # Errors
    /// When the record cannot be put.
    pub async fn join(&self, node: &Node) -> Result<(), Error> {
        let key = paths::node(&node.id);
        let record = serde_json::to_vec(node).expect("texts and numbers have a form in JSON");
        self.objects.put(&key, record.into()).await.map(drop).map_err(Error::objects("write", &key))
    }

    /// Takes a node out of the list: it stops, or it has not answered for long.
    ///
    /// # Errors
    /// When the record may still be there.
    pub async fn remove(&self, id: &NodeId) -> Result<(), Error> {
        let key = paths::node(id);
        match self.objects.delete(&key).await {
            Err(object_store::Error::NotFound { .. }) => Ok(()),
            result => result.map_err(Error::objects("delete", &key)),
        }
    }

    /// All nodes, by id, as they were listed at most so long ago. Of many that ask at once, one lists.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub async fn all(&self, max_age: Duration) -> Result<Arc<[Arc<Node>]>, Error> {
        let mut known = self.known.lock().await;
        if let Some((_, nodes)) = known.listed.as_ref().filter(|(at, _)| at.elapsed() < max_age) {
            return Ok(nodes.clone());
        }
        let (begun, prefix) = (Instant::now(), paths::nodes());
        let listed = self.objects.list(Some(&prefix));
        let ids = listed.try_filter_map(|object| async move { Ok(paths::parse_node(&object.location)) });
        let mut ids: Vec<NodeId> = ids.try_collect().await.map_err(Error::objects("list nodes in", &prefix))?;
        ids.sort_unstable();
        known.records.retain(|id, _| ids.binary_search(id).is_ok());
        let new: Vec<NodeId> = ids.iter().filter(|id| !known.records.contains_key(id)).copied().collect();
        let reads = futures::stream::iter(new).map(|id| async move { (id, self.read(&id).await) });
        for (id, read) in reads.buffer_unordered(READ_CONCURRENCY).collect::<Vec<_>>().await {
            known.records.insert(id, read?);
        }
        let nodes: Arc<[Arc<Node>]> = ids.iter().filter_map(|id| known.records.get(id)?.clone()).collect();
        known.listed = Some((begun, nodes.clone()));
        Ok(nodes)
    }

    async fn read(&self, id: &NodeId) -> Result<Option<Arc<Node>>, Error> {
        let key = paths::node(id);
        let bytes = match exact::whole(self.objects.as_ref(), &key).await {
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            read => read.map_err(Error::objects("read", &key))?,
        };
        let node = serde_json::from_slice(&bytes).ok().filter(|node: &Node| node.version == VERSION && node.id == *id);
        if node.is_none() {
            debug!(%key, "what is said of a node cannot be read, it is left out");
        }
        Ok(node.map(Arc::new))
    }
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;
    use uuid::Uuid;

    use super::*;

    fn node(number: u128, roles: &[Role]) -> Node {
        Node::new(NodeId(Uuid::from_u128(number)), format!("10.0.0.{number}:4319"), String::new(), "1.2.3", 1, roles)
    }

    const NOW: Duration = Duration::ZERO;

    #[tokio::test(start_paused = true)]
    async fn nodes_are_listed_with_what_they_do_until_they_are_gone() {
        let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let (one, other) = (Nodes::new(objects.clone()), Nodes::new(objects.clone()));
        let (all, querier) = (node(1, &[Role::Queries, Role::Upkeep]), node(2, &[Role::Queries]));
        assert!(other.all(NOW).await.unwrap().is_empty());
        one.join(&all).await.unwrap();
        one.join(&querier).await.unwrap();
        assert!(other.all(Duration::from_secs(5)).await.unwrap().is_empty(), "what was listed a moment ago");
        let listed = other.all(NOW).await.unwrap();
        assert_eq!(listed.iter().map(|node| (**node).clone()).collect::<Vec<_>>(), [all.clone(), querier]);
        assert!(listed[0].has(Role::Upkeep) && listed[1].has(Role::Queries) && !listed[1].has(Role::Upkeep));
        // what a later program says, and what is none of it
        objects.put(&paths::node(&NodeId(Uuid::from_u128(3))), "{\"version\":2}".into()).await.unwrap();
        objects.put(&paths::nodes().join("readme"), "x".into()).await.unwrap();
        one.remove(&listed[1].id).await.unwrap();
        one.remove(&listed[1].id).await.unwrap();
        let listed = other.all(NOW).await.unwrap();
        assert_eq!(listed.iter().map(|node| node.id).collect::<Vec<_>>(), [all.id]);
    }
}
