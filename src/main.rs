//! Arguments → config → app → run until a signal → ordered stop.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Error, Result};
use clap::{ArgAction, CommandFactory, Parser};
use mosso::app::App;
use mosso::config::{Config, Sources, flags};
use mosso::reload::LogLevelReloader;
use mosso::{cli, exposure, telemetry};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info, warn};

mod first_run;
mod memory;

/// Stores traces and answers Tempo's API. Without arguments: data under ./data, OTLP gRPC on 127.0.0.1:4317, OTLP HTTP
/// on 127.0.0.1:4318, HTTP API on 127.0.0.1:3200.
#[derive(Parser)]
#[command(name = "mosso", version, subcommand_negates_reqs = true)]
struct Arguments {
    /// YAML file with Tempo's keys; `-config.file` works too. Each key is a flag as well: `-server.http-listen-port=3200`.
    #[arg(long = "config.file", value_name = "FILE", global = true)]
    config_file: Option<PathBuf>,
    /// Put variables of the environment in place of `${VARIABLE}` and `${VARIABLE:default}` in the file.
    #[arg(long = "config.expand-env", global = true, num_args = 0..=1, require_equals = true)]
    #[arg(default_value_t = false, default_missing_value = "true", action = ArgAction::Set, value_name = "BOOL")]
    expand_env: bool,
    /// Check the configuration and exit.
    #[arg(long = "config.verify", num_args = 0..=1, require_equals = true)]
    #[arg(default_value_t = false, default_missing_value = "true", action = ArgAction::Set, value_name = "BOOL")]
    verify: bool,
    /// Ask a running mosso whether it is ready and exit with 0 or 1, as health checks of containers do.
    #[arg(long, num_args = 0..=1, require_equals = true)]
    #[arg(default_value_t = false, default_missing_value = "true", action = ArgAction::Set, value_name = "BOOL")]
    health: bool,
    /// What `-health` asks.
    #[arg(long = "health.url", value_name = "URL", default_value = "http://localhost:3200/ready")]
    health_url: String,
    #[command(subcommand)]
    command: Option<cli::Command>,
}

fn main() -> ExitCode {
    let started = flags::Arguments::split(std::env::args_os())
        .and_then(|flags::Arguments { flags, ignored, others }| run(Arguments::parse_from(others), flags, ignored));
    match started {
        Ok(code) => code,
        Err(error) => {
            eprintln!("mosso: {}", in_one_line(&error));
            ExitCode::FAILURE
        }
    }
}

/// What failed, and why; a cause that the text before it ends with is not said again.
fn in_one_line(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !text.ends_with(&cause) {
            text = if text.is_empty() { cause } else { format!("{text}: {cause}") };
        }
    }
    text.replace('\n', " | ")
}

/// Most threads that read and write local files at a time.
const MAX_BLOCKING_THREADS: usize = 16;

/// How long such a thread waits for more to do. What it has read is freed by other threads, and that memory is nobody's until it
/// allocates again or ends: kept for ten seconds, as is usual, they hold a third of what a process takes that is sent spans.
const BLOCKING_THREAD_KEEP_ALIVE: Duration = Duration::from_millis(100);

/// Twice the usual stack: queries are read on these threads, and the deepest that is read takes three megabytes of it in a
/// debug build, half of one in a release build. Pages that are not touched take no memory.
const STACK_BYTES: usize = 4 << 20;

fn run(arguments: Arguments, flags: Vec<flags::Flag>, ignored_flags: Vec<String>) -> Result<ExitCode> {
    if arguments.health {
        return cli::health::run(&arguments.health_url);
    }
    let sources = Sources { file: arguments.config_file, expand_env: arguments.expand_env, flags, ignored_flags };
    if let Some(command) = arguments.command {
        return cli::run(command, &sources, Arguments::command);
    }
    if arguments.verify {
        return cli::verify(&sources);
    }
    let config = sources.config()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(MAX_BLOCKING_THREADS)
        .thread_keep_alive(BLOCKING_THREAD_KEEP_ALIVE)
        .thread_stack_size(STACK_BYTES)
        .build()
        .context("start the async runtime")?;
    let telemetry::Started { own_traces, log_filter } = {
        let _runtime = runtime.enter();
        telemetry::init(&config.server)?
    };
    for warning in config.warnings() {
        warn!("{warning}");
    }
    let served = runtime.block_on(serve(&config, LogLevelReloader::new(sources, config.clone(), log_filter)));
    if let Some(own_traces) = own_traces {
        own_traces.stop();
    }
    served?;
    Ok(ExitCode::SUCCESS)
}

/// How the parts of a process ended.
enum Ended {
    Asked,
    /// Others have taken over the log of this writer. What it had is theirs, and a new writer takes its place.
    Retired,
}

async fn serve(config: &Config, log_level: LogLevelReloader) -> Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    loop {
        match serve_once(config, log_level.clone(), [&mut terminate, &mut interrupt]).await? {
            Ended::Asked => return Ok(()),
            Ended::Retired => info!("starting again as another writer"),
        }
    }
}

async fn serve_once(
    config: &Config,
    log_level: LogLevelReloader,
    [terminate, interrupt]: [&mut Signal; 2],
) -> Result<Ended> {
    let is_first_run = first_run::is_first(config);
    let mut app = tokio::select! {
        app = App::start(config) => app?,
        _ = terminate.recv() => return Ok(Ended::Asked),
        _ = interrupt.recv() => return Ok(Ended::Asked),
    };
    let addresses = app.addresses();
    info!(listener = "http", address = %addresses.http, "listening");
    if let Some(address) = addresses.otlp_grpc {
        info!(listener = "otlp_grpc", %address, "listening");
    }
    if let Some(address) = addresses.otlp_http {
        info!(listener = "otlp_http", %address, "listening");
    }
    if let Some(address) = app.peer_address() {
        info!(listener = "peers", %address, "listening");
    }
    for (listener, address) in addresses.receivers.named() {
        info!(listener, %address, "listening");
    }
    if is_first_run {
        info!("{}", first_run::advice(&addresses));
    }
    exposure::tell(&config.api(), &addresses);
    let keep_memory = memory::give_back(app.pools().clone(), app.memory_budget_bytes());
    app.run_beside("memory keeper", keep_memory);
    app.run_beside("log level reloader", log_level.run());
    let failure = tokio::select! {
        _ = terminate.recv() => {
            info!("stopping: SIGTERM");
            None
        }
        _ = interrupt.recv() => {
            info!("stopping: SIGINT");
            None
        }
        reason = app.failed() => {
            error!(reason, "stopping: the process cannot go on");
            Some(reason)
        }
    };
    let is_retired = app.is_retired();
    app.stop().await?;
    info!("stopped");
    match failure {
        Some(_) if is_retired => Ok(Ended::Retired),
        Some(reason) => Err(Error::msg(reason)),
        None => Ok(Ended::Asked),
    }
}
