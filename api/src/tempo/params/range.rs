//! Time ranges of queries. Pure: the clock comes in as `now_nanos`.

use std::num::NonZeroU64;
use std::time::Duration;

use model::TimeRange;
use traceql::format_go_duration;

use super::time::{parse_prometheus_duration, parse_time};
use super::{Params, QueryError};
use crate::QueryConfig;

const SECOND: u64 = 1_000_000_000;

/// How far back a search looks when the client does not say.
const DEFAULT_RANGE: Duration = Duration::from_secs(15 * 60);

/// How far back tags and values are looked for when the client does not say, where Tempo has a quarter of an hour: a
/// drop-down that is empty says that there is nothing, and this is cheap.
const DEFAULT_TAGS_RANGE: Duration = Duration::from_secs(3600);

/// How far back a metrics query looks when the client does not say.
const DEFAULT_METRICS_RANGE: Duration = Duration::from_secs(3600);

const ONLY_ONE: &str = "error parsing date range: only one of start and end provided: must provide both or neither";

/// Start and end of a query as a client words them, in unix nanoseconds; nothing is checked yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::tempo) struct Bounds {
    /// Looks so far back from now, whatever the others say.
    since_nanos: Option<u64>,
    start_nanos: Option<u64>,
    end_nanos: Option<u64>,
}

impl Bounds {
    /// Of `/api/search`: `start` and `end` in whole unix seconds.
    pub(in crate::tempo) fn of_search(params: &Params) -> Result<Self, QueryError> {
        let start = params.uint32("start")?.unwrap_or(0);
        let end = params.uint32("end")?.unwrap_or(0);
        Ok(Self { since_nanos: since(params)?, ..Self::of_seconds(start, end) })
    }

    /// Of tags and values: times in any form. Both 0 are as if neither was given.
    pub(in crate::tempo) fn of_tags(params: &Params) -> Result<Self, QueryError> {
        let in_date_range = |problem| QueryError::bad_request(format!("error parsing date range: {problem}"));
        let start_nanos = time(params, "start").map_err(in_date_range)?;
        let end_nanos = time(params, "end").map_err(in_date_range)?;
        let are_given = (start_nanos, end_nanos) != (Some(0), Some(0));
        let [start_nanos, end_nanos] = [start_nanos, end_nanos].map(|bound| bound.filter(|_| are_given));
        Ok(Self { since_nanos: since(params)?, start_nanos, end_nanos })
    }

    /// Unix seconds, 0 for none.
    pub(in crate::tempo) fn of_seconds(start: u32, end: u32) -> Self {
        let nanos = |seconds: u32| (seconds > 0).then(|| u64::from(seconds) * SECOND);
        Self { since_nanos: None, start_nanos: nanos(start), end_nanos: nanos(end) }
    }
}

/// The range of a search.
pub(in crate::tempo) fn of_search(
    bounds: Bounds,
    config: &QueryConfig,
    now_nanos: u64,
) -> Result<TimeRange, QueryError> {
    let range = match (bounds.since_nanos, bounds.start_nanos, bounds.end_nanos) {
        (Some(since_nanos), ..) => back_from(now_nanos, since_nanos),
        (None, None, None) => back_from(now_nanos, nanos(DEFAULT_RANGE)),
        (None, None, Some(_)) => return Err(QueryError::bad_request(ONLY_ONE)),
        (None, Some(start), Some(end)) if start < end => TimeRange::new(start, end),
        (None, Some(start), end) => return Err(reversed(seconds(start), seconds(end.unwrap_or(0)))),
    };
    checked(range, config, now_nanos)
}

/// The range of tags and values.
pub(in crate::tempo) fn of_tags(bounds: Bounds, config: &QueryConfig, now_nanos: u64) -> Result<TimeRange, QueryError> {
    let range = match (bounds.since_nanos, bounds.start_nanos, bounds.end_nanos) {
        (Some(since_nanos), ..) => back_from(now_nanos, since_nanos),
        (None, Some(start), Some(end)) => TimeRange::new(start, end),
        (None, None, None) => back_from(now_nanos, nanos(DEFAULT_TAGS_RANGE)),
        _ => return Err(QueryError::bad_request(ONLY_ONE)),
    };
    checked(range, config, now_nanos)
}

/// The range of a service graph: as long as that of a search may be; an hour by default.
pub(in crate::tempo) fn of_service_graph(
    params: &Params,
    config: &QueryConfig,
    now_nanos: u64,
) -> Result<TimeRange, QueryError> {
    let bounds = Bounds::of_tags(params)?;
    if let (None, Some(start), Some(end)) = (bounds.since_nanos, bounds.start_nanos, bounds.end_nanos)
        && start >= end
    {
        return Err(reversed(seconds(start), seconds(end)));
    }
    of_tags(bounds, config, now_nanos)
}

/// The range of a metrics query: `end` is now unless given, `start` an hour, or `since`, before it.
pub(in crate::tempo) fn of_metrics(params: &Params, now_nanos: u64) -> Result<TimeRange, QueryError> {
    let wrapped = |problem| QueryError::bad_request(format!("rpc error: code = Code(400) desc = {problem}"));
    let start = time(params, "start").map_err(wrapped)?;
    let end = time(params, "end").map_err(wrapped)?.unwrap_or(now_nanos);
    let since_nanos = since(params)?.unwrap_or(nanos(DEFAULT_METRICS_RANGE));
    Ok(TimeRange::new(start.unwrap_or_else(|| end.saturating_sub(since_nanos)), end))
}

/// The same range from unix nanoseconds, of which 0 is not given.
pub(in crate::tempo) fn of_metrics_nanos(start_nanos: u64, end_nanos: u64, now_nanos: u64) -> TimeRange {
    let end_nanos = if end_nanos == 0 { now_nanos } else { end_nanos };
    match start_nanos {
        0 => back_from(end_nanos, nanos(DEFAULT_METRICS_RANGE)),
        _ => TimeRange::new(start_nanos, end_nanos),
    }
}

/// The range of a metrics query, which ends at the cut-off at the latest, at a multiple of the step.
pub(in crate::tempo) fn cut_off(
    range: TimeRange,
    step_nanos: NonZeroU64,
    config: &QueryConfig,
    now_nanos: u64,
) -> TimeRange {
    if config.end_cutoff_seconds == 0 {
        return range;
    }
    let cutoff_nanos = now_nanos.saturating_sub(config.end_cutoff_seconds.saturating_mul(SECOND));
    let end_nanos = range.end_nanos.min(cutoff_nanos / step_nanos * step_nanos.get());
    TimeRange::new(range.start_nanos.min(end_nanos), end_nanos)
}

/// The range that a trace is looked for in; `None` for anywhere.
pub(in crate::tempo) fn of_trace(params: &Params) -> Result<Option<TimeRange>, QueryError> {
    let start = params.int("start")?.unwrap_or(0);
    let end = params.int("end")?.unwrap_or(0);
    if start > 0 && end > 0 && start >= end {
        return Err(reversed(start, end));
    }
    let seconds = |bound: i64| u64::try_from(bound).unwrap_or(0).saturating_mul(SECOND);
    match (seconds(start), seconds(end)) {
        (0, 0) => Ok(None),
        (start_nanos, 0) => Ok(Some(TimeRange::new(start_nanos, u64::MAX))),
        (start_nanos, end_nanos) => Ok(Some(TimeRange::new(start_nanos, end_nanos))),
    }
}

fn reversed(start: i64, end: i64) -> QueryError {
    QueryError::bad_request(format!("http parameter start must be before end. received start={start} end={end}"))
}

fn time(params: &Params, name: &str) -> Result<Option<u64>, String> {
    let parsed = params.get(name).map(parse_time).transpose();
    parsed.map_err(|problem| format!("could not parse '{name}' parameter: {problem}"))
}

fn since(params: &Params) -> Result<Option<u64>, QueryError> {
    let parsed = params.get("since").map(parse_prometheus_duration).transpose();
    parsed.map_err(|problem| QueryError::bad_request(format!("could not parse 'since' parameter: {problem}")))
}

fn back_from(end_nanos: u64, length_nanos: u64) -> TimeRange {
    TimeRange::new(end_nanos.saturating_sub(length_nanos), end_nanos)
}

/// Refuses what is too long, then cuts the end down to the cut-off.
fn checked(range: TimeRange, config: &QueryConfig, now_nanos: u64) -> Result<TimeRange, QueryError> {
    let max_range = Duration::from_secs(config.max_search_range_seconds);
    // A reversed range is too long as well: Tempo subtracts without a sign, and so answers the same.
    let length_nanos = range.end_nanos.checked_sub(range.start_nanos);
    if !max_range.is_zero() && length_nanos.is_none_or(|length| length > nanos(max_range)) {
        return Err(QueryError::bad_request(format!(
            "range specified by start and end exceeds {}. received start={} end={}",
            go_text(max_range),
            range.start_nanos / SECOND,
            range.end_nanos / SECOND
        )));
    }
    if config.end_cutoff_seconds == 0 {
        return Ok(range);
    }
    let cutoff_nanos = now_nanos.saturating_sub(config.end_cutoff_seconds.saturating_mul(SECOND));
    let end_nanos = range.end_nanos.min(cutoff_nanos);
    let newest_start_nanos = now_nanos.saturating_sub(nanos(DEFAULT_RANGE));
    let start_nanos = if range.start_nanos > end_nanos { newest_start_nanos } else { range.start_nanos };
    Ok(TimeRange::new(start_nanos, end_nanos))
}

pub(in crate::tempo) fn go_text(duration: Duration) -> String {
    format_go_duration(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
}

fn seconds(nanos: u64) -> i64 {
    (nanos / SECOND).cast_signed()
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000 * SECOND;

    type ReadRange = fn(&Params, &QueryConfig) -> Result<TimeRange, QueryError>;

    fn search(params: &Params, config: &QueryConfig) -> Result<TimeRange, QueryError> {
        of_search(Bounds::of_search(params)?, config, NOW)
    }

    fn tags(params: &Params, config: &QueryConfig) -> Result<TimeRange, QueryError> {
        of_tags(Bounds::of_tags(params)?, config, NOW)
    }

    fn read(read_range: ReadRange, query: &str) -> Result<(u64, u64), String> {
        let range = read_range(&Params::from_query(query), &QueryConfig::default());
        range.map(|range| (range.start_nanos / SECOND, range.end_nanos / SECOND)).map_err(|error| error.text)
    }

    #[test]
    fn searches_look_back_a_quarter_of_an_hour_by_default() {
        assert_eq!(read(search, ""), Ok((1_699_999_100, 1_700_000_000)));
        assert_eq!(read(search, "start=0&end=0"), Ok((1_699_999_100, 1_700_000_000)));
        assert_eq!(read(search, "since=1h&start=5&end=6"), Ok((1_699_996_400, 1_700_000_000)));
        assert_eq!(read(search, "start=100&end=200"), Ok((100, 200)));
    }

    #[test]
    fn tags_and_values_look_back_an_hour_by_default() {
        assert_eq!(read(tags, ""), Ok((1_699_996_400, 1_700_000_000)));
        assert_eq!(read(tags, "start=0&end=0"), Ok((1_699_996_400, 1_700_000_000)));
    }

    #[test]
    fn bad_ranges_are_refused_in_tempos_words() {
        let reversed =
            |start, end| Err(format!("http parameter start must be before end. received start={start} end={end}"));
        assert_eq!(read(search, "start=20&end=10"), reversed(20, 10));
        assert_eq!(read(search, "start=20&end=20"), reversed(20, 20));
        assert_eq!(read(search, "start=20"), reversed(20, 0));
        assert_eq!(read(search, "end=20"), Err(ONLY_ONE.to_owned()));
        assert_eq!(read(tags, "start=20"), Err(ONLY_ONE.to_owned()));
        assert_eq!(read(tags, "end=20"), Err(ONLY_ONE.to_owned()));
        let too_long = |start, end| {
            Err(format!("range specified by start and end exceeds 168h0m0s. received start={start} end={end}"))
        };
        assert_eq!(read(search, "start=1&end=604802"), too_long(1, 604_802));
        assert_eq!(read(tags, "start=20&end=10"), too_long(20, 10));
        assert_eq!(
            read(tags, "start=x&end=1"),
            Err("error parsing date range: could not parse 'start' parameter: strconv.ParseInt: parsing \"x\": invalid syntax"
                .to_owned())
        );
    }

    #[test]
    fn the_end_is_cut_off_when_configured() {
        let config = QueryConfig { end_cutoff_seconds: 30, ..QueryConfig::default() };
        let range = search(&Params::from_query("start=1699999990&end=1700000000"), &config).unwrap();
        assert_eq!(range, TimeRange::new(NOW - 900 * SECOND, NOW - 30 * SECOND));
        let range = search(&Params::default(), &config).unwrap();
        assert_eq!(range, TimeRange::new(NOW - 900 * SECOND, NOW - 30 * SECOND));
    }

    #[test]
    fn a_trace_is_looked_for_everywhere_unless_told_otherwise() {
        let read = |query| of_trace(&Params::from_query(query));
        assert_eq!(read(""), Ok(None));
        assert_eq!(read("start=5"), Ok(Some(TimeRange::new(5 * SECOND, u64::MAX))));
        assert_eq!(read("start=5&end=6"), Ok(Some(TimeRange::from_seconds(5, 6))));
        assert_eq!(
            read("start=20&end=10").unwrap_err().text,
            "http parameter start must be before end. received start=20 end=10"
        );
        let problem = read("start=x").unwrap_err().text;
        assert_eq!(problem, "invalid start: strconv.ParseInt: parsing \"x\": invalid syntax");
    }

    #[test]
    fn metrics_end_at_the_cut_off() {
        let config = QueryConfig { end_cutoff_seconds: 30, ..QueryConfig::default() };
        let step = NonZeroU64::new(60 * SECOND).unwrap();
        let cut = |end| cut_off(TimeRange::new(0, end), step, &config, NOW).end_nanos / SECOND;
        assert_eq!((cut(NOW), cut(NOW - 300 * SECOND)), (1_699_999_920, 1_699_999_700));
        assert_eq!(cut_off(TimeRange::new(0, NOW), step, &QueryConfig::default(), NOW).end_nanos, NOW);
    }

    #[test]
    fn what_a_message_does_not_say_is_an_hour_until_now() {
        assert_eq!(of_metrics_nanos(0, 0, NOW), TimeRange::new(NOW - 3600 * SECOND, NOW));
        assert_eq!(of_metrics_nanos(5, 7, NOW), TimeRange::new(5, 7));
    }

    #[test]
    fn metrics_look_back_an_hour_by_default() {
        let read = |query| of_metrics(&Params::from_query(query), NOW).unwrap();
        assert_eq!(read(""), TimeRange::new(NOW - 3600 * SECOND, NOW));
        assert_eq!(read("since=10m&end=1000"), TimeRange::from_seconds(400, 1000));
    }
}
