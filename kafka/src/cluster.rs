//! The brokers: who they are, which of them leads each partition of the topic, and connections to them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::debug;

use crate::config::Config;
use crate::connection::{Connection, Dial};
use crate::error::Error;
use crate::messages::group::FindCoordinator;
use crate::messages::{Broker, Metadata, MetadataResponse, Request};
use crate::tls::TlsError;

/// How old what is known of the brokers may become: new partitions are found after so long.
const MAX_AGE: Duration = Duration::from_secs(60);

pub(crate) struct Cluster {
    config: Arc<Config>,
    dial: Dial,
    /// Addresses by id.
    brokers: BTreeMap<i32, String>,
    /// Brokers by partition of the topic.
    leaders: BTreeMap<i32, i32>,
    known_since: Option<Instant>,
    connections: HashMap<i32, Connection>,
    /// To whichever broker answered.
    any: Option<Connection>,
}

impl Cluster {
    pub(crate) fn new(config: Arc<Config>) -> Result<Self, TlsError> {
        let (brokers, leaders, connections) = (BTreeMap::new(), BTreeMap::new(), HashMap::new());
        Ok(Self { dial: Dial::new(&config)?, config, brokers, leaders, known_since: None, connections, any: None })
    }

    /// Asks again who leads what, if it is long ago.
    pub(crate) async fn refresh(&mut self) -> Result<(), Error> {
        if self.known_since.is_some_and(|since| since.elapsed() < MAX_AGE) {
            return Ok(());
        }
        let topic = self.config.topic.clone();
        let metadata = self.metadata(std::slice::from_ref(&topic)).await?;
        let of_topic = metadata.topics.into_iter().find(|found| found.name == topic);
        let Some(of_topic) = of_topic else { return Err(Error::NoLeader { topic, partition: 0 }) };
        of_topic.error.check(Metadata::NAME)?;
        self.leaders = of_topic.partitions.iter().map(|partition| (partition.index, partition.leader)).collect();
        self.known_since = Some(Instant::now());
        Ok(())
    }

    /// What is known is not true any more.
    pub(crate) fn doubt(&mut self) {
        self.known_since = None;
    }

    pub(crate) fn partition_count(&self) -> usize {
        self.leaders.len()
    }

    pub(crate) async fn metadata(&mut self, topics: &[String]) -> Result<MetadataResponse, Error> {
        let metadata = self.any().await?.call(&Metadata { topics }).await?;
        let address = |broker: &Broker| (broker.id, address(broker));
        self.brokers = metadata.brokers.iter().map(address).collect();
        Ok(metadata)
    }

    /// A new connection to the broker that coordinates the group.
    pub(crate) async fn coordinator(&mut self) -> Result<Connection, Error> {
        let group = self.config.group.clone();
        let (error, broker) = self.any().await?.call(&FindCoordinator(&group)).await?;
        error.check(FindCoordinator::NAME)?;
        Connection::open(&self.dial, &address(&broker)).await
    }

    /// By leader, those of some partitions that it leads.
    pub(crate) fn by_leader<T: Copy>(&self, partitions: &[(i32, T)]) -> Result<BTreeMap<i32, Vec<(i32, T)>>, Error> {
        let mut by_leader = BTreeMap::<i32, Vec<(i32, T)>>::new();
        for (partition, of_partition) in partitions {
            let leader = self.leaders.get(partition).filter(|leader| self.brokers.contains_key(leader));
            let topic = || self.config.topic.clone();
            let leader = leader.ok_or_else(|| Error::NoLeader { topic: topic(), partition: *partition })?;
            by_leader.entry(*leader).or_default().push((*partition, *of_partition));
        }
        Ok(by_leader)
    }

    /// A connection to a broker, which is given back when all went well.
    pub(crate) async fn take(&mut self, broker: i32) -> Result<Connection, Error> {
        if let Some(connection) = self.connections.remove(&broker) {
            return Ok(connection);
        }
        let address = self.brokers.get(&broker).cloned().unwrap_or_default();
        Connection::open(&self.dial, &address).await
    }

    pub(crate) fn give_back(&mut self, broker: i32, connection: Connection) {
        if !connection.is_broken() {
            self.connections.insert(broker, connection);
        }
    }

    /// A connection to any broker: one that is open, or the first that answers.
    async fn any(&mut self) -> Result<&mut Connection, Error> {
        let open = match self.any.take().filter(|connection| !connection.is_broken()) {
            Some(open) => open,
            None => self.first_that_answers().await?,
        };
        Ok(self.any.insert(open))
    }

    async fn first_that_answers(&self) -> Result<Connection, Error> {
        let mut last = None;
        for broker in self.config.brokers.iter().chain(self.brokers.values()) {
            match Connection::open(&self.dial, broker).await {
                Ok(connection) => return Ok(connection),
                Err(error) => {
                    debug!(%error, "a broker does not answer");
                    last = Some(error);
                }
            }
        }
        let none = || std::io::Error::other("no address is configured");
        let last = last.unwrap_or_else(|| Error::Connect { broker: String::new(), source: none() });
        Err(Error::NoBroker(Box::new(last)))
    }
}

fn address(broker: &Broker) -> String {
    let Broker { host, port, .. } = broker;
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}
