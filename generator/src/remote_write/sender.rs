//! The task that empties one queue: a request at a time, in order, again and again until the target takes it or refuses it
//! for good.

use std::sync::Arc;
use std::time::Duration;

use super::config::{RemoteWriteConfig, TargetConfig};
use super::endpoint::{Endpoint, Outcome};
use super::queue::Queue;
use crate::error::Error;
use crate::telemetry::TargetTelemetry;

/// Prometheus's: soon at first, then every five seconds.
pub(super) const FIRST_BACKOFF: Duration = Duration::from_millis(30);
pub(super) const LONGEST_BACKOFF: Duration = Duration::from_secs(5);
/// A target that names a longer time is asked again after this.
pub(super) const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60);

/// Empties the queue of one target.
pub struct Sender {
    name: String,
    endpoint: Endpoint,
    queue: Arc<Queue>,
    telemetry: TargetTelemetry,
}

impl Sender {
    pub(super) fn new(
        target: &TargetConfig,
        name: String,
        config: &RemoteWriteConfig,
        queue: Arc<Queue>,
        telemetry: TargetTelemetry,
    ) -> Result<Self, Error> {
        Ok(Self { name, endpoint: Endpoint::new(target, config)?, queue, telemetry })
    }

    /// Runs until it is aborted; what it was sending then is sent again by the next process.
    pub async fn run(self) {
        let mut backoff = FIRST_BACKOFF;
        let mut is_failing = false;
        loop {
            let oldest = self.queue.oldest().await;
            let Some(body) = self.queue.read(&oldest) else {
                self.telemetry.dropped("damaged", oldest.samples);
                self.queue.done(&oldest);
                continue;
            };
            match self.endpoint.send(&oldest.tenant, body).await {
                Outcome::Taken => {
                    if std::mem::take(&mut is_failing) {
                        tracing::info!(target_name = self.name, "series are taken again");
                    }
                    backoff = FIRST_BACKOFF;
                    self.telemetry.sent(oldest.samples);
                    self.queue.done(&oldest);
                }
                Outcome::Refused { reason, taken } => {
                    tracing::warn!(
                        target_name = self.name,
                        reason,
                        taken,
                        "series were refused, they are not sent again"
                    );
                    self.telemetry.sent(taken.min(oldest.samples));
                    self.telemetry.dropped("refused", oldest.samples.saturating_sub(taken));
                    self.queue.done(&oldest);
                }
                Outcome::Later(reason, after) => {
                    // said once, however long it takes
                    if !std::mem::replace(&mut is_failing, true) {
                        tracing::warn!(target_name = self.name, reason, "series could not be sent, they wait on disk");
                    }
                    self.telemetry.retried();
                    tokio::time::sleep(after.unwrap_or(backoff).min(LONGEST_RETRY_AFTER)).await;
                    backoff = (backoff * 2).min(LONGEST_BACKOFF);
                }
            }
        }
    }
}
