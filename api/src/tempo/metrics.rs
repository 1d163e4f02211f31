//! `/api/metrics/query_range` and `/api/metrics/query`: parameters and query are checked; nothing is evaluated yet.

use std::time::Duration;

use model::TimeRange;
use traceql::Query;

use super::Call;
use super::params::{Params, range};
use super::reply::{QueryError, Reply};
use crate::QueryConfig;

/// Most intervals of a range query.
const MAX_INTERVALS: u64 = 10_000;

pub(super) async fn range(call: Call) -> Result<Reply, QueryError> {
    read_range(&call.params, &call.edge.config.query, call.now_nanos)?;
    Err(not_evaluated())
}

pub(super) async fn instant(call: Call) -> Result<Reply, QueryError> {
    read_instant(&call.params, &call.edge.config.query, call.now_nanos)?;
    Err(not_evaluated())
}

fn not_evaluated() -> QueryError {
    QueryError::bad_request("TraceQL metrics are not evaluated yet")
}

fn read_range(params: &Params, config: &QueryConfig, now_nanos: u64) -> Result<(Query, TimeRange), QueryError> {
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
    check_step(step_nanos, &range)?;
    check_length(&range, config)?;
    Ok((query, range))
}

fn read_instant(params: &Params, config: &QueryConfig, now_nanos: u64) -> Result<(Query, TimeRange), QueryError> {
    let range = range::of_metrics(params, now_nanos)?;
    let query = traceql::parse(query_text(params, config)?)
        .map_err(|error| QueryError::bad_request(format!("{COMPILING}{error}")))?;
    require_metrics(&query)?;
    if range.start_nanos >= range.end_nanos {
        return Err(reversed());
    }
    check_length(&range, config)?;
    Ok((query, range))
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

fn check_step(step_nanos: Option<u64>, range: &TimeRange) -> Result<(), QueryError> {
    let min_step_nanos = (range.end_nanos - range.start_nanos) / MAX_INTERVALS;
    let Some(step_nanos) = step_nanos.filter(|step_nanos| *step_nanos == 0 || *step_nanos < min_step_nanos) else {
        return Ok(());
    };
    let [step, min_step] = [step_nanos, min_step_nanos].map(|nanos| range::go_text(Duration::from_nanos(nanos)));
    let text = format!("step of {step} is too small, minimum step for given range is {min_step}");
    Err(QueryError::bad_request(text))
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

#[cfg(test)]
mod tests {
    use super::*;

    type Read = fn(&Params, &QueryConfig, u64) -> Result<(Query, TimeRange), QueryError>;

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
            ("q=%7B%7D|rate()*2", "parse error at line 1, col 10: syntax error: unexpected *, expecting with"),
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
