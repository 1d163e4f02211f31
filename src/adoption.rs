//! What becomes of writers that are gone, and whose log is on the bucket: another seals their log, publishes what is in it, and
//! says so in their place.
//!
//! ```text
//! each PERIOD: members ─▶ who answers? ─▶ silent, and its log does not grow, for SILENCE ─▶ first in order of those that answer?
//!                                                                                             │
//!                  retire ◀── adopt: blocks beyond the watermark ◀── seal counts ◀── seal ◀───┘
//! ```
//!
//! Who does it is decided by rendezvous over the writer that is gone. Two that both think so lose effort and no data. A writer
//! that lives, and was only not heard, finds its log sealed with its next request, or that it is no member with its next look;
//! it begins anew under another id.
//!
//! A writer that acknowledges on its disk may have more than it shipped. What it shipped is published in the same way, but it is
//! not retired: that is for the next start on its disk, which publishes the rest.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use ingester::Adopter;
use object_store::ObjectStore;
use peers::Peers;
use storage::Error;
use storage::bucket_log::{self, LogReader, Seal};
use storage::incarnation::Incarnation;
use storage::manifest;
use storage::members::{Members, Record, Retired};
use storage::rendezvous;
use tokio::time::{Instant, MissedTickBehavior};
use tracing::{info, warn};

/// How often each writer is asked whether it is there.
pub const PERIOD: Duration = Duration::from_secs(5);
/// How long a writer is not heard, and its log does not grow, before its log is sealed.
pub const SILENCE: Duration = Duration::from_secs(15);

/// Adopts logs for as long as a process runs.
pub struct Adoption {
    /// The start of the writer that this process is.
    pub own: Incarnation,
    pub members: Arc<Members>,
    pub peers: Arc<dyn Peers>,
    pub objects: Arc<dyn ObjectStore>,
    pub reader: LogReader,
    pub manifests: Arc<manifest::Store>,
    pub adopter: Adopter,
    silent: HashMap<Incarnation, Silence>,
    /// Writers of which everything that is on the bucket is in blocks, and that are members still.
    adopted: HashSet<Incarnation>,
}

/// A writer that was not heard, and how far its log was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Silence {
    since: Instant,
    newest: u64,
}

/// What a look has found out about this process itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Own {
    IsMember,
    /// Others have adopted its log.
    IsRetired,
}

impl Adoption {
    pub fn new(
        own: Incarnation,
        (members, peers): (Arc<Members>, Arc<dyn Peers>),
        (objects, reader): (Arc<dyn ObjectStore>, LogReader),
        manifests: Arc<manifest::Store>,
        adopter: Adopter,
    ) -> Self {
        Self {
            own,
            members,
            peers,
            objects,
            reader,
            manifests,
            adopter,
            silent: HashMap::new(),
            adopted: HashSet::new(),
        }
    }

    /// Looks periodically until this process is found to be retired.
    pub async fn run(mut self) {
        let mut looks = tokio::time::interval(PERIOD);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            match self.look().await {
                Ok(Own::IsMember) => {}
                Ok(Own::IsRetired) => return,
                Err(error) => warn!(%error, "it is not known which writers are gone, will retry"),
            }
        }
    }

    /// Looks once, and adopts what is due.
    ///
    /// # Errors
    /// When members cannot be listed.
    pub async fn look(&mut self) -> Result<Own, Error> {
        let view = self.members.view().await?;
        if !view.has(&self.own) {
            return Ok(Own::IsRetired);
        }
        self.adopted.retain(|writer| view.has(writer));
        let is_open = |record: &Record| record.is_on_bucket() && !self.adopted.contains(&record.incarnation);
        let is_other = |record: &&Arc<Record>| is_open(record) && record.incarnation != self.own;
        let others: Vec<Arc<Record>> = view.writers.iter().filter(is_other).cloned().collect();
        let heard = join_all(others.iter().map(|record| self.peers.hear(record))).await;
        let (mut present, mut silent) = (vec![self.own], Vec::new());
        for (record, heard) in others.into_iter().zip(heard) {
            match heard {
                Ok(()) => present.push(record.incarnation),
                Err(_) => silent.push(record),
            }
        }
        self.silent.retain(|incarnation, _| silent.iter().any(|record| record.incarnation == *incarnation));
        for record in silent {
            let known = self.silent.get(&record.incarnation).map_or(0, |silence| silence.newest);
            let newest = match self.reader.numbers_after(&record.incarnation, known).await {
                Ok(numbers) => numbers.last().copied().unwrap_or(known),
                Err(error) => {
                    warn!(writer = %record.incarnation, %error, "the log of a writer that is not heard cannot be listed");
                    continue;
                }
            };
            if self.is_due(record.incarnation, newest, Instant::now())
                && rendezvous::first(record.incarnation.0.as_bytes(), present.iter().copied(), |node| node.0)
                    == Some(self.own)
            {
                match self.adopt(&record).await {
                    Ok(()) | Err(Error::WriterRetired) => _ = self.silent.remove(&record.incarnation),
                    Err(error) => {
                        warn!(writer = %record.incarnation, %error, "a writer that is gone could not be adopted, will retry")
                    }
                }
            }
        }
        Ok(Own::IsMember)
    }

    /// Notes that a writer is not heard; whether it is time to do something about it.
    fn is_due(&mut self, incarnation: Incarnation, newest: u64, now: Instant) -> bool {
        let silence = self.silent.entry(incarnation).or_insert(Silence { since: now, newest });
        if silence.newest != newest {
            *silence = Silence { since: now, newest };
        }
        now.saturating_duration_since(silence.since) >= SILENCE
    }

    async fn adopt(&mut self, record: &Record) -> Result<(), Error> {
        let writer = record.incarnation;
        let Seal::Sealed { last } = bucket_log::seal(self.objects.as_ref(), &self.reader, &writer).await? else {
            info!(%writer, "a writer that is not heard writes its log, so it lives");
            return Ok(());
        };
        info!(%writer, address = record.address, objects = last, "a writer that is gone is adopted: its log is sealed");
        self.adopter.adopt(record.writer(), &self.reader, last).await?;
        if record.is_shipped {
            self.adopted.insert(writer);
            info!(%writer, address = record.address, "a writer that is gone is adopted: what it had shipped is in blocks, the last of it is on its disk");
            return Ok(());
        }
        self.members.retire(&writer, &Retired::new(self.manifests.sequences())).await?;
        info!(%writer, "a writer that is gone is adopted: what it had is in blocks");
        Ok(())
    }
}
