//! Subcommands: each looks at something, says what it found, and ends.
//!
//! They change nothing, take no lock, and so work beside a running process. Which tables and figures there are is decided
//! in `storage` and `querier`; here they are asked for and shown, to people or, with `--json`, to programs.

mod blocks;
mod check_config;
mod config;
pub mod health;
mod wal;

mod progress;
mod report;
mod stored;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use model::TenantId;

use crate::config::{Config, Sources};

#[derive(Subcommand)]
pub enum Command {
    /// Check a configuration file and exit.
    CheckConfig { file: PathBuf },
    /// Look at configurations: bring one of Tempo, see defaults and meanings.
    #[command(subcommand)]
    Config(config::Command),
    /// Look at the blocks in the object store: what there is, whether it is whole, what a query would read.
    #[command(subcommand)]
    Blocks(blocks::Command),
    /// Look at the write-ahead log.
    #[command(subcommand)]
    Wal(wal::Command),
}

/// What most commands take.
#[derive(Args)]
struct Common {
    /// Only this tenant [default: all].
    #[arg(long, value_parser = TenantId::parse)]
    tenant: Option<TenantId>,
    /// Print one JSON document instead of tables.
    #[arg(long)]
    json: bool,
}

/// Runs a command on the data of a configuration, or of the default configuration.
///
/// # Errors
/// When what is asked for cannot be read. What is read and found damaged is a result, with exit code 1.
pub fn run(command: Command, sources: &Sources) -> Result<ExitCode> {
    match command {
        Command::CheckConfig { file } => verify(&Sources { file: Some(file), ..sources.clone() }),
        Command::Config(command) => config::run(command, sources),
        Command::Wal(command) => wal::run(command, &sources.config()?),
        Command::Blocks(command) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            on_blocks(runtime.context("start the async runtime")?, command, &sources.config()?)
        }
    }
}

fn on_blocks(runtime: tokio::runtime::Runtime, command: blocks::Command, config: &Config) -> Result<ExitCode> {
    runtime.block_on(blocks::run(command, config))
}

/// Says whether a configuration can be used: `check-config`, and `-config.verify` as Tempo has it.
///
/// # Errors
/// When it cannot.
pub fn verify(sources: &Sources) -> Result<ExitCode> {
    check_config::run(sources)
}
