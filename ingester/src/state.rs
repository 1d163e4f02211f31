//! What all parts of the way in share: live rows, readiness, and how its threads and tasks are started and watched.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use model::TenantId;
use model::limits::{Limits, TenantLimits};
use storage::Error as StorageError;
use storage::incarnation::Writer;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::command::LogCommand;
use crate::config::Config;
use crate::cut;
use crate::error::Error;
use crate::feed::Feed;
use crate::live::Live;
use crate::log::SharedLog;
use crate::rates::{Excess, Rates};
use crate::telemetry::Metrics;
use crate::trace_limits::TraceLimits;
use crate::unavailable::Unavailable;

/// Who is refused for its rate does not come back sooner.
const LEAST_RETRY: Duration = Duration::from_secs(1);

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

/// One ingester, as its threads and tasks see it.
pub(crate) struct State {
    pub config: Config,
    pub writer: Writer,
    pub live: Arc<Live>,
    pub feed: Option<Feed>,
    pub metrics: Metrics,
    pub unavailable: Arc<Unavailable>,
    pub readiness: watch::Sender<Readiness>,
    /// Whether all rows of the log are live or in blocks.
    pub is_replayed: AtomicBool,
    /// Spans are taken from then on.
    pub opens_at: tokio::time::Instant,
    pub log: mpsc::Sender<LogCommand>,
    /// Of a log on the bucket.
    pub shared_log: Option<SharedLog>,
    /// Others have taken over this start of the writer.
    pub is_retired: AtomicBool,
    pub queued_bytes: Arc<Semaphore>,
    pub limits: Arc<TenantLimits>,
    pub rates: Rates,
    pub traces: TraceLimits,
    pub cancel: CancellationToken,
    pub tasks: TaskTracker,
}

impl State {
    pub(crate) fn check_ready(&self) -> Result<(), Error> {
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
            feed.send(self.live.take_closed());
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

    /// Waits until others know of this process; false when it stops before.
    pub(crate) async fn joining(&self) -> bool {
        if self.opens_at > tokio::time::Instant::now() {
            self.set_readiness(Readiness::Replaying { detail: "the other processes learn of this one".to_owned() });
        }
        self.cancel.run_until_cancelled(tokio::time::sleep_until(self.opens_at)).await.is_some()
    }

    /// From now on spans are refused, and [`crate::Ingester::failed`] says why.
    pub(crate) fn fail(&self, reason: String) {
        tracing::error!(reason, "no spans can be taken any more");
        self.set_readiness(Readiness::Failed { reason });
    }

    /// Gives up if a log on the bucket cannot be written any more, for a reason that does not pass.
    pub(crate) fn fail_if_final(&self, error: &StorageError) {
        match error {
            StorageError::WriterRetired | StorageError::WatermarkMoved { .. } => {
                self.is_retired.store(true, Ordering::Release);
                self.fail(error.to_string());
            }
            StorageError::LogElsewhere { .. }
            | StorageError::LogObjectDamaged { .. }
            | StorageError::LogObjectVersion { .. } => self.fail(error.to_string()),
            _ => {}
        }
    }

    /// Whether new requests would only wait.
    pub(crate) fn log_is_stuck(&self) -> bool {
        self.shared_log.as_ref().is_some_and(|log| log.is_stuck.load(Ordering::Relaxed))
    }

    /// Runs a task until the ingester is closed.
    pub(crate) fn spawn(self: &Arc<Self>, part: &'static str, task: impl Future<Output = ()> + Send + 'static) {
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
        Guard { state: self.clone(), part }
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
    pub(crate) fn admit(
        &self,
        tenant: &TenantId,
        limits: &Limits,
        bytes: usize,
        spans: usize,
        now: Instant,
    ) -> Result<(), Error> {
        self.rates.take(tenant, limits, bytes, now).map_err(|excess| {
            self.metrics.discarded(tenant, "rate_limited", spans as u64);
            let message = excess.message(tenant, bytes);
            match excess {
                Excess::Request { .. } => Error::LargerThanBurst { message },
                Excess::Rate { room_after, .. } => {
                    let retry_after = limits.retry_info_enabled.then(|| room_after.max(LEAST_RETRY));
                    Error::RateLimited { message, retry_after }
                }
            }
        })
    }
}

/// See [`State::guard`].
pub(crate) struct Guard {
    pub state: Arc<State>,
    part: &'static str,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.state.fail(format!("the {} has died", self.part));
        }
    }
}
