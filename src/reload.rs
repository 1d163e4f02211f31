//! What changes without a restart: limits of tenants here, certificates and secrets in `listeners.rs`, the log level in
//! `log_level.rs`.

mod listeners;
mod log_level;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use model::limits::{LimitTable, TenantLimits};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tracing::{info, warn};

use crate::config::Config;

pub use listeners::ListenerReloader;
pub use log_level::LogLevelReloader;

/// The file is not read more often, whatever is set. What is new in it holds when it is still there after so long: a file
/// that is being written is often YAML, too, and a tenant that is missing in it has the retention of all.
const LEAST_PERIOD: Duration = Duration::from_secs(1);

/// The task. Without a file it has nothing to do, and says so by never ending.
pub struct LimitReloader {
    config: Config,
    limits: Arc<TenantLimits>,
    /// What the last look found new.
    news: Option<LimitTable>,
    /// What was wrong with the file at the last look; said once.
    problem: Option<String>,
    is_successful: Gauge,
}

impl LimitReloader {
    pub fn new(config: Config, limits: Arc<TenantLimits>, registry: &mut Registry) -> Self {
        let is_successful = Gauge::default();
        is_successful.set(1);
        registry.register(
            "tempo_runtime_config_last_reload_successful",
            "Whether the file with the limits of tenants could be used when it was last read",
            is_successful.clone(),
        );
        Self { config, limits, news: None, problem: None, is_successful }
    }

    pub async fn run(mut self) {
        if self.config.overrides.per_tenant_override_config.is_none() {
            return std::future::pending().await;
        }
        let period = self.config.overrides.per_tenant_override_period.get().max(LEAST_PERIOD);
        loop {
            self.look().await;
            tokio::time::sleep(if self.news.is_some() { LEAST_PERIOD } else { period }).await;
        }
    }

    /// Takes what the file says when it said so the last time, too; one that cannot be used changes nothing.
    pub async fn look(&mut self) {
        let before = self.news.take();
        let config = self.config.clone();
        // it may lie on a disk that answers slowly
        let read = tokio::task::spawn_blocking(move || config.tenant_limits()).await;
        let problem = match read.context("read the file").flatten() {
            Ok(table) => {
                self.take(table, before);
                None
            }
            Err(error) => Some(format!("{error:#}")),
        };
        self.is_successful.set(i64::from(problem.is_none()));
        if let Some(problem) = &problem
            && self.problem.as_ref() != Some(problem)
        {
            warn!(error = problem, "the limits of tenants could not be read again, the old ones hold");
        }
        self.problem = problem;
    }

    fn take(&mut self, table: LimitTable, before: Option<LimitTable>) {
        if table == *self.limits.table() {
            return;
        }
        if before.as_ref() == Some(&table) {
            info!(tenants = table.tenants.len(), "the limits of tenants have changed");
            self.limits.replace(table);
        } else {
            self.news = Some(table);
        }
    }
}

#[cfg(test)]
mod tests {
    use model::TenantId;

    use super::*;

    #[tokio::test]
    async fn limits_follow_the_file_and_stay_when_it_is_broken() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("overrides.yaml");
        let write = |text: &str| std::fs::write(&file, text).unwrap();
        write("overrides: {a: {ingestion: {rate_limit_bytes: 1}}}");
        let config =
            Config::parse(&format!("overrides: {{per_tenant_override_config: '{}'}}", file.display())).unwrap();
        let limits = Arc::new(TenantLimits::new(config.tenant_limits().unwrap()));
        let mut registry = Registry::default();
        let mut reloader = LimitReloader::new(config, limits.clone(), &mut registry);
        let rate = || limits.of(&TenantId::parse("a").unwrap()).rate_limit_bytes;
        assert_eq!(rate(), 1);
        write("overrides: {a: {ingestion: {rate_limit_bytes: 2}}}");
        reloader.look().await;
        assert_eq!(rate(), 1, "it may be half written");
        reloader.look().await;
        assert_eq!((rate(), reloader.is_successful.get()), (2, 1));
        write("");
        reloader.look().await;
        write("overrides: {a: {ingestion: {rate_limit_bytes: 2}}}");
        reloader.look().await;
        assert_eq!(rate(), 2, "it was empty for a moment");
        write("overrides: {a: {ingestion: {rate_limit: 3}}}");
        reloader.look().await;
        assert_eq!((rate(), reloader.is_successful.get()), (2, 0));
        write("overrides: {a: {ingestion_rate_limit_bytes: 4}}");
        reloader.look().await;
        reloader.look().await;
        assert_eq!((rate(), reloader.is_successful.get()), (4, 1), "the flat form is read too");
    }
}
