//! `mosso delete`: traces, by id or by query and time, leave the answers of a mosso at once and its files soon. What is
//! printed is the server's own report: it looks for each trace in every block.

use std::collections::HashSet;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::args::{Range, Server};
use crate::client::{Client, Deleted, DeletedTrace, DeletionReport, FoundTrace};
use crate::error::Error;
use crate::figures;
use crate::progress::Progress;
use crate::screen::{Form, Output, Screen, Style, print_document};
use crate::table::{Cell, Column, Table};
use crate::time::parse_duration;

/// How often the server is asked whether files have caught up.
const ASK_PERIOD: Duration = Duration::from_secs(1);
const NANOS_PER_SECOND: u64 = 1_000_000_000;
/// What a server says that has no deletions.
const NOT_FOUND: u16 = 404;

#[derive(Debug, Args)]
pub struct Arguments {
    /// Traces that are deleted. Without any, and without --query: what became of those that were.
    #[arg(value_name = "TRACE-ID", conflicts_with = "query")]
    ids: Vec<String>,
    /// Delete the traces that match, whole; with --since or --from.
    #[arg(long, short, value_name = "TRACEQL")]
    query: Option<String>,
    #[command(flatten)]
    range: Range,
    /// Delete nothing: list what would be deleted.
    #[arg(long)]
    dry_run: bool,
    /// Wait as long as this until no file has the traces any more.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, conflicts_with = "dry_run")]
    wait: Option<Duration>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: Server,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    let (client, screen) = (Client::new(&arguments.server)?, Screen::of(arguments.output));
    let ran = match arguments.deletion()? {
        None => tell(&client, &screen).await,
        Some(deletion) => delete(arguments, &client, &screen, &deletion).await,
    };
    ran.map_err(explained)
}

/// What became of all that was deleted.
async fn tell(client: &Client, screen: &Screen) -> Result<ExitCode, Error> {
    let (body, report) = client.deletions().await?;
    match screen.form {
        Form::Json => print_document(&body)?,
        Form::People | Form::Tsv => reported(&report.traces).print(screen)?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn delete(arguments: &Arguments, client: &Client, screen: &Screen, deletion: &Value) -> Result<ExitCode, Error> {
    let (body, deleted) = client.delete(deletion, arguments.query.as_deref()).await?;
    let mut progress = Progress::new();
    if arguments.dry_run {
        match screen.form {
            Form::Json => print_document(&body)?,
            Form::People | Form::Tsv => listed(&deleted.traces).print(screen)?,
        }
        let count = figures::count(deleted.traces.len() as u64);
        progress.say(&format!("{count} traces would be deleted{}", and_more(&deleted)));
        return Ok(ExitCode::SUCCESS);
    }
    let report = report_on(client, &deleted, arguments.wait.unwrap_or_default()).await?;
    match screen.form {
        Form::Json => print_document(document(&deleted, &report).to_string().as_bytes())?,
        Form::People | Form::Tsv => reported(&report.traces).print(screen)?,
    }
    progress.say(&summary(&deleted, &report));
    let is_done = deleted.complete && (arguments.wait.is_none() || report.traces.iter().all(|t| t.is_gone_from_blocks));
    Ok(if is_done { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The report on some traces, when no file has them any more or patience is at its end.
async fn report_on(client: &Client, deleted: &Deleted, patience: Duration) -> Result<DeletionReport, Error> {
    let ids: HashSet<&str> = deleted.traces.iter().map(|trace| trace.trace_id.as_str()).collect();
    let deadline = Instant::now() + patience;
    loop {
        let (_, mut report) = client.deletions().await?;
        report.traces.retain(|trace| ids.contains(trace.trace_id.as_str()));
        if report.traces.iter().all(|trace| trace.is_gone_from_blocks) || Instant::now() >= deadline {
            return Ok(report);
        }
        tokio::time::sleep(ASK_PERIOD).await;
    }
}

impl Arguments {
    /// What is asked of the server; `None` when nothing is to be deleted.
    fn deletion(&self) -> Result<Option<Value>, Error> {
        let has_time = self.range.since.is_some() || self.range.from.is_some();
        match &self.query {
            None if has_time || self.range.to.is_some() => Err(Error::Usage("a time goes with --query".to_owned())),
            None if self.ids.is_empty() && (self.dry_run || self.wait.is_some()) => {
                Err(Error::Usage("name traces, or a --query".to_owned()))
            }
            None if self.ids.is_empty() => Ok(None),
            None => Ok(Some(json!({"traceIDs": self.ids, "dryRun": self.dry_run}))),
            // of nothing that cannot be undone is the time left to a default
            Some(_) if !has_time => Err(Error::Usage("--query goes with --since or --from".to_owned())),
            Some(query) => {
                let times = self.range.times()?;
                let (start, end) = (times.start_nanos / NANOS_PER_SECOND, times.end_nanos.div_ceil(NANOS_PER_SECOND));
                Ok(Some(json!({"query": query, "start": start, "end": end, "dryRun": self.dry_run})))
            }
        }
    }
}

fn listed(traces: &[FoundTrace]) -> Table {
    let (id, start) = (Column::whole("TRACE"), Column::whole("START"));
    let mut table = Table::new([id, start, Column::text("SERVICE"), Column::text("NAME")]);
    for trace in traces {
        let start = match trace.start_time_unix_nano {
            0 => Cell::text(""),
            nanos => Cell::time(nanos),
        };
        let service = Cell::text(&trace.root_service_name).styled(Style::Service);
        table.row([Cell::text(&trace.trace_id), start, service, Cell::text(&trace.root_trace_name)]);
    }
    table
}

fn reported(traces: &[DeletedTrace]) -> Table {
    let mut table = Table::new([Column::whole("TRACE"), Column::whole("DELETED"), Column::whole("FILES")]);
    for trace in traces {
        let files = match trace.is_gone_from_blocks {
            true => Cell::text("gone"),
            false => Cell::text("to be rewritten").styled(Style::Strong),
        };
        table.row([Cell::text(&trace.trace_id), Cell::time(trace.deleted_unix_nanos), files]);
    }
    table
}

fn document(deleted: &Deleted, report: &DeletionReport) -> Value {
    let trace = |trace: &DeletedTrace| {
        json!({
            "traceID": trace.trace_id,
            "deletedUnixNanos": trace.deleted_unix_nanos,
            "isGoneFromBlocks": trace.is_gone_from_blocks,
        })
    };
    json!({
        "deleted": deleted.deleted,
        "complete": deleted.complete,
        "traces": report.traces.iter().map(trace).collect::<Vec<_>>(),
        "unreadableBlocks": report.unreadable_blocks,
    })
}

fn summary(deleted: &Deleted, report: &DeletionReport) -> String {
    let left = report.traces.iter().filter(|trace| !trace.is_gone_from_blocks).count() as u64;
    let files = match left {
        0 => "no block has them any more".to_owned(),
        _ => format!("{} are in blocks that compaction writes anew next", figures::count(left)),
    };
    let unreadable = match report.unreadable_blocks.len() as u64 {
        0 => String::new(),
        count => format!("; {} blocks could not be read", figures::count(count)),
    };
    let count = figures::count(deleted.deleted);
    format!("{count} traces deleted, and found no more; {files}{unreadable}{}", and_more(deleted))
}

fn and_more(deleted: &Deleted) -> &'static str {
    if deleted.complete { "" } else { "; there may be more: ask again" }
}

/// A server without deletions says no more than that there is nothing.
fn explained(error: Error) -> Error {
    match error {
        Error::Refused { url, status: NOT_FOUND, .. } => {
            let text = "it deletes no traces; `deletion: {enabled: true}` in mosso's configuration lets it".to_owned();
            Error::Refused { url, status: NOT_FOUND, text }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn deletion(line: &str) -> Result<Option<Value>, String> {
        let line = Line::try_parse_from(std::iter::once("delete").chain(line.split_whitespace()));
        line.map_err(|error| error.to_string())?.arguments.deletion().map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_deleted_is_said_whole_or_refused() {
        assert_eq!(deletion(""), Ok(None));
        assert_eq!(deletion("1f 2f"), Ok(Some(json!({"traceIDs": ["1f", "2f"], "dryRun": false}))));
        let by_query = json!({"query": "{}", "start": 1_700_000_000, "end": 1_700_000_100, "dryRun": true});
        assert_eq!(deletion("-q {} --from 1700000000 --to 1700000100 --dry-run"), Ok(Some(by_query)));
        for (line, problem) in [
            ("-q {}", "goes with --since or --from"),
            ("-q {} --to 5", "goes with --since or --from"),
            ("1f --since 2h", "a time goes with --query"),
            ("--dry-run", "name traces, or a --query"),
            ("--wait 5s", "name traces, or a --query"),
            ("1f -q {} --since 2h", "cannot be used with"),
            ("1f --dry-run --wait 5s", "cannot be used with"),
        ] {
            let refused = deletion(line).expect_err(line);
            assert!(refused.contains(problem), "{line}: {refused}");
        }
    }
}
