//! `/api/metrics/query_range` and `/api/metrics/query`: numbers over time.

use std::num::NonZeroU64;
use std::time::Duration;

use model::TimeRange;
use querier::Intervals;
use querier::answer::{self, MetricsAnswer, Value};
use querier::request::MetricsRequest;
use traceql::MetricsExpr;

use super::json::Json;
use super::params::{Params, check_length, range};
use super::proto::{
    Exemplar, InstantSeries, PartialStatus, QueryInstantResponse, QueryRangeResponse, Sample, SearchMetrics, TimeSeries,
};
use super::reply::{QueryError, Reply};
use super::search;
use super::{Asker, Call};
use crate::QueryConfig;

/// Most intervals of a range query.
const MAX_INTERVALS: u64 = 10_000;

/// Most exemplars of an answer (Tempo's default).
const MAX_EXEMPLARS: usize = 100;

pub(super) async fn range(call: Call) -> Result<Reply, QueryError> {
    let request = Asked::of_url(&call.params, call.now_nanos)?.check_range(&call.config(), call.now_nanos)?;
    Ok(Reply::json(Json::of(&answer_range(call.asker(), request).await?)))
}

pub(super) async fn instant(call: Call) -> Result<Reply, QueryError> {
    let config = &call.config();
    let asked = Asked::of_url(&call.params, call.now_nanos)?;
    let range = range::cut_off(asked.range, NonZeroU64::MIN, config, call.now_nanos);
    let request = asked.check_instant(config)?;
    let request = MetricsRequest { intervals: Intervals::whole(range), ..request };
    Ok(Reply::json(Json::of(&answer_instant(call.asker(), request).await?)))
}

/// What a range query is answered with.
pub(super) async fn answer_range(asker: Asker<'_>, request: MetricsRequest) -> Result<QueryRangeResponse, QueryError> {
    Ok(range_response(asker.edge.querier.metrics(asker.tenants, request).await?))
}

/// What an instant query is answered with.
pub(super) async fn answer_instant(
    asker: Asker<'_>,
    request: MetricsRequest,
) -> Result<QueryInstantResponse, QueryError> {
    Ok(instant_response(asker.edge.querier.metrics(asker.tenants, request).await?))
}

/// A metrics query as a client words it. Nothing is checked yet, but that it can be read.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) query: String,
    pub(super) range: TimeRange,
    /// `None` for one that suits the range.
    pub(super) step_nanos: Option<u64>,
    /// 0 for as many as there may be.
    pub(super) exemplars: u32,
    /// 0 for all.
    pub(super) max_series: u32,
}

impl Asked {
    /// The query is `q`, or `query` from older clients. No query is the empty query, which the parser refuses.
    fn of_url(params: &Params, now_nanos: u64) -> Result<Self, QueryError> {
        Ok(Self {
            query: params.get("q").or_else(|| params.get("query")).unwrap_or_default().to_owned(),
            range: range::of_metrics(params, now_nanos)?,
            step_nanos: params.get("step").map(parse_step).transpose()?,
            exemplars: params.uint32_or_zero("exemplars"),
            max_series: params.uint32_or_zero("maxSeries"),
        })
    }

    pub(super) fn check_range(self, config: &QueryConfig, now_nanos: u64) -> Result<MetricsRequest, QueryError> {
        check_length(&self.query, config.max_query_bytes)?;
        let query = traceql::parse_metrics(&self.query).map_err(|error| {
            let prefix = if error.is_parse_error() { "" } else { COMPILING };
            QueryError::bad_request(format!("{prefix}{error}"))
        })?;
        require_metrics(&query)?;
        if self.range.start_nanos >= self.range.end_nanos {
            return Err(reversed());
        }
        let step_nanos = checked_step(self.step_nanos, &self.range)?;
        check_range_length(&self.range, config)?;
        let range = range::cut_off(self.range, step_nanos, config, now_nanos);
        let most = usize::try_from(self.exemplars).unwrap_or(MAX_EXEMPLARS);
        Ok(MetricsRequest {
            query,
            intervals: Intervals::of_range(range, step_nanos),
            max_exemplars: if most == 0 { MAX_EXEMPLARS } else { most.min(MAX_EXEMPLARS) },
            max_series: self.max_series(config),
        })
    }

    pub(super) fn check_instant(&self, config: &QueryConfig) -> Result<MetricsRequest, QueryError> {
        check_length(&self.query, config.max_query_bytes)?;
        let query = traceql::parse_metrics(&self.query)
            .map_err(|error| QueryError::bad_request(format!("{COMPILING}{error}")))?;
        require_metrics(&query)?;
        if self.range.start_nanos >= self.range.end_nanos {
            return Err(reversed());
        }
        check_range_length(&self.range, config)?;
        let (intervals, max_series) = (Intervals::whole(self.range), self.max_series(config));
        Ok(MetricsRequest { query, intervals, max_exemplars: 0, max_series })
    }

    /// What the client wants, within what it may.
    fn max_series(&self, config: &QueryConfig) -> Option<usize> {
        let asked = usize::try_from(self.max_series).ok();
        asked.into_iter().chain([config.max_response_series]).filter(|most| *most > 0).min()
    }
}

const COMPILING: &str = "compiling query: ";

fn reversed() -> QueryError {
    QueryError::bad_request("end must be greater than start")
}

fn require_metrics(query: &MetricsExpr) -> Result<(), QueryError> {
    query.require_metrics().map_err(|error| QueryError::bad_request(error.to_string()))
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

fn check_range_length(range: &TimeRange, config: &QueryConfig) -> Result<(), QueryError> {
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
        // nothing that is newer than the clients, not even where it should be passed over
        metrics: SearchMetrics { backend_reads: 0, backend_bytes: 0, ..search::metrics(&answer.metrics) },
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

    const NOW: u64 = 1_700_000_000_000_000_000;

    type Check = fn(Asked) -> Result<MetricsRequest, QueryError>;

    fn read_range(asked: Asked) -> Result<MetricsRequest, QueryError> {
        asked.check_range(&QueryConfig::default(), NOW)
    }

    fn read_instant(asked: Asked) -> Result<MetricsRequest, QueryError> {
        asked.check_instant(&QueryConfig::default())
    }

    fn problem(check: Check, query: &str) -> String {
        let asked = Asked::of_url(&Params::from_query(query), NOW);
        asked.and_then(check).err().map(|error| error.text).unwrap_or_default()
    }

    #[test]
    fn range_queries_are_checked_in_tempos_words() {
        for (query, text) in [
            ("", "parse error : syntax error: unexpected $end"),
            ("q=%7B%7D", "not a metrics query"),
            (
                "q=%7B%7D|rate()*2",
                "parse error at line 1, col 10: syntax error: unexpected *, expecting with; each metrics query of an \
                 operation stands in parentheses, as in ({ } | rate()) / ({ } | rate())",
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
            ("q=%7B%7D|rate()&start=100&end=100&step=0.5", "end must be greater than start"),
            ("query=%7B%7D|rate()&start=100&end=101&step=0.5", ""),
            ("q=%7B%7D|rate()&start=100&end=101&exemplars=x&maxSeries=-1", ""),
            ("q=100*(%7B%7D|rate())/(%7B%7D|rate())&start=100&end=101", ""),
            (
                "q=(%7B%7D|rate())*2s",
                "parse error at line 0, col 13: duration cannot be used as a scalar operand in metric arithmetic",
            ),
            (
                "q=(%7B%7D|rate())/(%7B%7D|compare(%7B%7D))",
                "compiling query: `compare()` cannot be used with second stage functions",
            ),
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
