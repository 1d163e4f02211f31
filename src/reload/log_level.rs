//! `server.log_level` follows the configuration file, on SIGHUP and when the file changes. What else is new in it waits for a
//! restart, and is said to.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info, warn};

use crate::config::{Config, Sources};
use crate::telemetry::LogFilter;

/// How often the file's time is looked at.
const PERIOD: Duration = Duration::from_secs(10);

/// The task.
#[derive(Clone)]
pub struct LogLevelReloader {
    sources: Sources,
    filter: LogFilter,
    /// As it was last taken.
    config: Config,
    changed_at: Option<SystemTime>,
}

impl LogLevelReloader {
    pub fn new(sources: Sources, config: Config, filter: LogFilter) -> Self {
        let changed_at = sources.file.as_ref().and_then(|file| file.metadata().ok()?.modified().ok());
        Self { sources, filter, config, changed_at }
    }

    pub async fn run(mut self) {
        let mut hangup = match signal(SignalKind::hangup()) {
            Ok(hangup) => hangup,
            Err(error) => return error!(%error, "SIGHUP cannot be listened for"),
        };
        loop {
            self.news(&mut hangup).await;
            let sources = self.sources.clone();
            let read = tokio::task::spawn_blocking(move || sources.config()).await;
            let taken = read.context("read the configuration").flatten().and_then(|config| self.take(config));
            if let Err(error) = taken {
                warn!(error = format!("{error:#}"), "the configuration cannot be read again, the old one holds");
            }
        }
    }

    /// Waits for SIGHUP, or until the file is another than before.
    async fn news(&mut self, hangup: &mut Signal) {
        loop {
            tokio::select! {
                _ = hangup.recv() => return,
                () = tokio::time::sleep(PERIOD) => {}
            }
            let Some(file) = self.sources.file.clone() else { continue };
            let changed_at = modified(file).await;
            if changed_at.is_some() && changed_at != self.changed_at {
                self.changed_at = changed_at;
                return;
            }
        }
    }

    fn take(&mut self, config: Config) -> Result<()> {
        if config.server.log_level != self.config.server.log_level {
            self.filter.set(config.server.log_level)?;
            info!(level = ?config.server.log_level, "the log level has changed");
        }
        let mut others = config.clone();
        others.server.log_level = self.config.server.log_level;
        if others != self.config {
            info!("other changes of the configuration take effect after a restart");
        }
        self.config = config;
        Ok(())
    }
}

async fn modified(file: PathBuf) -> Option<SystemTime> {
    tokio::fs::metadata(file).await.ok()?.modified().ok()
}
