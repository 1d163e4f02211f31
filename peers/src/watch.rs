//! Which other processes do upkeep of the store now, so that each does a share of it.
//!
//! ```text
//! list nodes ─▶ ask each: are you there? ─▶ the living ─▶ UpkeepShare
//! ```

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use prost::Message;
use storage::ids::NodeId;
use storage::nodes::{Node, Nodes, Role};
use storage::upkeep_share::UpkeepShare;
use tokio::time::{Instant, MissedTickBehavior};
use tracing::{debug, info};

use crate::grpc::GrpcPeers;
use crate::wire::{self, HelloAnswer, HelloRequest};

/// How often nodes are listed and asked: upkeep has time.
const PERIOD: Duration = Duration::from_secs(10);
const HELLO_TIMEOUT: Duration = Duration::from_secs(2);
/// A node that has not answered for so long has no share: what was its work begins elsewhere within this and [`PERIOD`]. Longer
/// than a process pauses that is alive.
pub const DEAD_AFTER: Duration = Duration::from_secs(30);
/// What is said of a node is deleted when it has not answered for so long.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);

/// Finds out whether a node lives. [`GrpcPeers`] is the one of processes, tests have others.
#[async_trait]
pub trait Hello: Send + Sync {
    async fn is_there(&self, node: &Node) -> bool;
}

#[async_trait]
impl Hello for GrpcPeers {
    async fn is_there(&self, node: &Node) -> bool {
        let answer = self.call_within(HELLO_TIMEOUT, wire::HELLO, &node.address, HelloRequest {}).await;
        let answer = answer.ok().and_then(|bytes| HelloAnswer::decode(bytes.as_slice()).ok());
        answer.is_some_and(|answer| answer.node == node.id.0.as_bytes())
    }
}

/// Keeps this process in the list of nodes, and knows its share of the upkeep.
pub struct UpkeepWatch {
    own: Arc<Node>,
    nodes: Arc<Nodes>,
    hello: Arc<dyn Hello>,
    share: UpkeepShare,
    /// When each node answered last, or was first seen.
    seen: HashMap<NodeId, Instant>,
}

impl UpkeepWatch {
    pub fn new(own: Arc<Node>, nodes: Arc<Nodes>, hello: Arc<dyn Hello>, share: UpkeepShare) -> Self {
        Self { own, nodes, hello, share, seen: HashMap::new() }
    }

    /// Works until it is dropped.
    pub async fn run(mut self) {
        let mut rounds = tokio::time::interval(PERIOD);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            rounds.tick().await;
            if let Err(error) = self.round().await {
                debug!(%error, "who else does upkeep is not known, it stays as it was");
            }
        }
    }

    /// Looks once.
    ///
    /// # Errors
    /// When nodes cannot be listed: the share stays as it was.
    pub async fn round(&mut self) -> Result<(), storage::Error> {
        let listed = self.nodes.all(Duration::ZERO).await?;
        if !listed.iter().any(|node| node.id == self.own.id) {
            self.nodes.join(&self.own).await?;
        }
        let others: Vec<&Arc<Node>> = listed.iter().filter(|node| node.id != self.own.id).collect();
        self.seen.retain(|id, _| others.iter().any(|node| node.id == *id));
        let answers = join_all(others.iter().map(|node| self.hello.is_there(node))).await;
        let (now, mut living) = (Instant::now(), Vec::new());
        for (node, is_there) in others.into_iter().zip(answers) {
            let seen = self.seen.entry(node.id).or_insert(now);
            if is_there {
                *seen = now;
            }
            let silent = now.duration_since(*seen);
            if node.has(Role::Upkeep) && silent < DEAD_AFTER {
                living.push(node.id);
            }
            if silent >= FORGOTTEN_AFTER {
                info!(node = %node.id, address = node.address, "a process has not answered for long, it is forgotten");
                self.nodes.remove(&node.id).await?;
            }
        }
        if self.own.has(Role::Upkeep) {
            self.share.set(self.own.id, living);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use model::TenantId;
    use object_store::ObjectStore;
    use object_store::memory::InMemory;
    use uuid::Uuid;

    use super::*;

    /// The nodes that live.
    #[derive(Default)]
    struct Living(Mutex<Vec<NodeId>>);

    #[async_trait]
    impl Hello for Living {
        async fn is_there(&self, node: &Node) -> bool {
            self.0.lock().unwrap().contains(&node.id)
        }
    }

    fn node(number: u128) -> Arc<Node> {
        let id = NodeId(Uuid::from_u128(number));
        Arc::new(Node::new(id, format!("10.0.0.{number}:4319"), String::new(), "1", 1, &[Role::Upkeep]))
    }

    fn has(share: &UpkeepShare) -> usize {
        (0..300).filter(|window| share.has(&TenantId::single(), *window)).count()
    }

    #[tokio::test(start_paused = true)]
    async fn the_share_of_a_dead_node_goes_to_the_others_and_it_is_forgotten() {
        let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let (living, share) = (Arc::new(Living::default()), UpkeepShare::all());
        let (one, other) = (node(1), node(2));
        let nodes = Arc::new(Nodes::new(objects.clone()));
        let mut watch = UpkeepWatch::new(one.clone(), nodes.clone(), living.clone(), share.clone());
        watch.round().await.unwrap();
        assert_eq!((has(&share), nodes.all(Duration::ZERO).await.unwrap().len()), (300, 1), "it is alone, and listed");
        nodes.join(&other).await.unwrap();
        living.0.lock().unwrap().push(other.id);
        watch.round().await.unwrap();
        assert!((100..200).contains(&has(&share)), "{}", has(&share));
        living.0.lock().unwrap().clear();
        tokio::time::advance(DEAD_AFTER - Duration::from_millis(1)).await;
        watch.round().await.unwrap();
        assert!(has(&share) < 300, "it may be back in a moment");
        tokio::time::advance(Duration::from_millis(1)).await;
        watch.round().await.unwrap();
        assert_eq!(has(&share), 300);
        tokio::time::advance(FORGOTTEN_AFTER).await;
        watch.round().await.unwrap();
        let listed = nodes.all(Duration::ZERO).await.unwrap();
        assert_eq!(listed.iter().map(|node| node.id).collect::<Vec<_>>(), [one.id]);
    }
}
