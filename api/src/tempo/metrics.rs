//! `/api/metrics/query_range` and `/api/metrics/query`: numbers over time.

use std::num::NonZeroU64;
use std::time::Duration;

use model::TimeRange;
use querier::Intervals;
use querier::answer::{self, MetricsAnswer, Value};
use querier::request::MetricsRequest;
use traceql::Query;

use super::Call;
use super::json::Json;
use super::params::{Params, range};
use super::proto::{
    Exemplar, InstantSeries, PartialStatus, QueryInstantResponse, QueryRangeResponse, Sample, TimeSeries,
};
use super::reply::{QueryError, Reply};
use super::search;
use crate::QueryConfig;

/// Most intervals of a range query.
const MAX_INTERVALS: u64 = 10_000;

/// Most exemplars of an answer (Tempo's default).
const MAX_EXEMPLARS: usize = 100;

pub(super) async fn range(call: Call) -> Result<Reply, QueryError> {
    let request = read_range(&call.params, &call.edge.config.query, call.now_nanos)?;
    let answer = call.edge.querier.metrics(&call.tenant, request).await?;
    Ok(Reply::json(Json::of(&range_response(answer))))
}

pub(super) async fn instant(call: Call) -> Result<Reply, QueryError> {
    let request = read_instant(&call.params, &call.edge.config.query, call.now_nanos)?;
    let answer = call.edge.querier.metrics(&call.tenant, request).await?;
    Ok(Reply::json(Json::of(&instant_response(answer))))
}

fn read_range(params: &Params, config: &QueryConfig, now_nanos: u64) -> Result<MetricsRequest, QueryError> {
    let range = range::of_metrics(params, now_nanos)?;
    let step_nanos = params.get("step").map(parse_step).transpose()?;
    let query = traceql::parse(query_text(params, config)?).map_err(|error| {
        let prefix = if error.is_parse_error() { "" } else { COMPILING };
        QueryError::bad_request(format!("{prefix}{error}"))
    })?;
    require_metrics(&query)?;
    if range.start_nanos > range.end_nanos {
        return Err(reversed());
    }
    let step_nanos = checked_step(step_nanos, &range)?;
    check_length(&range, config)?;
    let range = range::cut_off(range, step_nanos, config, now_nanos);
    Ok(MetricsRequest {
        query,
        intervals: Intervals::of_range(range, step_nanos),
        max_exemplars: exemplars(params)?,
        max_series: max_series(params)?,
    })
}

fn read_instant(params: &Params, config: &QueryConfig, now_nanos: u64) -> Result<MetricsRequest, QueryError> {
    let range = range::of_metrics(params, now_nanos)?;
    let query = traceql::parse(query_text(params, config)?)
        .map_err(|error| QueryError::bad_request(format!("{COMPILING}{error}")))?;
    require_metrics(&query)?;
    if range.start_nanos >= range.end_nanos {
        return Err(reversed());
    }
    check_length(&range, config)?;
    let range = range::cut_off(range, NonZeroU64::MIN, config, now_nanos);
    Ok(MetricsRequest { query, intervals: Intervals::whole(range), max_exemplars: 0, max_series: max_series(params)? })
}

const COMPILING: &str = "compiling query: ";

fn reversed() -> QueryError {
    QueryError::bad_request("end must be greater than start")
}

fn require_metrics(query: &Query) -> Result<(), QueryError> {
    query.require_metrics().map(|_| ()).map_err(|error| QueryError::bad_request(error.to_string()))
}

/// `q`, or `query` from older clients. No query is the empty query, which the parser refuses.
fn query_text<'p>(params: &'p Params, config: &QueryConfig) -> Result<&'p str, QueryError> {
    Ok(params.query(config.max_query_bytes)?.or_else(|| params.get("query")).unwrap_or_default())
}

/// Seconds, whole or not, or a Go duration.
fn parse_step(text: &str) -> Result<u64, QueryError> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| seconds.is_finite());
    let nanos = seconds.map(|seconds| (seconds * 1e9) as i64).or_else(|| traceql::parse_go_duration(text).ok());
    nanos.and_then(|nanos| u64::try_from(nanos).ok()).ok_or_else(|| {
        QueryError::bad_request(format!("rpc error: code = Code(400) desc = cannot parse {text:?} to a valid duration"))
    })
}

/// The step, or one that suits the range.
fn checked_step(step_nanos: Option<u64>, range: &TimeRange) -> Result<NonZeroU64, QueryError> {
    let Some(step_nanos) = step_nanos else { return Ok(Intervals::default_step_nanos(range)) };
    let min_step_nanos = (range.end_nanos - range.start_nanos) / MAX_INTERVALS;
    if let Some(step_nanos) = NonZeroU64::new(step_nanos).filter(|step_nanos| step_nanos.get() >= min_step_nanos) {
        return Ok(step_nanos);
    }
    let [step, min_step] = [step_nanos, min_step_nanos].map(|nanos| range::go_text(Duration::from_nanos(nanos)));
    let text = format!("step of {step} is too small, minimum step for given range is {min_step}");
    Err(QueryError::bad_request(text))
}

/// 0 asks for as many as there may be.
fn exemplars(params: &Params) -> Result<usize, QueryError> {
    let asked = params.uint32("exemplars")?.filter(|number| *number > 0);
    Ok(asked.map_or(MAX_EXEMPLARS, |number| (number as usize).min(MAX_EXEMPLARS)))
}

/// 0 asks for all.
fn max_series(params: &Params) -> Result<Option<usize>, QueryError> {
    Ok(params.uint32("maxSeries")?.filter(|number| *number > 0).map(|number| number as usize))
}

fn check_length(range: &TimeRange, config: &QueryConfig) -> Result<(), QueryError> {
    let max_length = Duration::from_secs(config.max_metrics_range_seconds);
    let length = Duration::from_nanos(range.end_nanos - range.start_nanos);
    if max_length.is_zero() || length <= max_length {
        return Ok(());
    }
    let max_length = range::go_text(max_length);
    Err(QueryError::bad_request(format!(
        "metrics query time range exceeds the maximum allowed duration of {max_length}"
    )))
}

fn range_response(answer: MetricsAnswer) -> QueryRangeResponse {
    let intervals = answer.intervals;
    let (status, message) = partial(answer.partial);
    QueryRangeResponse {
        series: answer.series.into_iter().map(|series| time_series(series, &intervals)).collect(),
        metrics: search::metrics(&answer.metrics),
        status,
        message,
    }
}

fn instant_response(answer: MetricsAnswer) -> QueryInstantResponse {
    let (status, message) = partial(answer.partial);
    let series = |series: answer::Series| {
        let value = series.values.first().copied().filter(|value| !value.is_nan())?;
        Some(InstantSeries { labels: search::attributes(series.labels), value })
    };
    QueryInstantResponse {
        series: answer.series.into_iter().filter_map(series).collect(),
        metrics: search::metrics(&answer.metrics),
        status,
        message,
    }
}

fn partial(reason: Option<String>) -> (i32, String) {
    let status = if reason.is_some() { PartialStatus::Partial } else { PartialStatus::Complete };
    (status as i32, reason.unwrap_or_default())
}

fn time_series(series: answer::Series, intervals: &Intervals) -> TimeSeries {
    let samples = series.values.into_iter().enumerate().filter(|(_, value)| !value.is_nan());
    let sample = |(interval, value)| Sample { value, timestamp_ms: millis(intervals.end_nanos(interval)) };
    TimeSeries {
        labels: search::attributes(series.labels),
        samples: samples.map(sample).collect(),
        exemplars: series.exemplars.into_iter().map(exemplar).collect(),
    }
}

fn exemplar(exemplar: answer::Exemplar) -> Exemplar {
    let trace = ("trace:id".to_owned(), Value::String(exemplar.trace_id.short_hex()));
    let labels = std::iter::once(trace).chain(exemplar.labels).collect();
    let (labels, timestamp_ms) = (search::attributes(labels), millis(exemplar.start_nanos));
    Exemplar { labels, value: exemplar.value, timestamp_ms }
}

fn millis(nanos: u64) -> i64 {
    (nanos / 1_000_000) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    type Read = fn(&Params, &QueryConfig, u64) -> Result<MetricsRequest, QueryError>;

    fn problem(read: Read, query: &str) -> String {
        let params = Params::from_query(query);
        read(&params, &QueryConfig::default(), 1_700_000_000_000_000_000)
            .err()
            .map(|error| error.text)
            .unwrap_or_default()
    }

    #[test]
    fn range_queries_are_checked_in_tempos_words() {
        for (query, text) in [
            ("", "parse error : syntax error: unexpected $end"),
            ("q=%7B%7D", "not a metrics query"),
            (
                "q=%7B%7D|rate()*2",
                "parse error at line 1, col 10: syntax error: unexpected *, expecting with; metrics have no arithmetic",
            ),
            ("q=%7B%7D|rate()by(name)|topk(0)", "compiling query: limit must be greater than 0"),
            (
                "q=%7B%7D|rate()&start=100&end=340&step=1ms",
                "step of 1ms is too small, minimum step for given range is 24ms",
            ),
            (
                "q=%7B%7D|rate()&start=100&end=340&step=0",
                "step of 0s is too small, minimum step for given range is 24ms",
            ),
            ("q=%7B%7D|rate()&start=200&end=100", "end must be greater than start"),
            (
                "q=%7B%7D|rate()&start=100&end=100000&step=60s",
                "metrics query time range exceeds the maximum allowed duration of 24h0m0s",
            ),
            (
                "q=%7B%7D|rate()&step=abc",
                r#"rpc error: code = Code(400) desc = cannot parse "abc" to a valid duration"#,
            ),
            ("query=%7B%7D|rate()&start=100&end=100&step=0.5", ""),
        ] {
            assert_eq!(problem(read_range, query), text, "{query}");
        }
    }

    #[test]
    fn instant_queries_are_checked_in_tempos_words() {
        for (query, text) in [
            ("", "compiling query: parse error : syntax error: unexpected $end"),
            ("q=%7B%7D", "not a metrics query"),
            ("q=%7B%7D|rate()&start=100&end=100", "end must be greater than start"),
            ("q=%7B%7D|rate()&start=100&end=200&step=1ns", ""),
        ] {
            assert_eq!(problem(read_instant, query), text, "{query}");
        }
    }
}
