//! Logs of the process: to standard error, one line an event.

use anyhow::{Context, Result};
use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, Server};

/// Starts logging; to be called once.
///
/// # Errors
/// When `server.log_level` (or `RUST_LOG`) is not a level or filter.
pub fn init(server: &Server) -> Result<()> {
    let filter = match std::env::var(EnvFilter::DEFAULT_ENV) {
        Ok(filter) => filter,
        Err(_) => server.log_level.clone(),
    };
    let filter = EnvFilter::try_new(&filter).with_context(|| format!("server.log_level {filter:?}"))?;
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match server.log_format {
        LogFormat::Logfmt => logs.with_ansi(false).init(),
        LogFormat::Json => logs.json().flatten_event(true).init(),
    }
    Ok(())
}
