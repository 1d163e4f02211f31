//! The same question again and again: `mosso tail`, and `--follow` of `mosso query`.

use std::collections::HashMap;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use crate::args::{Range, Server, Times};
use crate::client::{Client, FoundSpan, FoundTrace, Search};
use crate::error::Error;
use crate::results::{series_table, trace_table};
use crate::screen::{Form, Output, Screen, Style, harmless, print};
use crate::table::{Cell, Column, Table};
use crate::time::{nanos, now_nanos, parse_duration};
use crate::{figures, time};

/// Spans come in when they have ended, and not at once: so far back is looked again.
const LOOK_BACK: Duration = Duration::from_secs(60);
/// Most traces of one look; of more, the newest.
const TRACES_PER_LOOK: usize = 500;
/// What a Tempo gives of one trace by default limits.
const SPANS_PER_TRACE: usize = 100;
/// How often is looked, where nothing else is said.
const INTERVAL: Duration = Duration::from_secs(1);
/// How often curves are drawn again.
const REDRAW: Duration = Duration::from_secs(5);

const SERVICE: &str = "service.name";
const STATUS: &str = "status";
const MESSAGE: &str = "statusMessage";

#[derive(Debug, Args)]
pub struct Arguments {
    /// TraceQL that picks spans [default: all].
    #[arg(default_value = "{ }", hide_default_value = true)]
    query: String,
    /// Begin with the spans of so long ago.
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    since: Option<Duration>,
    /// Time between two looks.
    #[arg(long, value_parser = parse_duration, default_value = "1s", value_name = "DURATION")]
    interval: Duration,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: Server,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    let (client, screen) = (Client::new(&arguments.server)?, Screen::of(arguments.output));
    // what a row of a span shows, whatever the query
    let query = format!("{} | select(name, resource.service.name, status, statusMessage)", arguments.query);
    let search = Search { query, limit: TRACES_PER_LOOK, spans_per_trace: Some(SPANS_PER_TRACE), ..Search::default() };
    let mut follow = Follow::from(now_nanos().saturating_sub(nanos(arguments.since.unwrap_or_default())));
    let mut has_heading = false;
    loop {
        let traces = follow.look(&client, &search).await.map_err(|error| shortened(error, &arguments.query))?;
        let mut spans: Vec<(&FoundTrace, &FoundSpan)> =
            traces.iter().flat_map(|trace| trace.spans().map(move |span| (trace, span))).collect();
        spans.retain(|(trace, span)| follow.is_new(&format!("{}/{}", trace.trace_id, span.span_id), ended(span)));
        spans.sort_by_key(|(_, span)| ended(span));
        for (trace, span) in spans {
            if screen.form == Form::Tsv && !std::mem::replace(&mut has_heading, true) {
                print("ended\tduration\tservice\tname\tstatus\tmessage\ttrace\tspan\n")?;
            }
            print(&line(trace, span, &screen))?;
        }
        tokio::time::sleep(arguments.interval).await;
    }
}

fn ended(span: &FoundSpan) -> u64 {
    span.start_time_unix_nano.saturating_add(span.duration_nanos)
}

/// An error shows the query as it was typed.
fn shortened(error: Error, typed: &str) -> Error {
    match error {
        Error::Query { message, line, column, .. } => Error::Query { message, query: typed.to_owned(), line, column },
        other => other,
    }
}

/// One span. Rows come one by one, so columns are of fixed width.
fn line(trace: &FoundTrace, span: &FoundSpan, screen: &Screen) -> String {
    let label = |key| span.attributes.get(key).unwrap_or_default();
    let service = if label(SERVICE).is_empty() { trace.root_service_name.as_str() } else { label(SERVICE) };
    let (ended, is_error) = (ended(span), label(STATUS) == "error");
    match screen.form {
        Form::Json => {
            let document = json!({
                "ended": time::rfc3339(ended), "durationNanos": span.duration_nanos, "service": service,
                "name": span.name, "status": label(STATUS), "message": label(MESSAGE),
                "traceId": trace.trace_id, "spanId": span.span_id,
                "attributes": span.attributes.0.iter().cloned().collect::<HashMap<_, _>>(),
            });
            format!("{document}\n")
        }
        Form::Tsv => {
            let cells = [
                time::rfc3339(ended),
                span.duration_nanos.to_string(),
                service.to_owned(),
                span.name.clone(),
                label(STATUS).to_owned(),
                label(MESSAGE).to_owned(),
                trace.trace_id.clone(),
                span.span_id.clone(),
            ];
            cells.map(|cell| cell.replace(['\t', '\n', '\r'], " ")).join("\t") + "\n"
        }
        Form::People => {
            let clock = time::rfc3339(ended).chars().skip(11).take(12).collect::<String>();
            let message = if label(MESSAGE).is_empty() { String::new() } else { format!(": {}", label(MESSAGE)) };
            let name = harmless(&format!("{}{message}", span.name));
            let fixed = 12 + 9 + 16 + 32 + 4;
            let name = figures::cell(&name, screen.width.saturating_sub(fixed).max(16));
            let style = if is_error { Style::Error } else { Style::Plain };
            format!(
                "{} {:>9} {} {} {}\n",
                screen.paint(Style::Dim, &clock),
                figures::duration(span.duration_nanos),
                screen.paint(Style::Service, &figures::cell(&harmless(service), 16)),
                screen.paint(style, &name),
                screen.paint(Style::Dim, &trace.trace_id),
            )
        }
    }
}

/// Traces that match, each once, when it is first found.
pub(crate) async fn traces(client: &Client, screen: &Screen, query: &str, range: &Range) -> Result<(), Error> {
    let search = Search { query: query.to_owned(), limit: TRACES_PER_LOOK, ..Search::default() };
    let mut follow = Follow::from(range.times()?.start_nanos);
    let mut has_heading = false;
    loop {
        let mut traces = follow.look(client, &search).await?;
        traces.retain(|trace| follow.is_new(&trace.trace_id, trace.start_time_unix_nano));
        traces.reverse();
        if !traces.is_empty() {
            let text = match screen.form {
                Form::Json => traces.iter().map(trace_document).collect(),
                Form::People | Form::Tsv => trace_table(&traces).show(screen, !has_heading),
            };
            print(&text)?;
            has_heading = true;
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

fn trace_document(trace: &FoundTrace) -> String {
    let document = json!({
        "traceId": trace.trace_id, "start": time::rfc3339(trace.start_time_unix_nano), "durationMs": trace.duration_ms,
        "service": trace.root_service_name, "name": trace.root_trace_name, "matched": trace.matched(),
        "errors": trace.errors(),
    });
    format!("{document}\n")
}

/// Curves that are drawn again as time goes on; for programs, samples that are new.
pub(crate) async fn metrics(
    client: &Client,
    screen: &Screen,
    query: &str,
    range: &Range,
    step: Option<Duration>,
) -> Result<(), Error> {
    /// To the upper left corner, and erase what is below.
    const CLEAR: &str = "\x1b[H\x1b[2J";
    let mut told = 0;
    loop {
        let (body, answer) = client.metrics(query, range.times()?, step).await?;
        match screen.form {
            Form::People => {
                let curves = series_table(&answer).show(screen, true);
                let headline = screen.paint(Style::Heading, &figures::cut(query, screen.width));
                print(&format!("{CLEAR}{headline}\n{curves}"))?;
            }
            Form::Json => print(&format!("{}\n", String::from_utf8_lossy(&body).trim_end()))?,
            Form::Tsv => {
                let table = new_samples(&answer, told, now_nanos());
                print(&table.show(screen, told == 0))?;
                told = now_nanos() / 1_000_000;
            }
        }
        tokio::time::sleep(REDRAW).await;
    }
}

/// Samples of intervals that ended between two looks.
fn new_samples(answer: &crate::client::MetricsAnswer, after_ms: u64, now_nanos: u64) -> Table {
    let mut table = Table::new([Column::whole("TIME"), Column::whole("SERIES"), Column::number("VALUE")]);
    for series in &answer.series {
        let is_new = |ms: u64| ms > after_ms && ms <= now_nanos / 1_000_000;
        for sample in series.samples.iter().filter(|sample| is_new(sample.timestamp_ms)) {
            let time = Cell::time(sample.timestamp_ms.saturating_mul(1_000_000));
            table.row([time, Cell::text(series.labels.brief()), Cell::number(sample.value)]);
        }
    }
    table
}

/// What has been shown, as far as it may be found again.
struct Follow {
    start_nanos: u64,
    /// Until when each of them may be found.
    seen: HashMap<String, u64>,
}

impl Follow {
    fn from(start_nanos: u64) -> Self {
        Self { start_nanos, seen: HashMap::new() }
    }

    /// Traces of the time since the look before, and a little more.
    async fn look(&mut self, client: &Client, search: &Search) -> Result<Vec<FoundTrace>, Error> {
        let now_nanos = now_nanos();
        let times = Times { start_nanos: self.start_nanos, end_nanos: now_nanos + nanos(INTERVAL) };
        let page = client.search(search, times).await?;
        self.start_nanos = self.start_nanos.max(now_nanos.saturating_sub(nanos(LOOK_BACK)));
        self.seen.retain(|_, until| *until >= self.start_nanos);
        Ok(page.answer.traces)
    }

    /// Whether it is seen for the first time. What ended is found for a while, what goes on for as long as it goes on.
    fn is_new(&mut self, id: &str, ended_nanos: u64) -> bool {
        let until = ended_nanos.max(now_nanos()).saturating_add(2 * nanos(LOOK_BACK));
        self.seen.insert(id.to_owned(), until).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_shown_is_not_shown_again() {
        let mut follow = Follow::from(0);
        assert!(follow.is_new("a/1", 5));
        assert!(!follow.is_new("a/1", 5));
        assert!(follow.is_new("a/2", 5));
    }

    #[test]
    fn a_span_is_one_line_for_each_reader() {
        let text = r#"{"traceID":"1f","rootServiceName":"shop","spanSets":[{"spans":[{"spanID":"a","name":"GET","startTimeUnixNano":
            "1700000000000000000","durationNanos":"2500000","attributes":[{"key":"status","value":{"stringValue":"error"}},
            {"key":"statusMessage","value":{"stringValue":"out of\nstock"}}]}]}]}"#;
        let trace: FoundTrace = serde_json::from_str(text).unwrap();
        let span = trace.spans().next().unwrap();
        let shown = |form| line(&trace, span, &Screen::for_tests(form, 110));
        let expected = "2023-11-14T22:13:20.002Z\t2500000\tshop\tGET\terror\tout of stock\t1f\ta\n";
        assert_eq!(shown(Form::Tsv), expected);
        let people = shown(Form::People);
        assert!(people.starts_with("22:13:20.002    2.5 ms shop             GET: out of\u{fffd}stock"), "{people}");
        assert!(shown(Form::Json).contains(r#""message":"out of\nstock""#));
    }
}
