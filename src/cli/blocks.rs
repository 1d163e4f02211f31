//! `mosso blocks`: what lies in the object store.

mod inspect;
mod list;
mod query_plan;
mod verify;

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

use super::stored::Stored;
use crate::config::Config;

#[derive(Subcommand)]
pub enum Command {
    /// List the blocks that exist.
    List(list::Arguments),
    /// Show what a block is made of: files, row groups, columns, index.
    Inspect(inspect::Arguments),
    /// Read blocks whole and compare everything that can be compared. Exit code 1 when something is damaged.
    Verify(verify::Arguments),
    /// Show what a query would read and what it would leave out, without running it.
    QueryPlan(query_plan::Arguments),
}

pub(super) async fn run(command: Command, config: &Config) -> Result<ExitCode> {
    let stored = Stored::open(config).await?;
    match command {
        Command::List(arguments) => list::run(&arguments, &stored).await,
        Command::Inspect(arguments) => inspect::run(&arguments, &stored).await,
        Command::Verify(arguments) => verify::run(&arguments, &stored).await,
        Command::QueryPlan(arguments) => query_plan::run(&arguments, &stored).await,
    }
}
