//! Appending: one put at a time, each tried until its outcome is certain.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use object_store::{ObjectStore, PutMode};
use tracing::{error, info};
use uuid::Uuid;

use super::{LogEntry, LogObject, LogReader, TRUSTED_FOR};
use crate::clock::Moment;
use crate::cpu::CpuPool;
use crate::error::Error;
use crate::ids::SegmentSequence;
use crate::incarnation::Incarnation;
use crate::members::Standing;
use crate::paths;
use crate::telemetry::Telemetry;

/// Between two attempts at one put there is a time that doubles from this …
const FIRST_RETRY: Duration = Duration::from_millis(50);
/// … to this.
const LONGEST_RETRY: Duration = Duration::from_secs(2);
/// A put that has been tried for so long holds up the log: new requests need not wait for it.
const STUCK_AFTER: Duration = Duration::from_secs(5);

/// When a batch ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How long after the beginning of one put the next begins at the soonest.
    pub linger: Duration,
}

/// The log of one start of a writer, which nobody else writes.
#[derive(Debug)]
pub struct BucketLog {
    objects: Arc<dyn ObjectStore>,
    reader: LogReader,
    telemetry: Telemetry,
    writer: Incarnation,
    standing: Arc<Standing>,
    settings: Settings,
    /// The last object that is certain; 0 before the first.
    newest: u64,
    /// Before the put of that object began, or before the writer's record was found to stand.
    trusted: Moment,
    covered: Arc<AtomicU64>,
    /// Blocks may not have all that is in the objects so far, and will not.
    is_held: bool,
    is_stuck: Arc<AtomicBool>,
    /// Sizes of the objects that blocks may not have.
    open: VecDeque<(u64, u64)>,
}

/// An object on its way.
struct Encoded {
    object: Bytes,
    raw_bytes: usize,
}

impl Encoded {
    fn new(writer: Incarnation, number: u64, nonce: Uuid, entries: &[LogEntry]) -> Result<Self, Error> {
        let raw_bytes = entries.iter().map(|entry| entry.payload.len()).sum();
        Ok(Self { object: LogObject::encode(writer, number, nonce, entries)?, raw_bytes })
    }
}

impl BucketLog {
    /// The log of a writer that has joined just now.
    pub fn new(
        objects: Arc<dyn ObjectStore>,
        standing: Arc<Standing>,
        settings: Settings,
        telemetry: &Telemetry,
    ) -> Self {
        Self {
            reader: LogReader::new(objects.clone(), telemetry.clone()),
            objects,
            telemetry: telemetry.clone(),
            writer: standing.incarnation(),
            trusted: standing.confirmed(),
            standing,
            settings,
            newest: 0,
            covered: Arc::default(),
            is_held: false,
            is_stuck: Arc::default(),
            open: VecDeque::new(),
        }
    }

    pub fn settings(&self) -> Settings {
        self.settings
    }

    /// Up to which object blocks have everything; for [`super::collect::OwnCollector`].
    pub fn covered(&self) -> Arc<AtomicU64> {
        self.covered.clone()
    }

    /// True while a put has been tried for long.
    pub fn stuck(&self) -> Arc<AtomicBool> {
        self.is_stuck.clone()
    }

    pub fn standing(&self) -> Arc<Standing> {
        self.standing.clone()
    }

    /// Stores all entries in one object; tries until the outcome is certain, so that nothing is found that a crash takes away.
    /// When the future is dropped before, the log must not be used any more.
    ///
    /// # Errors
    /// None of the entries may be acknowledged then. [`Error::EntryTooLarge`] refuses the batch before anything is stored. After
    /// [`Error::WriterRetired`] and [`Error::LogElsewhere`], and when what is there cannot be read, this log takes nothing more.
    pub async fn append(&mut self, entries: &[LogEntry]) -> Result<SegmentSequence, Error> {
        let (number, nonce) = (self.newest + 1, Uuid::new_v4());
        let object = Encoded::new(self.writer, number, nonce, entries)?;
        self.store(number, nonce, object).await
    }

    /// As [`append`](Self::append), with the CPU work on a pool.
    ///
    /// # Errors
    /// Those of [`append`](Self::append).
    pub async fn append_on(
        &mut self,
        cpu: &CpuPool,
        entries: impl FnOnce() -> Vec<LogEntry> + Send + 'static,
    ) -> Result<SegmentSequence, Error> {
        let (writer, number, nonce) = (self.writer, self.newest + 1, Uuid::new_v4());
        let object = cpu.run(move || Encoded::new(writer, number, nonce, &entries())).await??;
        self.store(number, nonce, object).await
    }

    async fn store(&mut self, number: u64, nonce: Uuid, encoded: Encoded) -> Result<SegmentSequence, Error> {
        let (began, Encoded { object, raw_bytes }) = (Moment::now(), encoded);
        self.telemetry.bucket_log.batch(raw_bytes, object.len());
        let _under_way = self.telemetry.bucket_log.put_began(began);
        let outcome = self.put_until_certain(number, nonce, &object, began).await;
        let outcome = match outcome {
            Ok(()) => self.believe(began).await,
            refused => refused,
        };
        self.is_stuck.store(false, Ordering::Relaxed);
        outcome?;
        self.newest = number;
        self.open.push_back((number, object.len() as u64));
        Ok(SegmentSequence(number))
    }

    async fn put_until_certain(&self, number: u64, nonce: Uuid, object: &Bytes, began: Moment) -> Result<(), Error> {
        let mut wait = FIRST_RETRY;
        loop {
            match self.put(number, nonce, object).await {
                Ok(true) => {
                    if self.is_stuck.load(Ordering::Relaxed) {
                        info!(number, "the log can be written again");
                    }
                    return Ok(());
                }
                Ok(false) => {}
                Err(error) if error.is_store_away() => {
                    if began.age() >= STUCK_AFTER && !self.is_stuck.swap(true, Ordering::Relaxed) {
                        error!(number, %error, "the log on the bucket cannot be written, will retry");
                    }
                }
                Err(error) => return Err(error),
            }
            tokio::time::sleep(wait).await;
            wait = (2 * wait).min(LONGEST_RETRY);
        }
    }

    /// True when the object is there; false when nothing is, so far.
    async fn put(&self, number: u64, nonce: Uuid, object: &Bytes) -> Result<bool, Error> {
        let key = paths::log_object(&self.writer, number);
        self.telemetry.bucket_log.requested("put");
        match self.objects.put_opts(&key, object.clone().into(), PutMode::Create.into()).await {
            Err(object_store::Error::AlreadyExists { .. }) => self.finds(number, Some(nonce)).await,
            result => result.map(|_| true).map_err(Error::objects("create log object", &key)),
        }
    }

    /// Whether an object is there that was put under this nonce; an error if another is.
    async fn finds(&self, number: u64, nonce: Option<Uuid>) -> Result<bool, Error> {
        match self.reader.read(&self.writer, number).await? {
            None => Ok(false),
            Some(there) if Some(there.nonce) == nonce => Ok(true),
            Some(there) if there.is_seal => Err(Error::WriterRetired),
            Some(_) => Err(Error::LogElsewhere { key: paths::log_object(&self.writer, number).to_string() }),
        }
    }

    /// Looks whether anybody else has put the next object, while no append is under way.
    ///
    /// # Errors
    /// [`Error::WriterRetired`] when it is a seal; others when the store does not answer.
    pub async fn check_open(&self) -> Result<(), Error> {
        self.finds(self.newest + 1, None).await.map(drop)
    }

    /// The object is there; may it be believed that its number was free? See [`super`].
    async fn believe(&mut self, began: Moment) -> Result<(), Error> {
        if self.trusted.age() < TRUSTED_FOR {
            self.trusted = began;
            return Ok(());
        }
        let mut wait = FIRST_RETRY;
        loop {
            match self.standing.confirm().await {
                Ok(confirmed) => {
                    self.trusted = confirmed;
                    return Ok(());
                }
                Err(Error::WriterRetired) => return Err(Error::WriterRetired),
                Err(_) => tokio::time::sleep(wait).await,
            }
            wait = (2 * wait).min(LONGEST_RETRY);
        }
    }

    /// The last object: all entries so far lie in objects up to it, later ones above.
    pub fn newest(&self) -> SegmentSequence {
        SegmentSequence(self.newest)
    }

    /// Blocks have all that is in the objects up to this one.
    pub fn cover(&mut self, through: SegmentSequence) {
        if self.is_held {
            return;
        }
        self.covered.fetch_max(through.0.min(self.newest), Ordering::Relaxed);
        while self.open.front().is_some_and(|(number, _)| *number <= through.0) {
            self.open.pop_front();
        }
    }

    /// Keeps all objects that are not covered, for good: some of their rows will not be in blocks.
    pub fn hold(&mut self) {
        self.is_held = true;
    }

    /// Size and number of the objects that blocks may not have.
    pub fn size(&self) -> (u64, usize) {
        (self.open.iter().map(|(_, bytes)| bytes).sum(), self.open.len())
    }
}
