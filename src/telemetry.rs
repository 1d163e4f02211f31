//! What the process tells of itself: logs to standard error, one line an event, traces where they are asked for, and
//! what the system counts of it.

mod process;
mod traces;

use anyhow::{Context, Result};
use tracing::{Metadata, Subscriber};
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, fmt, reload};

pub use self::process::Process;
pub use self::traces::OwnTraces;
use crate::config::{LogFormat, LogLevel, Server};

/// Whose spans are of own traces: those of libraries are their authors' affair.
const OWN_CRATES: [&str; 5] = ["api", "ingester", "querier", "storage", "mosso"];

/// What runs from now on.
pub struct Started {
    /// To be stopped at the end.
    pub own_traces: Option<OwnTraces>,
    pub log_filter: LogFilter,
}

/// Which lines are written, to be changed while the process runs. Clones change the same.
#[derive(Clone)]
pub struct LogFilter {
    handle: reload::Handle<EnvFilter, tracing_subscriber::Registry>,
    variable: Option<String>,
}

impl LogFilter {
    /// Lets lines of another level through; what `RUST_LOG` says goes before it.
    ///
    /// # Errors
    /// When logging has ended.
    pub fn set(&self, level: LogLevel) -> Result<()> {
        Ok(self.handle.reload(filter(level, self.variable.as_deref())?)?)
    }
}

/// Starts logging and own traces; to be called once, within the async runtime.
///
/// # Errors
/// When `RUST_LOG` is neither a level nor a filter. Where what is set for own traces cannot be used, there are none.
pub fn init(server: &Server) -> Result<Started> {
    let variable = std::env::var(EnvFilter::DEFAULT_ENV).ok();
    let (filter, handle) = reload::Layer::new(filter(server.log_level, variable.as_deref())?);
    let log_filter = LogFilter { handle, variable };
    let (own_traces, problem) = match OwnTraces::start() {
        Ok(own_traces) => (own_traces, None),
        // the variables may have been set for other programs
        Err(error) => (None, Some(error)),
    };
    let layer = own_traces.as_ref().map(|traces| {
        let layer = tracing_opentelemetry::layer().with_tracer(traces.tracer());
        layer.with_location(false).with_threads(false).with_target(false).with_filter(filter_fn(is_own_span))
    });
    let logs = logs(server.log_format).with_filter(filter.and(filter_fn(|metadata| metadata.is_event())));
    tracing_subscriber::registry().with(logs).with(layer).init();
    if let Some(error) = problem {
        tracing::warn!(error = format!("{error:#}"), "own traces are not sent");
    }
    Ok(Started { own_traces, log_filter })
}

fn logs<S: Subscriber + for<'span> LookupSpan<'span>>(format: LogFormat) -> Box<dyn Layer<S> + Send + Sync> {
    let logs = fmt::layer().with_writer(std::io::stderr);
    match format {
        LogFormat::Logfmt => logs.with_ansi(false).boxed(),
        LogFormat::Json => logs.json().flatten_event(true).boxed(),
    }
}

fn is_own_span(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.target().split("::").next().is_some_and(|name| OWN_CRATES.contains(&name))
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
