//! The task that takes over what other processes commit.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;
use tracing::warn;

use super::Store;
use crate::telemetry::Telemetry;

/// Looks for newer manifests, of new tenants too: one LIST for the tenants, and one for each of them.
pub struct Poller {
    manifests: Arc<Store>,
    period: Duration,
    telemetry: Telemetry,
}

impl Poller {
    /// `period` is not 0.
    pub fn new(manifests: Arc<Store>, period: Duration, telemetry: Telemetry) -> Self {
        let now = Instant::now();
        manifests.tenants().into_iter().for_each(|tenant| telemetry.polls.confirmed(tenant, now));
        Self { manifests, period, telemetry }
    }

    /// Works until it is dropped. What cannot be read stays as it was last known.
    pub async fn run(self) {
        let mut polls = tokio::time::interval(self.period);
        polls.set_missed_tick_behavior(MissedTickBehavior::Delay);
        polls.tick().await; // at once: the store has just been opened
        loop {
            polls.tick().await;
            self.poll().await;
        }
    }

    pub(super) async fn poll(&self) {
        let started = Instant::now();
        match self.manifests.refresh_all().await {
            Ok(tenants) => {
                for (tenant, result) in tenants {
                    match result {
                        Ok(manifest) if manifest.sequence == 0 => {} // a folder of others
                        Ok(_) => self.telemetry.polls.confirmed(tenant, started),
                        Err(error) => {
                            warn!(%tenant, %error, "manifest could not be polled, the last known one stays");
                            self.telemetry.polls.failed(Some(&tenant));
                        }
                    }
                }
            }
            Err(error) => {
                warn!(%error, "manifests could not be polled, the last known ones stay");
                self.telemetry.polls.failed(None);
            }
        }
        self.telemetry.polls.took(started.elapsed());
    }
}
