//! What a person does at a terminal: ask a trace store, send it a shop's traffic, move traces in and out.
//!
//! A client and nothing else: it speaks Tempo's HTTP API and OTLP, so it works with any Tempo and any OTLP endpoint. A
//! Tempo's blocks it reads through `storage`, which alone knows Parquet and object stores.
//!
//! ```text
//! args.rs     which server, which time              client.rs   Tempo's HTTP API → answers
//! screen.rs   a terminal or a program reads         table.rs, spark.rs, figures.rs   what is shown to people
//!
//! query.rs    search and metrics       follow.rs   again and again: `--follow`, `tail`       results.rs   their tables
//! show.rs     one trace: trace.rs (the tree), waterfall.rs
//! services.rs, tags.rs
//!
//! otlp.rs     requests → an OTLP endpoint, with patience        otlp/json.rs   OTLP/JSON ⇄ messages
//! demo.rs     a small shop → otlp.rs
//! import.rs   files, blocks of a Tempo → otlp.rs     export.rs   search → traces → files
//! delete.rs   ids, or a query and a range → what was deleted, and what is left of it in files
//! ```

mod args;
mod client;
mod error;
mod time;

mod figures;
mod screen;
mod spark;
mod table;

mod follow;
mod query;
mod results;
mod services;
mod show;
mod tags;
mod trace;
mod waterfall;

mod otlp;
mod progress;

mod delete;
mod demo;
mod export;
mod import;

use std::process::ExitCode;

use clap::Subcommand;
use storage::config::TraceConfig;

pub use error::Error;

/// Commands that speak to a server.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Send the traffic of a small shop to an OTLP endpoint, so that there is something to look at.
    Demo(demo::Arguments),
    /// Ask a TraceQL query: traces that match, or numbers over time.
    Query(query::Arguments),
    /// Show a trace: what waited for what, and where the time went.
    Trace(show::Arguments),
    /// Print spans that match as they come in, until Ctrl-C.
    Tail(follow::Arguments),
    /// List services with their rates, errors and durations.
    Services(services::Arguments),
    /// List the names of attributes, or the values of one.
    Tags(tags::Arguments),
    /// Send traces from files (OTLP JSON or protobuf as collectors write them, Jaeger JSON, Zipkin JSON) or from a Tempo's
    /// blocks.
    Import(import::Arguments),
    /// Write traces that match a query to a file: OTLP JSON lines or protobuf.
    Export(export::Arguments),
    /// Delete traces of a mosso, by id or by query and time; or tell what became of those that were deleted.
    Delete(delete::Arguments),
}

/// Runs a command to its end. What goes wrong is said on standard error. `store` gives the settings of the store that the
/// command line's configuration names; it is asked by the command that reads one.
///
/// # Errors
/// When the settings cannot be read.
pub fn run<E>(command: Command, store: impl FnOnce() -> Result<TraceConfig, E>) -> Result<ExitCode, E> {
    let store = match command {
        Command::Import(_) => store()?,
        _ => TraceConfig::default(),
    };
    let ran = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|source| Error::Runtime { source })
        .and_then(|runtime| runtime.block_on(dispatch(command, &store)));
    Ok(match ran {
        Ok(code) => code,
        Err(error) => error.report(),
    })
}

async fn dispatch(command: Command, store: &TraceConfig) -> Result<ExitCode, Error> {
    match command {
        Command::Demo(arguments) => demo::run(&arguments).await,
        Command::Query(arguments) => query::run(&arguments).await,
        Command::Trace(arguments) => show::run(&arguments).await,
        Command::Tail(arguments) => follow::run(&arguments).await,
        Command::Services(arguments) => services::run(&arguments).await,
        Command::Tags(arguments) => tags::run(&arguments).await,
        Command::Import(arguments) => import::run(&arguments, store).await,
        Command::Export(arguments) => export::run(&arguments).await,
        Command::Delete(arguments) => delete::run(&arguments).await,
    }
}
