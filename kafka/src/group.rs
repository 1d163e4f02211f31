//! Membership of a group: which partitions are this member's, for as long as it lasts.
//!
//! Signs of life are sent by a task of their own, so that a member which takes long to store what it has read stays one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{debug, info};

use crate::assign::{self, PROTOCOL};
use crate::cluster::Cluster;
use crate::config::Config;
use crate::connection::Connection;
use crate::error::{Error, ErrorCode};
use crate::messages::Request;
use crate::messages::group::{
    Heartbeat, JoinGroup, JoinGroupResponse, LeaveGroup, Membership, OffsetCommit, OffsetFetch, SyncGroup,
};

/// How often joining begins anew because others join at the same time.
const MOST_JOINS: usize = 10;

pub(crate) struct Group {
    config: Arc<Config>,
    coordinator: Connection,
    member: String,
    generation: i32,
    partitions: Vec<i32>,
    /// Whether this member decided who reads what.
    is_leader: bool,
    has_ended: watch::Receiver<bool>,
    heartbeats: JoinHandle<()>,
}

impl Group {
    /// Joins; `member` is the name from the last time, if there was one, and then the one that the group gives.
    pub(crate) async fn join(config: &Arc<Config>, cluster: &mut Cluster, member: &mut String) -> Result<Self, Error> {
        let mut coordinator = cluster.coordinator().await?;
        for _ in 0..MOST_JOINS {
            match attempt(config, cluster, &mut coordinator, member).await {
                Ok((joined, partitions)) => {
                    let (ended, has_ended) = watch::channel(false);
                    let beats =
                        beat(config.clone(), cluster.coordinator().await?, member.clone(), joined.generation, ended);
                    info!(
                        group = config.group,
                        member,
                        generation = joined.generation,
                        ?partitions,
                        "joined the group of Kafka"
                    );
                    return Ok(Self {
                        config: config.clone(),
                        coordinator,
                        is_leader: joined.leader == *member,
                        member: member.clone(),
                        generation: joined.generation,
                        partitions,
                        has_ended,
                        heartbeats: tokio::spawn(beats),
                    });
                }
                Err(error) if error.is_rebalance() => {
                    debug!(%error, "joining the group again");
                    if matches!(error, Error::Refused { code: ErrorCode::UNKNOWN_MEMBER_ID, .. }) {
                        member.clear();
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::Refused { api: JoinGroup::NAME, code: ErrorCode::REBALANCE_IN_PROGRESS })
    }

    pub(crate) fn partitions(&self) -> &[i32] {
        &self.partitions
    }

    pub(crate) fn is_leader(&self) -> bool {
        self.is_leader
    }

    /// Whether the group shares its partitions anew, or has given this member up.
    pub(crate) fn has_ended(&self) -> bool {
        *self.has_ended.borrow() || self.coordinator.is_broken()
    }

    /// Waits for that.
    pub(crate) async fn ended(&self) {
        // a task that has gone has ended, too
        _ = self.has_ended.clone().wait_for(|ended| *ended).await;
    }

    /// Where the group was in some partitions; nothing of those that it has not read.
    pub(crate) async fn offsets(&mut self) -> Result<BTreeMap<i32, i64>, Error> {
        let Config { group, topic, .. } = self.config.as_ref();
        let request = OffsetFetch { group, topic, partitions: &self.partitions };
        let mut offsets = BTreeMap::new();
        for committed in self.coordinator.call(&request).await? {
            committed.error.check(OffsetFetch::NAME)?;
            if committed.offset >= 0 {
                offsets.insert(committed.partition, committed.offset);
            }
        }
        Ok(offsets)
    }

    pub(crate) async fn commit(&mut self, offsets: &[(i32, i64)]) -> Result<(), Error> {
        let of = Membership { group: &self.config.group, generation: self.generation, member: &self.member };
        let request = OffsetCommit { of, topic: &self.config.topic, offsets };
        for (_, error) in self.coordinator.call(&request).await? {
            error.check(OffsetCommit::NAME)?;
        }
        Ok(())
    }

    /// Gives the partitions to others at once, instead of after the session's timeout.
    pub(crate) async fn leave(mut self) -> Result<(), Error> {
        let request = LeaveGroup { group: &self.config.group, member: &self.member };
        self.coordinator.call(&request).await?.check(LeaveGroup::NAME)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.heartbeats.abort();
    }
}

async fn attempt(
    config: &Config,
    cluster: &mut Cluster,
    coordinator: &mut Connection,
    member: &mut String,
) -> Result<(JoinGroupResponse, Vec<i32>), Error> {
    let subscription = assign::subscription(&[&config.topic]);
    let request = JoinGroup {
        group: &config.group,
        session_timeout_ms: millis(config.session_timeout),
        rebalance_timeout_ms: millis(config.rebalance_timeout),
        member,
        protocol: (PROTOCOL, &subscription),
    };
    let joined = coordinator.call_within(&request, config.rebalance_timeout).await?;
    joined.error.check(JoinGroup::NAME)?;
    member.clone_from(&joined.member);
    let assignments = match joined.leader == *member {
        true => shares(cluster, &joined).await?,
        false => Vec::new(),
    };
    let of = Membership { group: &config.group, generation: joined.generation, member };
    let request = SyncGroup { of, assignments: &assignments };
    let (error, assignment) = coordinator.call_within(&request, config.rebalance_timeout).await?;
    error.check(SyncGroup::NAME)?;
    let partitions = assign::partitions_of(assignment, &config.topic);
    let partitions = partitions.map_err(|source| malformed(SyncGroup::NAME, source))?;
    Ok((joined, partitions))
}

/// What each member is to read, as the leader decides.
async fn shares(cluster: &mut Cluster, joined: &JoinGroupResponse) -> Result<Vec<(String, Bytes)>, Error> {
    let topics = joined.members.iter().map(|(member, subscription)| {
        let topics = assign::topics_of(subscription.clone());
        Ok((member.clone(), topics.map_err(|source| malformed(JoinGroup::NAME, source))?))
    });
    let members: BTreeMap<String, Vec<String>> = topics.collect::<Result<_, Error>>()?;
    let mut wanted: Vec<String> = members.values().flatten().cloned().collect();
    wanted.sort();
    wanted.dedup();
    let metadata = cluster.metadata(&wanted).await?;
    let counts =
        metadata.topics.into_iter().map(|topic| (topic.name, i32::try_from(topic.partitions.len()).unwrap_or(0)));
    Ok(assign::assign(&members, &counts.collect()))
}

fn malformed(api: &'static str, source: crate::wire::Malformed) -> Error {
    Error::Malformed { broker: "that coordinates the group".to_owned(), api, source }
}

/// Sends signs of life until one is not welcome.
async fn beat(
    config: Arc<Config>,
    mut coordinator: Connection,
    member: String,
    generation: i32,
    ended: watch::Sender<bool>,
) {
    let mut ticks = tokio::time::interval(config.heartbeat_interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let of = Membership { group: &config.group, generation, member: &member };
        let answered = coordinator.call(&Heartbeat(of)).await;
        if let Err(error) = answered.and_then(|code| code.check(Heartbeat::NAME)) {
            debug!(%error, "the membership of the group ends");
            ended.send_replace(true);
            return;
        }
    }
}

fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
