//! Subcommands: each looks at something, says what it found, and ends.
//!
//! Those that speak to a server are in the crate `terminal`. Those here look at what is stored: they change nothing of it,
//! take no lock, and so work beside a running process. Which tables and figures there are is decided
//! in `storage` and `querier`; here they are asked for and shown, to people or, with `--json`, to programs.

mod blocks;
mod check_config;
mod config;
pub mod health;
mod man;
mod metrics;
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

use crate::config::Sources;

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
    #[command(flatten)]
    Terminal(terminal::Command),
    /// Print what a shell needs to complete commands and flags.
    Completions { shell: clap_complete::Shell },
    /// Print the manual page, or write one for each command.
    Man(man::Arguments),
    /// Make series of stored traces.
    #[command(subcommand)]
    Metrics(metrics::Command),
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

/// Runs a command on the data of a configuration, or of the default configuration. `program` is the whole command line.
///
/// # Errors
/// When what is asked for cannot be read. What is read and found damaged is a result, with exit code 1.
pub fn run(command: Command, sources: &Sources, program: fn() -> clap::Command) -> Result<ExitCode> {
    match command {
        Command::CheckConfig { file } => verify(&Sources { file: Some(file), ..sources.clone() }),
        Command::Config(command) => config::run(command, sources),
        Command::Wal(command) => wal::run(command, &sources.config()?),
        Command::Terminal(command) => terminal::run(command, || Ok(sources.config()?.storage.trace)),
        Command::Completions { shell } => man::completions(shell, program()),
        Command::Man(arguments) => man::run(&arguments, program()),
        Command::Blocks(command) => runtime()?.block_on(blocks::run(command, &sources.config()?)),
        Command::Metrics(command) => runtime()?.block_on(metrics::run(command, &sources.config()?)),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the async runtime")
}

/// Says whether a configuration can be used: `check-config`, and `-config.verify` as Tempo has it.
///
/// # Errors
/// When it cannot.
pub fn verify(sources: &Sources) -> Result<ExitCode> {
    check_config::run(sources)
}
