//! Reads a topic as a member of a group: [`Consumer::poll`].

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::join_all;
use tracing::{debug, warn};

use crate::cluster::Cluster;
use crate::config::Config;
use crate::connection::Connection;
use crate::error::{Error, ErrorCode};
use crate::group::Group;
use crate::messages::Request;
use crate::messages::fetch::{Fetch, FetchedPartition, ListOffsets};
use crate::records::{self, Damaged, Record};
use crate::tls::TlsError;

/// Owned by one task.
///
/// What a poll gave is read again, here or by another member, unless its offsets are committed.
pub struct Consumer {
    config: Arc<Config>,
    cluster: Cluster,
    /// The name that the group gave; kept, so that a member that comes back is not taken for another.
    member: String,
    joined: Option<Joined>,
}

struct Joined {
    group: Group,
    /// By partition, the offset of the next record.
    positions: BTreeMap<i32, i64>,
    /// Partitions of the topic when they were shared.
    partition_count: usize,
}

/// What came.
#[derive(Debug, Default)]
pub struct Polled {
    /// Those of a partition in their order.
    pub records: Vec<Record>,
    pub damaged: Vec<Damaged>,
    /// By partition, the offset behind all of these: what to commit when they are done with.
    pub ends: Vec<(i32, i64)>,
}

impl Consumer {
    /// Nothing is connected yet.
    ///
    /// # Errors
    /// When the files of TLS cannot be used.
    pub fn new(config: Config) -> Result<Self, TlsError> {
        let config = Arc::new(config);
        Ok(Self { cluster: Cluster::new(config.clone())?, config, member: String::new(), joined: None })
    }

    /// The next records, or none after a while. Joins the group first, where this is no member of it. May be dropped.
    ///
    /// # Errors
    /// When brokers cannot be reached or refuse. It may be tried again.
    pub async fn poll(&mut self) -> Result<Polled, Error> {
        self.cluster.refresh().await?;
        if self.joined.as_ref().is_some_and(|joined| joined.is_over(&self.cluster)) {
            self.joined = None;
        }
        if self.joined.is_none() {
            self.joined = Some(self.join().await?);
        }
        let Some(joined) = &mut self.joined else { return Ok(Polled::default()) };
        let polled = joined.fetch(&self.config, &mut self.cluster).await;
        if polled.is_err() {
            self.cluster.doubt();
        }
        polled
    }

    /// Says how far the group has come: by partition, the offset of the next record.
    ///
    /// # Errors
    /// When nobody knows whether it is so, or the partitions are no longer this member's: what was read since the last
    /// commit comes again.
    pub async fn commit(&mut self, offsets: &[(i32, i64)]) -> Result<(), Error> {
        let Some(joined) = &mut self.joined else { return Ok(()) };
        let committed = if offsets.is_empty() { Ok(()) } else { joined.group.commit(offsets).await };
        if committed.is_err() {
            self.joined = None;
        }
        committed
    }

    /// Waits until the group shares its partitions anew: who has read what it has not yet stored then lets it go.
    pub async fn membership_ended(&self) {
        match &self.joined {
            Some(joined) => joined.group.ended().await,
            None => std::future::pending().await,
        }
    }

    /// The next poll joins anew, and begins where the group is then.
    pub fn forget(&mut self) {
        self.joined = None;
    }

    /// Leaves the group, so that others go on at once.
    pub async fn close(mut self) {
        if let Some(Joined { group, .. }) = self.joined.take()
            && let Err(error) = group.leave().await
        {
            debug!(%error, "the group was not left in order");
        }
    }

    async fn join(&mut self) -> Result<Joined, Error> {
        let mut group = Group::join(&self.config, &mut self.cluster, &mut self.member).await?;
        let mut positions = group.offsets().await?;
        let unread: Vec<i32> = group.partitions().iter().copied().filter(|of| !positions.contains_key(of)).collect();
        positions.extend(starts(&self.config, &mut self.cluster, &unread).await?);
        Ok(Joined { group, positions, partition_count: self.cluster.partition_count() })
    }
}

impl Joined {
    /// Whether the partitions have to be shared anew.
    fn is_over(&self, cluster: &Cluster) -> bool {
        self.group.has_ended() || (self.group.is_leader() && cluster.partition_count() != self.partition_count)
    }

    /// Asks all leaders at the same time.
    async fn fetch(&mut self, config: &Config, cluster: &mut Cluster) -> Result<Polled, Error> {
        let positions: Vec<(i32, i64)> = self.positions.iter().map(|(of, offset)| (*of, *offset)).collect();
        if positions.is_empty() {
            // more members than partitions
            _ = tokio::time::timeout(config.max_wait, self.group.ended()).await;
            return Ok(Polled::default());
        }
        let mut asked = Vec::new();
        for (leader, offsets) in cluster.by_leader(&positions)? {
            let connection = cluster.take(leader).await?;
            asked.push(fetch_from(config, leader, connection, offsets));
        }
        let (mut polled, mut lost, mut failed) = (Polled::default(), Vec::new(), None);
        for answer in join_all(asked).await {
            let partitions = match answer {
                Ok((leader, connection, partitions)) => {
                    cluster.give_back(leader, connection);
                    partitions
                }
                Err(error) => {
                    failed = Some(error);
                    continue;
                }
            };
            for partition in partitions {
                match partition.error.check(Fetch::NAME) {
                    Ok(()) => polled.take(partition, &mut self.positions).await,
                    Err(_) if partition.error == ErrorCode::OFFSET_OUT_OF_RANGE => lost.push(partition.partition),
                    Err(error) => failed = Some(error),
                }
            }
        }
        for (partition, offset) in starts(config, cluster, &lost).await? {
            let before = self.positions.insert(partition, offset);
            warn!(topic = config.topic, partition, offset, ?before, "records that were not read are gone from Kafka");
        }
        match failed {
            Some(error) if polled.ends.is_empty() => Err(error),
            Some(error) => {
                debug!(%error, "some partitions could not be read");
                cluster.doubt();
                Ok(polled)
            }
            None => Ok(polled),
        }
    }
}

/// Where some partitions begin for a group that has no place in them.
async fn starts(config: &Config, cluster: &mut Cluster, partitions: &[i32]) -> Result<Vec<(i32, i64)>, Error> {
    let partitions: Vec<(i32, ())> = partitions.iter().map(|partition| (*partition, ())).collect();
    let mut starts = Vec::new();
    for (leader, partitions) in cluster.by_leader(&partitions)? {
        let partitions: Vec<i32> = partitions.into_iter().map(|(partition, ())| partition).collect();
        let request = ListOffsets { topic: &config.topic, partitions: &partitions, start: config.start };
        let mut connection = cluster.take(leader).await?;
        let listed = connection.call(&request).await?;
        cluster.give_back(leader, connection);
        for offset in listed {
            offset.error.check(ListOffsets::NAME)?;
            starts.push((offset.partition, offset.offset));
        }
    }
    Ok(starts)
}

type Fetched = (i32, Connection, Vec<FetchedPartition>);

async fn fetch_from(
    config: &Config,
    leader: i32,
    mut connection: Connection,
    offsets: Vec<(i32, i64)>,
) -> Result<Fetched, Error> {
    let request = Fetch {
        max_wait: config.max_wait,
        max_bytes: config.fetch_bytes,
        max_partition_bytes: config.partition_fetch_bytes,
        topic: &config.topic,
        offsets: &offsets,
    };
    let (error, partitions) = connection.call_within(&request, config.max_wait).await?;
    error.check(Fetch::NAME)?;
    Ok((leader, connection, partitions))
}

impl Polled {
    /// Reads what came of a partition, away from the threads that wait for others.
    async fn take(&mut self, fetched: FetchedPartition, positions: &mut BTreeMap<i32, i64>) {
        let FetchedPartition { partition, batches, .. } = fetched;
        let Some(position) = positions.get_mut(&partition) else { return };
        let from = *position;
        let Ok(read) = tokio::task::spawn_blocking(move || records::read(batches, partition, from)).await else {
            return;
        };
        let Some(next_offset) = read.next_offset else { return };
        *position = next_offset;
        self.records.extend(read.records);
        self.damaged.extend(read.damaged);
        self.ends.push((partition, next_offset));
    }
}
