//! Arguments → config → app → run until a signal → ordered stop.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Error, Result};
use clap::Parser;
use mosso::app::App;
use mosso::config::Config;
use mosso::{cli, telemetry};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info, warn};

mod memory;

/// Stores traces and answers Tempo's API. Without arguments: data under ./data, OTLP gRPC on 127.0.0.1:4317, OTLP HTTP
/// on 127.0.0.1:4318, HTTP API on 127.0.0.1:3200.
#[derive(Parser)]
#[command(name = "mosso", version, subcommand_negates_reqs = true)]
struct Arguments {
    /// YAML file with Tempo's keys; `-config.file` works too.
    #[arg(long = "config.file", value_name = "FILE", global = true)]
    config_file: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<cli::Command>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse_from(std::env::args_os().map(with_two_dashes));
    match run(arguments) {
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

/// Go's flags have one dash: `-config.file=x`.
fn with_two_dashes(argument: OsString) -> OsString {
    match argument.to_str() {
        Some(text) if text.starts_with("-config.") => format!("-{text}").into(),
        _ => argument,
    }
}

/// Most threads that read and write local files at a time. Each sets memory aside.
const MAX_BLOCKING_THREADS: usize = 16;

fn run(arguments: Arguments) -> Result<ExitCode> {
    if let Some(command) = arguments.command {
        return cli::run(command, arguments.config_file.as_deref());
    }
    let config = arguments.config_file.map_or_else(|| Ok(Config::default()), |file| Config::read(&file))?;
    telemetry::init(&config.server)?;
    for key in config.not_applicable() {
        warn!(key, "this key of Tempo's does not apply here and is ignored");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(MAX_BLOCKING_THREADS)
        .build()
        .context("start the async runtime")?;
    runtime.block_on(serve(&config))?;
    Ok(ExitCode::SUCCESS)
}

async fn serve(config: &Config) -> Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut app = tokio::select! {
        app = App::start(config) => app?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    let addresses = app.addresses();
    info!(listener = "http", address = %addresses.http, "listening");
    if let Some(address) = addresses.otlp_grpc {
        info!(listener = "otlp_grpc", %address, "listening");
    }
    if let Some(address) = addresses.otlp_http {
        info!(listener = "otlp_http", %address, "listening");
    }
    let keep_memory = memory::give_back(app.pools().clone(), app.memory_budget_bytes());
    app.run_beside("memory keeper", keep_memory);
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
    app.stop().await?;
    info!("stopped");
    failure.map_or(Ok(()), |reason| Err(Error::msg(reason)))
}
