//! `mosso metrics`: series of what is stored.

mod backfill;
mod progress_file;

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

use crate::config::Config;

#[derive(Subcommand)]
pub enum Command {
    /// Make the series of stored traces that the metrics generator would have made, and send them with the times of then.
    Backfill(backfill::Arguments),
}

pub(super) async fn run(command: Command, config: &Config) -> Result<ExitCode> {
    match command {
        Command::Backfill(arguments) => backfill::run(&arguments, config).await,
    }
}
