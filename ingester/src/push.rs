//! The write path on one screen: [`Ingester::push`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use model::limits::{Limits, TenantLimits};
use model::{TenantId, TimeRange};
use prometheus_client::registry::Registry;
use storage::ids::SegmentSequence;
use storage::incarnation::Writer;
use storage::view::{LiveRows, LiveTable};
use storage::wal::MAX_PAYLOAD_BYTES;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::adopt::Adopter;
use crate::command::{LogCommand, Push};
use crate::config::Config;
use crate::error::Error;
use crate::feed::Feed;
use crate::flush::{Flusher, flush_queue};
use crate::live::{Live, LiveSpansGauge};
use crate::log::OpenedLog;
use crate::rates::Rates;
use crate::recover::Watermarks;
use crate::screen::{Screened, screen};
use crate::state::{Readiness, State};
use crate::stores::Storage;
use crate::telemetry::Metrics;
use crate::trace_limits::TraceLimits;
use crate::unavailable::Unavailable;
use crate::{apply, cut, log_writer, recover, sort};

/// How long [`Ingester::flush`] waits.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(60);

/// How long [`Ingester::close`] waits for a log on a disk that hangs; a stop as a whole stays below 5 s.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// What became of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accepted {
    pub spans: usize,
    /// Spans that were left out for good, because their traces are beyond a limit of the tenant.
    pub rejected_spans: usize,
    /// Why, for the client to read; empty when nothing was left out.
    pub rejection: String,
}

/// Takes spans. Cheap to clone.
#[derive(Clone)]
pub struct Ingester {
    state: Arc<State>,
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
        log: impl Into<OpenedLog>,
        storage: Storage,
        limits: Arc<TenantLimits>,
        registry: &mut Registry,
    ) -> Result<Self, Error> {
        Self::open_feeding(config, log, storage, limits, None, registry).await
    }

    /// As [`open`](Self::open); spans that are pushed go to `feed`, too, and so do those that the log holds behind its
    /// position. The log keeps what whoever counts them has not yet stored.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub async fn open_feeding(
        config: Config,
        log: impl Into<OpenedLog>,
        storage: Storage,
        limits: Arc<TenantLimits>,
        feed: Option<Feed>,
        registry: &mut Registry,
    ) -> Result<Self, Error> {
        let (mut log, cancel) = (log.into(), CancellationToken::new());
        let (watermarks, unavailable) = Watermarks::load(storage.clone(), cancel.clone()).await?;
        let counted = feed.as_ref().map(|feed| feed.counted);
        let newest = counted.map_or(watermarks.newest(), |counted| counted.segment.max(watermarks.newest()));
        log.start_after(newest).map_err(Error::storage("open the write-ahead log"))?;

        let (log_commands, log_receiver) = mpsc::channel(config.max_queued_requests);
        let state = Arc::new(State {
            queued_bytes: Arc::new(Semaphore::new(config.max_queued_bytes)),
            is_replayed: AtomicBool::new(false),
            opens_at: tokio::time::Instant::now() + config.joining_time,
            config,
            limits,
            rates: Rates::default(),
            traces: TraceLimits::default(),
            writer: storage.lineage.writer(),
            live: Arc::new(if feed.is_some() { Live::keeping_closed() } else { Live::default() }),
            feed,
            metrics: Metrics::register(registry),
            unavailable: Arc::new(Unavailable::new(unavailable)),
            readiness: watch::Sender::new(Readiness::Replaying {
                detail: "the write-ahead log is being read".to_owned(),
            }),
            log: log_commands,
            shared_log: log.shared(),
            is_retired: AtomicBool::new(false),
            cancel,
            tasks: TaskTracker::new(),
        });
        registry.register_collector(Box::new(LiveSpansGauge(state.live.clone())));
        let (cpu, telemetry) = (storage.cpu.clone(), storage.telemetry.clone());
        let flusher = Flusher {
            live: state.live.clone(),
            storage,
            log: state.log.clone(),
            metrics: state.metrics.clone(),
            unavailable: state.unavailable.clone(),
            recording: Default::default(),
            standing: state.shared_log.as_ref().map(|log| log.standing.clone()),
            raised: Default::default(),
        };
        let (flush_queue, flush_receiver) = flush_queue();
        let of_flusher = state.clone();
        state.spawn("flusher", async move {
            if let Err(error) = flusher.run(flush_receiver).await {
                of_flusher.fail_if_final(&error);
                of_flusher.fail(error.to_string());
            }
        });

        let (full_chunks, chunk_receiver) = mpsc::channel(sort::MAX_QUEUED_CHUNKS);
        state.spawn("sorter", sort::run(cpu.clone(), chunk_receiver));

        let apply_commands = apply::spawn(state.clone(), flush_queue.clone(), full_chunks);
        let guard = state.guard("log writer");
        let (log, recovery, shipper) = log.split(state.cancel.clone());
        if let Some(shipper) = shipper {
            state.spawn("shipper", shipper.run(state.clone(), cpu));
        }
        log_writer::spawn(log, log_receiver, apply_commands, counted, state.metrics.clone(), guard);
        state.spawn("cutter", cut_by_age(state.clone()));
        if let Some(feed) = &state.feed {
            state.spawn("marker", mark_periodically(state.clone(), feed.period));
        }
        recover::spawn(&state, recovery, watermarks, flush_queue, telemetry);
        Ok(Self { state })
    }

    /// Stores the spans of a serialized `ExportTraceServiceRequest`.
    ///
    /// When this returns `Ok`, the request is in the log and synced, and its spans can be found by id and by search.
    ///
    /// # Errors
    /// [`Error::Request`]: nothing was stored, and the same request will fail again. Other errors: nothing is promised
    /// to be stored, retry. A request that times out may be stored all the same.
    pub async fn push(&self, tenant: &TenantId, request: Bytes) -> Result<Accepted, Error> {
        let state = &self.state;
        state.check_ready()?;
        if state.log_is_stuck() {
            return Err(Error::Log { reason: "the store does not answer".to_owned() });
        }
        state.unavailable.check(tenant)?;
        if request.len() > MAX_PAYLOAD_BYTES {
            return Err(Error::TooLarge { bytes: request.len() });
        }
        let summary = spans::check(&request)
            .inspect_err(|_| state.metrics.discarded(tenant, "malformed", 1))
            .map_err(Error::Request)?;
        if summary.spans == 0 {
            return Ok(Accepted::default());
        }
        let (started, bytes, limits) = (Instant::now(), request.len(), state.limits.of(tenant));
        let time_range = summary.time_range.unwrap_or(TimeRange::ALL);
        state.admit(tenant, &limits, bytes, summary.spans, started)?;
        let screened = screen(&state.traces, tenant, &limits, (request, summary.spans), started)?;
        if screened.spans > 0
            && let Err(error) = self.store(tenant, screened.request.clone(), time_range).await
        {
            // nobody pays for what is refused
            state.rates.give_back(tenant, bytes);
            state.traces.give_back(tenant, &screened.taken);
            return Err(error);
        }
        state.metrics.received(tenant, summary.spans, bytes, started.elapsed());
        state.metrics.screened(tenant, &screened);
        Ok(accepted(&screened, &limits))
    }

    async fn store(&self, tenant: &TenantId, request: Bytes, time_range: TimeRange) -> Result<(), Error> {
        let store = self.log_and_apply(tenant, request, time_range);
        let stored = tokio::time::timeout(self.state.config.push_timeout, store).await;
        stored.map_err(|_| Error::QueueFull)?
    }

    /// Returns when the request is in the log and its spans can be found.
    async fn log_and_apply(&self, tenant: &TenantId, request: Bytes, time_range: TimeRange) -> Result<(), Error> {
        let bytes = u32::try_from(request.len().min(self.state.config.max_queued_bytes)).unwrap_or(u32::MAX);
        let room = self.state.queued_bytes.clone().acquire_many_owned(bytes).await.map_err(|_| Error::Stopped)?;
        let (acknowledge, acknowledged) = oneshot::channel();
        let push = Push { tenant: tenant.clone(), request, time_range, acknowledge, _room: room };
        self.state.log.send(LogCommand::Push(push)).await.map_err(|_| Error::Stopped)?;
        acknowledged.await.map_err(|_| Error::Stopped)?
    }

    /// Cuts all live spans and publishes them as blocks; returns when they are published.
    ///
    /// # Errors
    /// [`Error::Storage`] when a block could not be published at the first attempt; attempts go on.
    pub async fn flush(&self) -> Result<(), Error> {
        self.state.check_ready()?;
        self.publish(FLUSH_TIMEOUT).await
    }

    /// Publishes what is live at the end, when no request is under way any more and none is taken.
    ///
    /// # Errors
    /// When something of what was acknowledged is in no block: the log has it, and the next start finds it there.
    pub async fn publish_all(&self, timeout: Duration) -> Result<(), Error> {
        if !self.is_whole() {
            return Err(Error::NotReady { reason: "the log was not read to its end".to_owned() });
        }
        self.publish(timeout).await?;
        match self.state.live.is_empty() && self.state.unavailable.is_empty() {
            true => Ok(()),
            false => Err(Error::NotReady { reason: "some spans could not be published".to_owned() }),
        }
    }

    async fn publish(&self, timeout: Duration) -> Result<(), Error> {
        let (done, published) = oneshot::channel();
        let flush = async {
            self.state.log.send(LogCommand::Cut { done: Some(done) }).await.map_err(|_| Error::Stopped)?;
            published.await.map_err(|_| Error::Stopped)?
        };
        let late =
            |_| Error::NotReady { reason: format!("blocks were not published within {timeout:?}, they will be") };
        tokio::time::timeout(timeout, flush).await.map_err(late)?
    }

    pub fn readiness(&self) -> Readiness {
        let readiness = self.state.readiness.borrow().clone();
        match readiness == Readiness::Ready && self.state.log_is_stuck() {
            true => Readiness::Replaying { detail: "the store does not answer, spans are refused".to_owned() },
            false => readiness,
        }
    }

    /// Tells it that others have taken over its log: it takes no spans any more, and [`failed`](Self::failed).
    pub fn taken_over(&self) {
        self.state.fail_if_final(&storage::Error::WriterRetired);
    }

    /// Whether it [`failed`](Self::failed) because others have taken over its log: a new start under a new id goes on.
    pub fn is_retired(&self) -> bool {
        self.state.is_retired.load(Ordering::Acquire)
    }

    /// Up to which object of a log on the bucket blocks have everything; `None` for a log on a disk.
    pub fn covered(&self) -> Option<Arc<AtomicU64>> {
        self.state.shared_log.as_ref().map(|log| log.covered.clone())
    }

    /// Who publishes what other writers left behind, with the limits and counters of this one.
    pub fn adopter(&self, storage: Storage) -> Adopter {
        Adopter::new(storage, self.state.metrics.clone(), self.state.config.max_block_bytes)
    }

    /// Waits until spans are taken; for ever, if it does not come to that.
    pub async fn ready(&self) {
        let mut readiness = self.state.readiness.subscribe();
        if readiness.wait_for(|readiness| *readiness == Readiness::Ready).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until spans can no longer be taken, for a reason that only a new start can mend; says which.
    pub async fn failed(&self) -> String {
        let mut readiness = self.state.readiness.subscribe();
        let failed = readiness.wait_for(|readiness| matches!(readiness, Readiness::Failed { .. })).await;
        match failed.as_deref() {
            Ok(Readiness::Failed { reason }) => reason.clone(),
            _ => std::future::pending().await,
        }
    }

    /// Refuses new requests from now on; those under way are finished.
    pub fn refuse(&self) {
        self.state.set_readiness(Readiness::Stopping);
    }

    /// Stops writing blocks, then the log: no file is touched any more when this returns. What is acknowledged is in the
    /// log, and the next start finds it there.
    pub async fn close(&self) {
        self.refuse();
        self.state.cancel.cancel();
        self.state.tasks.close();
        self.state.tasks.wait().await;
        let close = async {
            // a log writer that has died is closed as well
            _ = self.state.log.send(LogCommand::Close).await;
            self.state.log.closed().await;
        };
        if tokio::time::timeout(CLOSE_TIMEOUT, close).await.is_err() {
            tracing::warn!(timeout = ?CLOSE_TIMEOUT, "the write-ahead log is still busy, stopping without it");
        }
    }
}

impl LiveRows for Ingester {
    fn writer(&self) -> Writer {
        self.state.writer
    }

    fn tables(&self, tenant: &TenantId) -> Result<Vec<LiveTable>, storage::Error> {
        let tables = self.state.live.tables(tenant);
        tables.map_err(|error| storage::Error::LiveSpans { reason: error.to_string() })
    }

    fn has_cut_at(&self, segment: SegmentSequence) -> bool {
        // a log on a disk is published by its own process alone
        self.state.shared_log.is_none() || self.state.live.has_cut_at(segment)
    }

    fn is_whole(&self) -> bool {
        self.state.is_replayed.load(Ordering::Acquire)
    }
}

fn accepted(screened: &Screened, limits: &Limits) -> Accepted {
    let reasons: Vec<String> =
        screened.rejected.iter().map(|(excess, spans)| format!("{spans} spans: {}", excess.text(limits))).collect();
    Accepted { spans: screened.spans, rejected_spans: screened.rejected.values().sum(), rejection: reasons.join("; ") }
}

async fn cut_by_age(state: Arc<State>) {
    let mut ticks = tokio::time::interval(cut::CHECK_PERIOD);
    loop {
        ticks.tick().await;
        state.request_cut_if_due();
    }
}

/// Has whoever counts spans get all there are, and hear how far the log is.
async fn mark_periodically(state: Arc<State>, period: Duration) {
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if state.check_ready().is_ok() {
            _ = state.log.send(LogCommand::Mark).await;
        }
    }
}

#[cfg(test)]
mod tests;
