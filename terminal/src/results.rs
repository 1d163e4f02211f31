//! What queries find, as tables.

use std::collections::BTreeSet;

use crate::client::{FoundTrace, MetricsAnswer, Series};
use crate::screen::Style;
use crate::spark::sparkline;
use crate::table::{Cell, Column, Table};

const CURVE_CELLS: usize = 32;
const BAR_CELLS: usize = 12;

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

/// One number a series.
pub(crate) fn instant_table(answer: &MetricsAnswer) -> Table {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::screen::{Form, Screen};

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
