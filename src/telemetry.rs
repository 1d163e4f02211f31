//! Logs of the process: to standard error, one line an event.

use anyhow::{Context, Result};
use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, LogLevel, Server};

/// Starts logging; to be called once.
///
/// # Errors
/// When `RUST_LOG` is neither a level nor a filter.
pub fn init(server: &Server) -> Result<()> {
    let filter = filter(server.log_level, std::env::var(EnvFilter::DEFAULT_ENV).ok().as_deref())?;
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match server.log_format {
        LogFormat::Logfmt => logs.with_ansi(false).init(),
        LogFormat::Json => logs.json().flatten_event(true).init(),
    }
    Ok(())
}

/// Which lines are written. `warning` is a level here as in Tempo; a filter would take it for the name of a module, and
/// then let nothing through.
fn filter(level: LogLevel, variable: Option<&str>) -> Result<EnvFilter> {
    let Some(text) = variable.filter(|text| !text.trim().is_empty()) else {
        return Ok(EnvFilter::new(directive(level)));
    };
    if let Ok(level) = text.trim().parse() {
        return Ok(EnvFilter::new(directive(level)));
    }
    EnvFilter::try_new(text).with_context(|| format!("{} {text:?}", EnvFilter::DEFAULT_ENV))
}

fn directive(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warning_is_a_level_and_rust_log_goes_first() {
        let of = |level: &str, variable| filter(level.parse().unwrap(), variable).unwrap().to_string();
        assert_eq!(of("warning", None), "warn");
        assert_eq!(of("INFO", Some("")), "info");
        assert_eq!(of("info", Some("WARNING")), "warn");
        assert_eq!(of("info", Some("warn,storage=debug")), "storage=debug,warn");
        assert!(filter(LogLevel::Info, Some("storage=loud")).is_err());
    }
}
