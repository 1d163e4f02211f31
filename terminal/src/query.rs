//! `mosso query`: a TraceQL query, answered with traces or with numbers over time, whichever it asks for.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::args::{Range, Server, Times};
use crate::client::{Client, FoundTrace, MetricsAnswer, Search, Series};
use crate::error::Error;
use crate::figures;
use crate::follow;
use crate::screen::{Form, Output, Screen, Style, print, print_document};
use crate::spark::sparkline;
use crate::table::{Cell, Column, Table};
use crate::time::parse_duration;

const CURVE_CELLS: usize = 32;
const BAR_CELLS: usize = 12;

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
        (true, true) => follow::metrics(&client, &screen, arguments).await?,
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

/// Traces, as the answer has them: newest first.
pub(crate) fn trace_table(traces: &[FoundTrace]) -> Table {
    let mut table = Table::new([
        Column::whole("START"),
        Column::number("DURATION"),
        Column::picture(""),
        Column::text("SERVICE"),
        Column::text("NAME"),
        Column::number("MATCHED"),
        Column::number("ERRORS"),
        Column::whole("TRACE"),
    ]);
    let longest = traces.iter().map(|trace| trace.duration_ms).max().unwrap_or_default();
    for trace in traces {
        table.row([
            Cell::time(trace.start_time_unix_nano),
            Cell::duration(trace.duration_ms.saturating_mul(1_000_000)),
            Cell::text(bar(trace.duration_ms, longest)).styled(Style::Strong),
            Cell::text(&trace.root_service_name).styled(Style::Service),
            Cell::text(&trace.root_trace_name),
            Cell::count(trace.matched()),
            Cell::errors(trace.errors()),
            Cell::text(&trace.trace_id).styled(Style::Dim),
        ]);
    }
    table
}

fn bar(value: u64, longest: u64) -> String {
    let eighths = (value as f64 / longest.max(1) as f64 * (BAR_CELLS * 8) as f64).round() as usize;
    let rest = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'][eighths % 8];
    format!("{}{rest}", "█".repeat(eighths / 8)).trim_end().to_owned()
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

fn instant_table(answer: &MetricsAnswer) -> Table {
    let mut table = Table::new([Column::text("SERIES"), Column::number("VALUE")]);
    for series in largest_first(answer, |series| series.value) {
        table.row([series_name(series), Cell::number(series.value)]);
    }
    table
}

/// One row a series: its curve, and what it was.
pub(crate) fn series_table(answer: &MetricsAnswer) -> Table {
    let mut table = Table::new([
        Column::text("SERIES"),
        Column::picture("OVER TIME"),
        Column::number("LAST"),
        Column::number("MIN"),
        Column::number("MAX"),
        Column::number("MEAN"),
    ]);
    let moments: BTreeSet<u64> =
        answer.series.iter().flat_map(|series| &series.samples).map(|s| s.timestamp_ms).collect();
    for series in largest_first(answer, mean) {
        let known = || series.samples.iter().map(|sample| sample.value).filter(|value| !value.is_nan());
        table.row([
            series_name(series),
            Cell::text(sparkline(&on(&moments, series), CURVE_CELLS)).styled(Style::Service),
            Cell::number(known().next_back().unwrap_or(f64::NAN)).styled(Style::Strong),
            Cell::number(known().fold(f64::NAN, f64::min)),
            Cell::number(known().fold(f64::NAN, f64::max)),
            Cell::number(mean(series)),
        ]);
    }
    table
}

/// The values at all moments that any series has.
pub(crate) fn on(moments: &BTreeSet<u64>, series: &Series) -> Vec<f64> {
    let mut samples = series.samples.iter().peekable();
    let value_at = |moment: &u64| {
        while samples.next_if(|sample| sample.timestamp_ms < *moment).is_some() {}
        samples.next_if(|sample| sample.timestamp_ms == *moment).map_or(f64::NAN, |sample| sample.value)
    };
    moments.iter().map(value_at).collect()
}

/// Short for people, with all labels for programs.
fn series_name(series: &Series) -> Cell {
    Cell::of(&series.labels.briefest(), series.labels.brief())
}

fn mean(series: &Series) -> f64 {
    let known: Vec<f64> = series.samples.iter().map(|sample| sample.value).filter(|value| !value.is_nan()).collect();
    known.iter().sum::<f64>() / known.len() as f64
}

fn largest_first(answer: &MetricsAnswer, size: impl Fn(&Series) -> f64) -> Vec<&Series> {
    let mut series: Vec<&Series> = answer.series.iter().collect();
    series.sort_by(|one, other| size(other).total_cmp(&size(one)).then_with(|| one.labels.cmp(&other.labels)));
    series
}

/// One row a sample, for programs.
pub(crate) fn sample_table(answer: &MetricsAnswer) -> Table {
    let mut table = Table::new([Column::whole("TIME"), Column::whole("SERIES"), Column::number("VALUE")]);
    for series in &answer.series {
        for sample in series.samples.iter().filter(|sample| !sample.value.is_nan()) {
            let time = Cell::time(sample.timestamp_ms.saturating_mul(1_000_000));
            table.row([time, Cell::text(series.labels.brief()), Cell::number(sample.value)]);
        }
    }
    table
}

impl Arguments {
    pub(crate) fn query(&self) -> &str {
        &self.query
    }

    pub(crate) fn step(&self) -> Option<Duration> {
        self.step
    }

    pub(crate) fn times(&self) -> Result<Times, Error> {
        self.range.times()
    }

    /// What stands above curves that are drawn again and again.
    pub(crate) fn headline(&self, screen: &Screen) -> String {
        screen.paint(Style::Heading, &figures::cut(&self.query, screen.width))
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

    #[test]
    fn bars_are_as_long_as_the_durations() {
        assert_eq!(bar(100, 100), "█".repeat(12));
        assert_eq!(bar(50, 100), "█".repeat(6));
        assert_eq!(bar(1, 100), "▏");
        assert_eq!(bar(0, 0), "");
    }

    #[test]
    fn curves_have_gaps_where_a_series_has_no_value() {
        let text = r#"{"series":[
            {"labels":[{"key":"a","value":{"stringValue":"x"}}],"samples":[{"timestampMs":"1","value":1},{"timestampMs":"3","value":2}]},
            {"labels":[{"key":"a","value":{"stringValue":"y"}}],"samples":[{"timestampMs":"2","value":9}]}]}"#;
        let answer: MetricsAnswer = serde_json::from_str(text).unwrap();
        let shown = series_table(&answer).show(&Screen::for_tests(Form::People, 100), false);
        assert_eq!(shown, "y        █            9    9    9     9\nx       ▅ █           2    1    2   1.5\n");
        let samples = sample_table(&answer).show(&Screen::for_tests(Form::Tsv, 100), false);
        assert_eq!(samples.lines().next(), Some("1970-01-01T00:00:00.001Z\t{a=\"x\"}\t1"));
    }
}
