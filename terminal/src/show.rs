//! `mosso trace`: one trace, as a waterfall, as rows, or as OTLP JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use clap::Args;
use unicode_width::UnicodeWidthStr;

use crate::args::Server;
use crate::client::{Client, FetchedTrace};
use crate::error::Error;
use crate::figures;
use crate::otlp::json;
use crate::screen::{Form, Output, Screen, Style, harmless, print};
use crate::table::{Cell, Column, Table};
use crate::time::rfc3339;
use crate::trace::Trace;
use crate::waterfall::waterfall;

/// Spans that are shown unless all are asked for: more than anyone reads, fewer than fill a scroll buffer.
const MAX_SPANS: usize = 2_000;
/// What the trace waited for most.
const SHOWN_OWNERS: usize = 5;

#[derive(Debug, Args)]
pub struct Arguments {
    /// The trace's id, in hex.
    id: String,
    /// Only spans that this is true of, and those above them: `{ status = error }`
    #[arg(long, short, value_name = "TRACEQL")]
    q: Option<String>,
    /// All spans, however many.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: Server,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    let (client, screen) = (Client::new(&arguments.server)?, Screen::of(arguments.output));
    let fetched = client.trace(&arguments.id, arguments.q.as_deref()).await?;
    if fetched.resource_spans.is_empty() {
        let filter = if arguments.q.is_some() { ", or no span of it that --q is true of" } else { "" };
        eprintln!("mosso: {} has no trace {}{filter}", client.url(), arguments.id);
        return Ok(ExitCode::FAILURE);
    }
    match screen.form {
        Form::Json => print(&format!("{}\n", json::document(&fetched.resource_spans)))?,
        Form::Tsv => rows(&Trace::of(&fetched.resource_spans)).print(&screen)?,
        Form::People => {
            let max_spans = if arguments.all { usize::MAX } else { MAX_SPANS };
            print(&picture(&arguments.id, &fetched, &screen, max_spans))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn picture(id: &str, fetched: &FetchedTrace, screen: &Screen, max_spans: usize) -> String {
    let trace = Trace::of(&fetched.resource_spans);
    let mut text = headline(id, &trace, screen);
    if let Some(reason) = &fetched.partial {
        text.push_str(&format!("{}\n", screen.paint(Style::Strong, &format!("partial: {reason}"))));
    }
    text.push_str(&waterfall(&trace, screen, max_spans));
    text.push_str(&owners(&trace, screen));
    text.push_str(&links(&trace, screen));
    text
}

fn headline(id: &str, trace: &Trace, screen: &Screen) -> String {
    let services: BTreeSet<&str> = trace.spans.iter().map(|span| span.service.as_str()).collect();
    let errors = match trace.errors() {
        0 => String::new(),
        errors => screen.paint(Style::Error, &format!(", {errors} failed")),
    };
    format!(
        "{} {}  {}  {} spans of {} services{errors}\n",
        screen.paint(Style::Heading, &format!("trace {id}")),
        screen.paint(Style::Dim, &rfc3339(trace.start_nanos())),
        screen.paint(Style::Strong, &figures::duration(trace.end_nanos().saturating_sub(trace.start_nanos()))),
        figures::count(trace.spans.len() as u64),
        services.len(),
    )
}

/// What the trace waited for most, by service and operation: `what` and nanoseconds, the most first.
fn waited_for(trace: &Trace) -> Vec<(String, u64)> {
    let mut owners = BTreeMap::<(&str, &str), u64>::new();
    for segment in &trace.critical_path {
        let span = &trace.spans[segment.span];
        *owners.entry((&span.service, &span.name)).or_default() += segment.length_nanos();
    }
    let mut owners: Vec<_> =
        owners.into_iter().map(|((service, name), nanos)| (format!("{service} {name}"), nanos)).collect();
    owners.sort_by_key(|(_, nanos)| std::cmp::Reverse(*nanos));
    owners
}

fn owners(trace: &Trace, screen: &Screen) -> String {
    let owners = waited_for(trace);
    let whole: u64 = owners.iter().map(|(_, nanos)| nanos).sum();
    let names: Vec<String> = owners.iter().take(SHOWN_OWNERS).map(|(name, _)| harmless(name)).collect();
    let cells = names.iter().map(|name| name.width()).max().unwrap_or_default().min(screen.width / 2);
    let mut text = format!("\n{}\n", screen.paint(Style::Heading, "it waited for"));
    for (name, (_, nanos)) in names.iter().zip(&owners) {
        let percent = nanos * 100 / whole.max(1);
        let (name, nanos) = (figures::cell(name, cells), figures::duration(*nanos));
        text.push_str(&format!("  {name}  {nanos:>9}  {percent:>3} %\n"));
    }
    text
}

fn links(trace: &Trace, screen: &Screen) -> String {
    let linked: BTreeSet<&str> = trace.spans.iter().flat_map(|span| &span.links).map(String::as_str).collect();
    if linked.is_empty() {
        return String::new();
    }
    let mut text = format!("\n{}\n", screen.paint(Style::Heading, "linked traces"));
    for id in linked.iter().take(SHOWN_OWNERS) {
        text.push_str(&format!("  mosso trace {id}\n"));
    }
    text
}

/// One row a span, in the order of the tree.
fn rows(trace: &Trace) -> Table {
    let mut on_path = vec![0; trace.spans.len()];
    for segment in &trace.critical_path {
        on_path[segment.span] += segment.length_nanos();
    }
    let mut table = Table::new([
        Column::number("DEPTH"),
        Column::whole("SPAN"),
        Column::whole("PARENT"),
        Column::text("SERVICE"),
        Column::text("NAME"),
        Column::whole("START"),
        Column::number("DURATION"),
        Column::number("ON CRITICAL PATH"),
        Column::whole("STATUS"),
        Column::text("MESSAGE"),
    ]);
    for (span, on_path) in trace.spans.iter().zip(on_path) {
        let parent = span.parent.map_or("", |parent| trace.spans[parent].span_id.as_str());
        table.row([
            Cell::count(span.depth as u64),
            Cell::text(&span.span_id),
            Cell::text(parent),
            Cell::text(&span.service),
            Cell::text(&span.name),
            Cell::time(span.start_nanos),
            Cell::duration(span.duration_nanos()),
            Cell::duration(on_path),
            Cell::text(if span.is_error { "error" } else { "" }),
            Cell::text(&span.message),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::testing::resource_spans;

    #[test]
    fn the_picture_says_what_the_trace_waited_for() {
        let spans = [(1, 0, "order", 0, 1000, false), (2, 1, "pay", 100, 900, true)];
        let fetched = FetchedTrace { resource_spans: vec![resource_spans("shop", &spans)], partial: None };
        let text = picture("ab", &fetched, &Screen::for_tests(Form::People, 80), 10);
        assert!(
            text.starts_with("trace ab 1970-01-01T00:00:00.000Z  1.00 s  2 spans of 1 services, 1 failed\n"),
            "{text}"
        );
        assert!(
            text.ends_with("it waited for\n  shop pay     800.0 ms   80 %\n  shop order   200.0 ms   20 %\n"),
            "{text}"
        );
    }

    #[test]
    fn programs_get_the_tree_as_rows() {
        let spans = [(1, 0, "order", 0, 10, false), (2, 1, "pay", 1, 9, true)];
        let table = rows(&Trace::of(&[resource_spans("shop", &spans)]));
        let shown = table.show(&Screen::for_tests(Form::Tsv, 80), false);
        let second = "1\t0000000000000002\t0000000000000001\tshop\tpay\t1970-01-01T00:00:00.001Z\t8000000\t8000000\terror\tbroken";
        assert_eq!(shown.lines().nth(1), Some(second));
    }
}
