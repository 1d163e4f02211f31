//! Which writers have live rows: what is said of them in the store that all processes of a cluster share.
//!
//! ```text
//! cluster/writers/<incarnation>.json      put once, before the writer acknowledges anything: where it is
//! cluster/writers/<incarnation>.retired   all that it has acknowledged is in blocks of these manifests, or is with a later
//!                                         start of the same writer, which has put its own record before
//! ```
//!
//! **Every view that counts has every writer that has acknowledged a span.** A view is one listing. It counts for
//! [`VIEW_VALID_FOR`] from the *start* of the request, by the clock of the reader ([`Moment`]). A writer acknowledges nothing
//! until [`JOINING_TIME`], which is longer, after the put of its record has returned. So if a span was acknowledged before a
//! query began that uses a view that counts:
//!
//! ```text
//! put of the record returned ≤ acknowledged − JOINING_TIME < query − VIEW_VALID_FOR ≤ start of the listing
//! ```
//!
//! and listings have what was put before they began. Clocks are compared with themselves only; what is left to assume is that
//! none runs wrong by more than the difference within these seconds. Nothing is renewed, so a writer that does nothing costs
//! nothing.
//!
//! **A retired writer is left out by those who have manifests at least as new as its mark says.** The mark of a start that a
//! later one replaces is put [`JOINING_TIME`] after the record of the later: a listing that has the mark and not the record
//! took longer than it counts.
//!
//! Records are never renewed and never expire: a writer that died may have rows that nobody else has, so answers say that
//! it is missing until it is back, or until somebody who knows better deletes its record. One whose log is on the bucket
//! ([`crate::bucket_log`]) is adopted by another, who puts its mark; of one whose log is shipped there, whoever has its disk puts it. What is said of a retired writer is
//! deleted [`KEPT_RETIRED`] after it was first seen so.

mod record;
mod standing;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use model::TenantId;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode};
use tokio::sync::Mutex;
use tracing::{debug, info};

use crate::clock::Moment;
use crate::error::Error;
use crate::exact;
use crate::incarnation::Incarnation;
use crate::paths::{self, WriterFile};

pub use record::{LogPlace, Record, Retired};
pub use standing::Standing;

/// How long a listing counts, from its start.
pub const VIEW_VALID_FOR: Duration = Duration::from_secs(5);
/// How long after its record was put a writer acknowledges nothing. The second beyond the former is for clocks that run
/// wrong.
pub const JOINING_TIME: Duration = Duration::from_secs(6);
/// How long after a writer was seen to be retired its objects stay: whoever has not looked since then starts anew.
pub const KEPT_RETIRED: Duration = Duration::from_secs(3_600);
/// Records and marks that are read at once.
const READ_CONCURRENCY: usize = 16;

/// Reads and writes what is said of writers. Everything that was read is remembered, for it never changes.
pub struct Members {
    objects: Arc<dyn ObjectStore>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    view: Option<Arc<MembersView>>,
    records: HashMap<Incarnation, Arc<Record>>,
    retired: HashMap<Incarnation, Seen>,
}

/// A mark, and when it was first seen.
struct Seen {
    at: Moment,
    mark: Retired,
}

/// The writers that have live rows, as of one moment.
#[derive(Debug)]
pub struct MembersView {
    /// Before the listing began.
    taken: Moment,
    pub writers: Vec<Arc<Record>>,
    least_manifests: HashMap<TenantId, u64>,
}

impl MembersView {
    /// Whether it may still be used.
    pub fn is_valid(&self) -> bool {
        self.taken.age() < VIEW_VALID_FOR
    }

    /// The number of the manifest that has what writers had that are left out here; older ones do not do.
    pub fn least_manifest(&self, tenant: &TenantId) -> u64 {
        self.least_manifests.get(tenant).copied().unwrap_or_default()
    }

    pub fn has(&self, incarnation: &Incarnation) -> bool {
        self.writers.iter().any(|record| record.incarnation == *incarnation)
    }
}

/// The starts of writers of which anything is said: records and marks.
///
/// # Errors
/// When they cannot be listed.
pub(crate) async fn all(objects: &dyn ObjectStore) -> Result<HashSet<Incarnation>, Error> {
    Ok(list(objects, &paths::writers()).await?.into_iter().map(|(incarnation, _)| incarnation).collect())
}

async fn list(objects: &dyn ObjectStore, prefix: &Path) -> Result<Vec<(Incarnation, WriterFile)>, Error> {
    let objects = objects.list(Some(prefix));
    let known = objects.try_filter_map(|object| async move { Ok(paths::parse_writer(&object.location)) });
    known.try_collect().await.map_err(Error::objects("list writers in", prefix))
}

impl Members {
    pub fn new(objects: Arc<dyn ObjectStore>) -> Self {
        Self { objects, known: Mutex::default() }
    }

    /// Says where a writer is. It may acknowledge spans [`JOINING_TIME`] after this has returned.
    ///
    /// # Errors
    /// When the record cannot be put, or another is there.
    pub async fn join(&self, record: &Record) -> Result<(), Error> {
        let key = paths::writer(&record.incarnation, WriterFile::Record);
        match self.objects.put_opts(&key, record.encode().into(), PutMode::Create.into()).await {
            // one that was repeated inside the client, or that two made at once: what is there tells
            Err(object_store::Error::AlreadyExists { .. }) => match self.read(&key, Record::decode).await? {
                Some(there) if there == *record => Ok(()),
                _ => Err(Error::members(&key, "could not be created: something else was there")),
            },
            result => result.map(drop).map_err(Error::objects("create", &key)),
        }
    }

    /// Says that nobody needs to ask a writer any more. To be called when all that it has acknowledged is in the blocks of
    /// these manifests, or with a start of the same writer that joined [`JOINING_TIME`] ago.
    ///
    /// # Errors
    /// Nothing is certain then.
    pub async fn retire(&self, incarnation: &Incarnation, mark: &Retired) -> Result<(), Error> {
        let key = paths::writer(incarnation, WriterFile::Retired);
        match self.objects.put_opts(&key, mark.encode().into(), PutMode::Create.into()).await {
            Err(object_store::Error::AlreadyExists { .. }) => Ok(()), // said before
            result => result.map(drop).map_err(Error::objects("create", &key)),
        }
    }

    /// Whether that was said.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn is_retired(&self, incarnation: &Incarnation) -> Result<bool, Error> {
        let key = paths::writer(incarnation, WriterFile::Retired);
        Ok(self.read(&key, Retired::decode).await?.is_some())
    }

    /// A view that counts: the last one, or a new one.
    ///
    /// # Errors
    /// When writers cannot be listed in time, or a record cannot be read: then nobody knows who has live rows.
    pub async fn view(&self) -> Result<Arc<MembersView>, Error> {
        self.view_if(MembersView::is_valid).await
    }

    /// As [`view`](Self::view), not the one that is given.
    ///
    /// # Errors
    /// Those of [`view`](Self::view).
    pub async fn view_after(&self, before: &Arc<MembersView>) -> Result<Arc<MembersView>, Error> {
        self.view_if(|view| view.is_valid() && !std::ptr::eq(view, Arc::as_ptr(before))).await
    }

    /// The last view, whether it counts or not.
    pub async fn last_view(&self) -> Option<Arc<MembersView>> {
        self.known.lock().await.view.clone()
    }

    /// Of many that need a new view at once, one lists.
    async fn view_if(&self, is_good: impl Fn(&MembersView) -> bool) -> Result<Arc<MembersView>, Error> {
        let mut known = self.known.lock().await;
        if let Some(view) = known.view.as_ref().filter(|view| is_good(view)) {
            return Ok(view.clone());
        }
        let taken = Moment::now();
        let prefix = paths::writers();
        let too_late = || Error::members(&prefix, "could not be listed within the time that a listing counts");
        let listing = async {
            let listed = list(self.objects.as_ref(), &prefix).await?;
            self.learn(&mut known, listed, taken).await
        };
        let view = tokio::time::timeout(VIEW_VALID_FOR, listing).await.map_err(|_elapsed| too_late())??;
        if !view.is_valid() {
            return Err(too_late());
        }
        let view = Arc::new(view);
        known.view = Some(view.clone());
        Ok(view)
    }

    /// Reads what is new of a listing.
    async fn learn(
        &self,
        known: &mut Known,
        listed: Vec<(Incarnation, WriterFile)>,
        taken: Moment,
    ) -> Result<MembersView, Error> {
        let of = |wanted| listed.iter().filter(move |(_, file)| *file == wanted).map(|(incarnation, _)| *incarnation);
        let retired: HashSet<Incarnation> = of(WriterFile::Retired).collect();
        let active: Vec<Incarnation> = of(WriterFile::Record).filter(|one| !retired.contains(one)).collect();
        let new_marks = retired.iter().filter(|one| !known.retired.contains_key(one));
        for (incarnation, mark) in self.read_all(new_marks, WriterFile::Retired, Retired::decode).await? {
            debug!(%incarnation, "a writer is retired");
            known.retired.insert(incarnation, Seen { at: Moment::now(), mark });
        }
        let new_records = active.iter().filter(|one| !known.records.contains_key(one));
        for (incarnation, record) in self.read_all(new_records, WriterFile::Record, Record::decode).await? {
            known.records.insert(incarnation, Arc::new(record));
        }
        let writers = active.iter().filter_map(|incarnation| known.records.get(incarnation).cloned()).collect();
        known.records.retain(|incarnation, _| active.contains(incarnation));
        self.collect(known, &of(WriterFile::Record).collect(), &retired).await;
        let mut least_manifests = HashMap::new();
        for (tenant, sequence) in known.retired.values().flat_map(|seen| seen.mark.manifests()) {
            let least = least_manifests.entry(tenant).or_default();
            *least = sequence.max(*least);
        }
        Ok(MembersView { taken, writers, least_manifests })
    }

    async fn read_all<T>(
        &self,
        incarnations: impl Iterator<Item = &Incarnation>,
        file: WriterFile,
        decode: fn(&Path, &[u8]) -> Result<T, Error>,
    ) -> Result<Vec<(Incarnation, T)>, Error> {
        let wanted: Vec<Incarnation> = incarnations.copied().collect();
        let read = futures::stream::iter(wanted).map(async |incarnation: Incarnation| {
            let read = self.read(&paths::writer(&incarnation, file), decode).await?;
            Ok::<_, Error>(read.map(|value| (incarnation, value)))
        });
        let read: Vec<Option<_>> = read.buffer_unordered(READ_CONCURRENCY).try_collect().await?;
        Ok(read.into_iter().flatten().collect())
    }

    /// `None` for what was deleted since it was listed: only what is said of retired writers is.
    async fn read<T>(&self, key: &Path, decode: fn(&Path, &[u8]) -> Result<T, Error>) -> Result<Option<T>, Error> {
        match exact::whole(self.objects.as_ref(), key).await {
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            read => decode(key, &read.map_err(Error::objects("read", key))?).map(Some),
        }
    }

    /// Deletes what is said of writers that were retired long ago: the record first, so that nobody finds one without its
    /// mark. What fails is tried again with the next listing.
    async fn collect(&self, known: &mut Known, records: &HashSet<Incarnation>, marks: &HashSet<Incarnation>) {
        known.retired.retain(|incarnation, _| marks.contains(incarnation));
        for (incarnation, _) in known.retired.iter().filter(|(_, seen)| seen.at.age() >= KEPT_RETIRED) {
            let mut outcome = Ok(());
            if records.contains(incarnation) {
                outcome = self.objects.delete(&paths::writer(incarnation, WriterFile::Record)).await;
            }
            if outcome.is_ok() {
                outcome = self.objects.delete(&paths::writer(incarnation, WriterFile::Retired)).await;
            }
            match outcome {
                Ok(()) => info!(%incarnation, "the marks of a retired writer were deleted"),
                Err(error) => debug!(%incarnation, %error, "the marks of a retired writer could not be deleted"),
            }
        }
    }
}

#[cfg(test)]
mod tests;
