//! `mosso query`: a TraceQL query, answered with traces or with numbers over time, whichever it asks for.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::args::{Range, Server};
use crate::client::{Client, MetricsAnswer, Search};
use crate::error::Error;
use crate::follow;
use crate::results::{instant_table, sample_table, series_table, trace_table};
use crate::screen::{Form, Output, Screen, Style, print, print_document};
use crate::table::Table;
use crate::time::parse_duration;

#[derive(Debug, Args)]
pub struct Arguments {
    /// TraceQL: `{ status = error }`, `{ } | rate() by (resource.service.name)`
    query: String,
    #[command(flatten)]
    range: Range,
    /// Most traces of a search, the newest.
    #[arg(long, default_value_t = 20, value_name = "COUNT")]
    limit: usize,
    /// Time between the numbers of a metrics query [default: as suits the range].
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    step: Option<Duration>,
    /// One number for the whole range of a metrics query.
    #[arg(long, conflicts_with_all = ["follow", "step"])]
    instant: bool,
    /// Go on with what comes in, until Ctrl-C.
    #[arg(long, short, conflicts_with = "to")]
    follow: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: Server,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    let (client, screen) = (Client::new(&arguments.server)?, Screen::of(arguments.output));
    match (is_metrics(&arguments.query), arguments.follow) {
        (true, false) => metrics(&client, &screen, arguments).await?,
        (true, true) => {
            let Arguments { query, range, step, .. } = arguments;
            follow::metrics(&client, &screen, query, range, *step).await?;
        }
        (false, false) => search(&client, &screen, arguments).await?,
        (false, true) => follow::traces(&client, &screen, &arguments.query, &arguments.range).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// What cannot be read is given to the server as a search, which says what is wrong with it.
fn is_metrics(query: &str) -> bool {
    traceql::parse_metrics(query).is_ok_and(|query| query.require_metrics().is_ok())
}

async fn search(client: &Client, screen: &Screen, arguments: &Arguments) -> Result<(), Error> {
    let search = Search { query: arguments.query.clone(), limit: arguments.limit, ..Search::default() };
    let page = client.search(&search, arguments.range.times()?).await?;
    if screen.form == Form::Json {
        return print_document(&page.body);
    }
    let found = &page.answer.traces;
    trace_table(found).print(screen)?;
    if screen.form == Form::People {
        print(&screen.paint(Style::Dim, &remark(found.len(), arguments.limit)))?;
    }
    Ok(())
}

fn remark(found: usize, limit: usize) -> String {
    match found {
        0 => "no trace matches in this range; --since 24h looks further back\n".to_owned(),
        _ if found >= limit => format!("the newest {found}; --limit for more, `mosso trace ID` shows one\n"),
        1 => "1 trace; `mosso trace ID` shows it\n".to_owned(),
        _ => format!("{found} traces; `mosso trace ID` shows one\n"),
    }
}

async fn metrics(client: &Client, screen: &Screen, arguments: &Arguments) -> Result<(), Error> {
    let times = arguments.range.times()?;
    if arguments.instant {
        let (body, answer) = client.instant(&arguments.query, times).await?;
        return match screen.form {
            Form::Json => print_document(&body),
            Form::People | Form::Tsv => shown(&instant_table(&answer), &answer, screen),
        };
    }
    let (body, answer) = client.metrics(&arguments.query, times, arguments.step).await?;
    match screen.form {
        Form::Json => print_document(&body),
        Form::People => shown(&series_table(&answer), &answer, screen),
        Form::Tsv => sample_table(&answer).print(screen),
    }
}

fn shown(table: &Table, answer: &MetricsAnswer, screen: &Screen) -> Result<(), Error> {
    table.print(screen)?;
    match (screen.form, answer.message.as_str(), answer.series.is_empty()) {
        (Form::People, "", true) => print(&screen.paint(Style::Dim, "no series in this range\n")),
        (Form::People, message, _) if !message.is_empty() => {
            print(&format!("{}\n", screen.paint(Style::Strong, &format!("partial: {message}"))))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_ask_for_traces_or_for_numbers() {
        for query in ["{ } | rate()", "({ } | rate()) / ({ } | rate())", "{ } | compare({ status = error })"] {
            assert!(is_metrics(query), "{query}");
        }
        for query in ["{ }", "{ } | count() > 2", "{ } | rate(", "{ status = error } | select(name)"] {
            assert!(!is_metrics(query), "{query}");
        }
    }
}
