//! What leaves a log: what blocks have, an hour later; and what is left of a log whose writer's record is gone.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectStore;
use tokio::time::MissedTickBehavior;
use tracing::{info, warn};

use super::LogReader;
use crate::clock::Moment;
use crate::error::Error;
use crate::ids::WriterId;
use crate::incarnation::Incarnation;
use crate::manifest::{self, Change, Manifest};
use crate::members;
use crate::paths;
use crate::telemetry::Telemetry;

/// How often is looked for what may go.
const PERIOD: Duration = Duration::from_secs(60);
/// Objects that are deleted in one look at the most; the next goes on.
const AT_ONCE: u64 = 10_000;

/// Deletes objects of a writer's own log once blocks have had them for long: queries and other processes may still be using a
/// manifest of before. The newest object stays, because it shows how far the log is.
#[derive(Debug)]
pub struct OwnCollector {
    objects: Arc<dyn ObjectStore>,
    writer: Incarnation,
    covered: Arc<AtomicU64>,
    grace: Duration,
    telemetry: Telemetry,
    /// How far blocks had the log at some moments, the oldest first.
    seen: VecDeque<(u64, Moment)>,
    /// Blocks have had all up to this one for long.
    due: u64,
    deleted: u64,
}

impl OwnCollector {
    pub fn new(
        objects: Arc<dyn ObjectStore>,
        writer: Incarnation,
        covered: Arc<AtomicU64>,
        grace: Duration,
        telemetry: Telemetry,
    ) -> Self {
        Self { objects, writer, covered, grace, telemetry, seen: VecDeque::new(), due: 0, deleted: 0 }
    }

    /// Works until it is dropped.
    pub async fn run(mut self) {
        let mut looks = tokio::time::interval(PERIOD);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            if let Err(error) = self.look().await {
                warn!(%error, "objects of the log that are in blocks could not be deleted, will retry");
            }
        }
    }

    /// Notes how far blocks have the log, and deletes what they have had for long.
    ///
    /// # Errors
    /// When something could not be deleted; the next look tries again.
    pub async fn look(&mut self) -> Result<(), Error> {
        let covered = self.covered.load(Ordering::Relaxed);
        if self.seen.back().is_none_or(|(last, _)| *last < covered) {
            self.seen.push_back((covered, Moment::now()));
        }
        while let Some((covered, at)) = self.seen.front()
            && at.age() >= self.grace
        {
            self.due = *covered;
            self.seen.pop_front();
        }
        // the covered one may be the newest there is
        let through = self.due.saturating_sub(1).min(self.deleted + AT_ONCE);
        if through > self.deleted {
            let keys = (self.deleted + 1..=through).map(|number| paths::log_object(&self.writer, number));
            delete(self.objects.as_ref(), keys.collect()).await?;
            self.telemetry.bucket_log.deleted(through - self.deleted);
            self.deleted = through;
        }
        Ok(())
    }
}

async fn delete(objects: &dyn ObjectStore, keys: Vec<object_store::path::Path>) -> Result<(), Error> {
    let locations = stream::iter(keys).map(Ok).boxed();
    let gone = |deleted: Result<_, object_store::Error>| match deleted {
        Err(object_store::Error::NotFound { .. }) => Ok(()),
        deleted => deleted.map(drop),
    };
    let deleted = objects.delete_stream(locations).map(gone).try_collect::<Vec<()>>().await;
    deleted.map(drop).map_err(Error::objects("delete objects of the log in", &paths::logs()))
}

/// Deletes logs of writers that have neither record nor mark any more, and then what manifests say of such writers. What is
/// said of a retired writer stays for [`members::KEPT_RETIRED`], so by then no put and no commit of it counts.
#[derive(Debug)]
pub struct LostLogs {
    pub objects: Arc<dyn ObjectStore>,
    pub manifests: Arc<manifest::Store>,
    pub telemetry: Telemetry,
}

impl LostLogs {
    /// Works until it is dropped.
    pub async fn run(self) {
        let mut looks = tokio::time::interval(5 * PERIOD);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            if let Err(error) = self.look().await {
                warn!(%error, "what is left of writers that are gone could not be deleted, will retry");
            }
        }
    }

    /// # Errors
    /// When the store does not answer; the next look tries again.
    pub async fn look(&self) -> Result<(), Error> {
        let logs = self.logs().await?;
        let tenants: Vec<_> = self.manifests.available_tenants();
        let manifests: Vec<_> = tenants
            .into_iter()
            .filter_map(|tenant| Some((tenant.clone(), self.manifests.snapshot(&tenant)?)))
            .collect();
        // after both: a writer puts its record before its first object, and before a manifest names it
        let members = members::all(self.objects.as_ref()).await?;
        for writer in logs.iter().filter(|writer| !members.contains(*writer)) {
            let numbers = LogReader::new(self.objects.clone(), self.telemetry.clone()).numbers_after(writer, 0).await?;
            let count = numbers.len();
            delete(self.objects.as_ref(), numbers.iter().map(|number| paths::log_object(writer, *number)).collect())
                .await?;
            self.telemetry.bucket_log.deleted(count as u64);
            info!(%writer, objects = count, "the log of a writer that is gone is deleted");
        }
        for (tenant, manifest) in manifests {
            let forgotten = forgotten(&manifest, &members, &logs);
            if !forgotten.is_empty() {
                let forget = |_: &Manifest| Some(Change { forget_writers: forgotten.clone(), ..Change::default() });
                self.manifests.commit(&tenant, forget).await?;
            }
        }
        Ok(())
    }

    async fn logs(&self) -> Result<HashSet<Incarnation>, Error> {
        let prefix = paths::logs();
        let listed =
            self.objects.list_with_delimiter(Some(&prefix)).await.map_err(Error::objects("list logs in", &prefix))?;
        Ok(listed.common_prefixes.iter().filter_map(paths::log_of).collect())
    }
}

/// Writers with a log on the bucket whose watermark nobody needs: the log itself went in an earlier look.
fn forgotten(manifest: &Manifest, members: &HashSet<Incarnation>, logs: &HashSet<Incarnation>) -> Vec<WriterId> {
    let of_bucket = manifest.incarnations.iter().filter(|(writer, incarnation)| writer.0 == incarnation.0);
    let gone = of_bucket.filter(|(_, incarnation)| !members.contains(*incarnation) && !logs.contains(*incarnation));
    gone.map(|(writer, _)| *writer).collect()
}
