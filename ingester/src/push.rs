//! The write path on one screen: [`Ingester::push`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use model::TenantId;
use model::limits::TenantLimits;
use object_store::ObjectStore;
use prometheus_client::registry::Registry;
use storage::block::BlockCache;
use storage::cpu::CpuPool;
use storage::incarnation::{Lineage, Writer};
use storage::manifest;
use storage::view::{LiveRows, LiveTable};
use storage::wal::{Log, MAX_PAYLOAD_BYTES, Recovery};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::error::Error;
use crate::feed::Feed;
use crate::flush::{Flusher, flush_queue};
use crate::live::Live;
use crate::log_writer::{LogCommand, Push};
use crate::rates::{Excess, Rates};
use crate::recover::Watermarks;
use crate::telemetry::Metrics;
use crate::unavailable::Unavailable;
use crate::{apply, cut, log_writer, recover, sort};

/// How long [`Ingester::flush`] waits.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(60);

/// Who is refused for its rate does not come back sooner.
const LEAST_RETRY: Duration = Duration::from_secs(1);

/// How long [`Ingester::close`] waits for a log on a disk that hangs; a stop as a whole stays below 5 s.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Whether the process takes spans and answers questions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    Ready,
    /// The log is being read; `detail` says how far.
    Replaying {
        detail: String,
    },
    Stopping,
    /// It cannot go on; a restart reads everything acknowledged back from the log.
    Failed {
        reason: String,
    },
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    pub spans: usize,
}

/// Where blocks and manifests go.
#[derive(Clone)]
pub struct Storage {
    pub objects: Arc<dyn ObjectStore>,
    pub manifests: Arc<manifest::Store>,
    pub cpu: CpuPool,
    pub telemetry: storage::Telemetry,
    /// Whose log it is.
    pub lineage: Arc<Lineage>,
    /// Whether a put may still arrive after the death of the process that made it, as it may over a network. The file
    /// system of this machine has done with a process before it frees its lock on the data folder.
    pub puts_may_be_late: bool,
    /// What is kept of published blocks: a block that is written is told which traces they have, too.
    pub cache: BlockCache,
    /// How far apart in time parts of a trace are looked for.
    pub trace_reach: Duration,
}

impl Storage {
    /// Has the data folder know this start before a manifest does.
    pub(crate) async fn record_incarnation(&self) -> Result<(), storage::Error> {
        if self.lineage.is_recorded() {
            return Ok(());
        }
        let named = self.manifests.incarnations_of(&self.lineage.writer().id);
        let lineage = self.lineage.clone();
        self.cpu.run(move || lineage.record(named.as_ref())).await?
    }
}

/// Takes spans. Cheap to clone.
#[derive(Clone)]
pub struct Ingester {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub config: Config,
    writer: Writer,
    pub live: Arc<Live>,
    pub feed: Option<Feed>,
    pub metrics: Metrics,
    pub unavailable: Arc<Unavailable>,
    readiness: watch::Sender<Readiness>,
    pub log: mpsc::Sender<LogCommand>,
    queued_bytes: Arc<Semaphore>,
    limits: Arc<TenantLimits>,
    rates: Rates,
    cancel: CancellationToken,
    tasks: TaskTracker,
}

impl Ingester {
    /// Takes over an opened log and starts reading it back. [`readiness`](Self::readiness) says when that is done;
    /// until then pushes are refused. A tenant whose manifest is damaged, now or later, is unavailable; its part of the log
    /// is kept.
    ///
    /// # Errors
    /// When the manifests cannot be read, or the log cannot be written.
    pub async fn open(
        config: Config,
        log: (Log, Recovery),
        storage: Storage,
        limits: Arc<TenantLimits>,
        registry: &mut Registry,
    ) -> Result<Self, Error> {
        Self::open_feeding(config, log, storage, limits, None, registry).await
    }

    /// As [`open`](Self::open); spans that are pushed go to `feed`, too, those that were read back from the log do not.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub async fn open_feeding(
        config: Config,
        (mut log, recovery): (Log, Recovery),
        storage: Storage,
        limits: Arc<TenantLimits>,
        feed: Option<Feed>,
        registry: &mut Registry,
    ) -> Result<Self, Error> {
        let cancel = CancellationToken::new();
        let (watermarks, unavailable) = Watermarks::load(storage.clone(), cancel.clone()).await?;
        log.start_after(watermarks.newest()).map_err(Error::storage("open the write-ahead log"))?;

        let (log_commands, log_receiver) = mpsc::channel(config.max_queued_requests);
        let inner = Arc::new(Inner {
            queued_bytes: Arc::new(Semaphore::new(config.max_queued_bytes)),
            config,
            limits,
            rates: Rates::default(),
            writer: storage.lineage.writer(),
            live: Arc::new(Live::with_closing(feed.as_ref().map(|feed| feed.max_age))),
            feed,
            metrics: Metrics::register(registry),
            unavailable: Arc::new(Unavailable::new(unavailable)),
            readiness: watch::Sender::new(Readiness::Replaying {
                detail: "the write-ahead log is being read".to_owned(),
            }),
            log: log_commands,
            cancel,
            tasks: TaskTracker::new(),
        });
        let (cpu, telemetry) = (storage.cpu.clone(), storage.telemetry.clone());
        let flusher = Flusher {
            live: inner.live.clone(),
            storage,
            log: inner.log.clone(),
            metrics: inner.metrics.clone(),
            unavailable: inner.unavailable.clone(),
            recording: Default::default(),
        };
        let (flush_queue, flush_receiver) = flush_queue();
        let of_flusher = inner.clone();
        inner.spawn("flusher", async move {
            if let Err(error) = flusher.run(flush_receiver).await {
                of_flusher.fail(error.to_string());
            }
        });

        let (full_chunks, chunk_receiver) = mpsc::channel(sort::MAX_QUEUED_CHUNKS);
        inner.spawn("sorter", sort::run(cpu, chunk_receiver));

        let apply_commands = apply::spawn(inner.clone(), flush_queue.clone(), full_chunks);
        log_writer::spawn(log, log_receiver, apply_commands, inner.metrics.clone(), inner.guard("log writer"));
        inner.spawn("cutter", cut_by_age(inner.clone()));
        recover::spawn(&inner, recovery, watermarks, flush_queue, telemetry);
        Ok(Self { inner })
    }

    /// Stores the spans of a serialized `ExportTraceServiceRequest`.
    ///
    /// When this returns `Ok`, the request is in the log and synced, and its spans can be found by id and by search.
    ///
    /// # Errors
    /// [`Error::Request`]: nothing was stored, and the same request will fail again. Other errors: nothing is promised
    /// to be stored, retry. A request that times out may be stored all the same.
    pub async fn push(&self, tenant: &TenantId, request: Bytes) -> Result<Accepted, Error> {
        let inner = &self.inner;
        inner.check_ready()?;
        inner.unavailable.check(tenant)?;
        if request.len() > MAX_PAYLOAD_BYTES {
            return Err(Error::TooLarge { bytes: request.len() });
        }
        let summary = spans::check(&request)
            .inspect_err(|_| inner.metrics.discarded(tenant, "malformed", 1))
            .map_err(Error::Request)?;
        if summary.spans == 0 {
            return Ok(Accepted { spans: 0 });
        }
        let (started, bytes) = (Instant::now(), request.len());
        inner.admit(tenant, bytes, summary.spans, started)?;
        tokio::time::timeout(inner.config.push_timeout, inner.log_and_apply(tenant, request))
            .await
            .map_err(|_| Error::QueueFull)??;
        inner.metrics.received(tenant, summary.spans, bytes, started.elapsed());
        Ok(Accepted { spans: summary.spans })
    }

    /// Cuts all live spans and publishes them as blocks; returns when they are published.
    ///
    /// # Errors
    /// [`Error::Storage`] when a block could not be published at the first attempt; attempts go on.
    pub async fn flush(&self) -> Result<(), Error> {
        self.inner.check_ready()?;
        let (done, published) = oneshot::channel();
        let flush = async {
            self.inner.log.send(LogCommand::Cut { done: Some(done) }).await.map_err(|_| Error::Stopped)?;
            published.await.map_err(|_| Error::Stopped)?
        };
        let late =
            |_| Error::NotReady { reason: format!("blocks were not published within {FLUSH_TIMEOUT:?}, they will be") };
        tokio::time::timeout(FLUSH_TIMEOUT, flush).await.map_err(late)?
    }

    pub fn readiness(&self) -> Readiness {
        self.inner.readiness.borrow().clone()
    }

    /// Waits until spans can no longer be taken, for a reason that only a new start can mend; says which.
    pub async fn failed(&self) -> String {
        let mut readiness = self.inner.readiness.subscribe();
        let failed = readiness.wait_for(|readiness| matches!(readiness, Readiness::Failed { .. })).await;
        match failed.as_deref() {
            Ok(Readiness::Failed { reason }) => reason.clone(),
            _ => std::future::pending().await,
        }
    }

    /// Refuses new requests from now on; those under way are finished.
    pub fn refuse(&self) {
        self.inner.set_readiness(Readiness::Stopping);
    }

    /// Stops writing blocks, then the log: no file is touched any more when this returns. What is acknowledged is in the
    /// log, and the next start finds it there.
    pub async fn close(&self) {
        self.refuse();
        self.inner.cancel.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
        let close = async {
            // a log writer that has died is closed as well
            _ = self.inner.log.send(LogCommand::Close).await;
            self.inner.log.closed().await;
        };
        if tokio::time::timeout(CLOSE_TIMEOUT, close).await.is_err() {
            tracing::warn!(timeout = ?CLOSE_TIMEOUT, "the write-ahead log is still busy, stopping without it");
        }
        if let Some(feed) = &self.inner.feed {
            self.inner.live.close_due(true);
            feed.send(|| self.inner.live.take_closed()).await;
            feed.end();
        }
    }
}

impl LiveRows for Ingester {
    fn writer(&self) -> Writer {
        self.inner.writer
    }

    fn tables(&self, tenant: &TenantId) -> Result<Vec<LiveTable>, storage::Error> {
        let tables = self.inner.live.tables(tenant);
        tables.map_err(|error| storage::Error::LiveSpans { reason: error.to_string() })
    }
}

impl Inner {
    fn check_ready(&self) -> Result<(), Error> {
        match &*self.readiness.borrow() {
            Readiness::Ready => Ok(()),
            Readiness::Replaying { detail } => Err(Error::NotReady { reason: detail.clone() }),
            Readiness::Stopping => Err(Error::NotReady { reason: "the process is stopping".to_owned() }),
            Readiness::Failed { reason } => Err(Error::NotReady { reason: reason.clone() }),
        }
    }

    /// Hands closed chunks on to whoever counts spans.
    pub(crate) fn feed(&self) {
        if let Some(feed) = &self.feed {
            feed.blocking_send(|| self.live.take_closed());
        }
    }

    pub(crate) fn set_readiness(&self, readiness: Readiness) {
        self.readiness.send_if_modified(|current| {
            let may_change = !matches!(current, Readiness::Stopping | Readiness::Failed { .. });
            if may_change {
                *current = readiness;
            }
            may_change
        });
    }

    /// From now on spans are refused, and [`Ingester::failed`] says why.
    pub(crate) fn fail(&self, reason: String) {
        tracing::error!(reason, "no spans can be taken any more");
        self.set_readiness(Readiness::Failed { reason });
    }

    /// Runs a task until the ingester is closed.
    fn spawn(self: &Arc<Self>, part: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let guard = self.guard(part);
        let guarded = async move {
            let _guard = guard;
            task.await;
        };
        self.tasks.spawn(self.cancel.clone().run_until_cancelled_owned(guarded));
    }

    /// Makes the process refuse spans when the thread or task that holds the guard panics, rather than acknowledge
    /// nothing or store in vain without a word.
    pub(crate) fn guard(self: &Arc<Self>, part: &'static str) -> Guard {
        Guard { inner: self.clone(), part }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        *self.readiness.borrow() == Readiness::Stopping
    }

    /// Asks for a cut unless one is on its way through a full queue; the next check asks again.
    /// Not before the log is replayed: until then closed segments hold entries that are not among the live rows.
    pub(crate) fn request_cut_if_due(&self) -> bool {
        if self.check_ready().is_err() {
            return false;
        }
        let due = cut::due(&self.live.size(), &self.config, Instant::now());
        due.is_some_and(|reason| {
            tracing::debug!(?reason, "cutting live spans");
            self.log.try_send(LogCommand::Cut { done: None }).is_ok()
        })
    }

    /// Takes a request from what its tenant may bring.
    fn admit(&self, tenant: &TenantId, bytes: usize, spans: usize, now: Instant) -> Result<(), Error> {
        let limits = self.limits.of(tenant);
        self.rates.take(tenant, &limits, bytes, now).map_err(|excess| {
            self.metrics.discarded(tenant, "rate_limited", spans as u64);
            let room_after = match excess {
                Excess::Rate { room_after, .. } => room_after.max(LEAST_RETRY),
                Excess::Request { .. } => LEAST_RETRY,
            };
            let retry_after = (!limits.hides_retry_info).then_some(room_after);
            Error::RateLimited { message: excess.message(tenant, bytes), retry_after }
        })
    }

    async fn log_and_apply(&self, tenant: &TenantId, request: Bytes) -> Result<(), Error> {
        let bytes = u32::try_from(request.len().min(self.config.max_queued_bytes)).unwrap_or(u32::MAX);
        let room = self.queued_bytes.clone().acquire_many_owned(bytes).await.map_err(|_| Error::Stopped)?;
        let (acknowledge, acknowledged) = oneshot::channel();
        let push = Push { tenant: tenant.clone(), request, acknowledge, _room: room };
        self.log.send(LogCommand::Push(push)).await.map_err(|_| Error::Stopped)?;
        acknowledged.await.map_err(|_| Error::Stopped)?
    }
}

/// See [`Inner::guard`].
pub(crate) struct Guard {
    pub inner: Arc<Inner>,
    part: &'static str,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.inner.fail(format!("the {} has died", self.part));
        }
    }
}

async fn cut_by_age(inner: Arc<Inner>) {
    let mut ticks = tokio::time::interval(cut::CHECK_PERIOD);
    loop {
        ticks.tick().await;
        inner.request_cut_if_due();
        if let Some(feed) = inner.feed.as_ref().filter(|_| inner.check_ready().is_ok()) {
            inner.live.close_due(false);
            feed.send(|| inner.live.take_closed()).await;
        }
    }
}

#[cfg(test)]
mod tests;
