//! `/api/search`: which traces match a TraceQL query, or the tags of the search before it.

use std::time::Duration;

use model::TraceId;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};
use querier::answer::{self, FoundSpan, FoundTrace, QueryMetrics, SearchAnswer, Value};
use querier::request::{PageToken, ParseCursorError, SearchFilter, SearchRequest};
use tokio::sync::watch;

use super::params::range::Bounds;
use super::params::{Params, check_length, logfmt, range};
use super::proto::{SearchMetrics, SearchResponse, ServiceStats, Span, SpanSet, TraceSearchMetadata};
use super::reply::{QueryError, Reply};
use super::{Asker, Call};
use crate::QueryConfig;

/// Parameters that are not tags when tags are given as parameters.
const RESERVED: [&str; 11] = [
    "q",
    "tags",
    "minDuration",
    "maxDuration",
    "limit",
    "spss",
    "start",
    "end",
    "since",
    "skip_ast_transformations",
    "cursor",
];

/// One page of results. Where there may be more, a header says where the next page begins: clients read the body
/// strictly, and know no such field.
pub(super) async fn search(call: Call) -> Result<Reply, QueryError> {
    let after = cursor(&call.params)?;
    let config = call.config();
    let asked = Asked::of_url(&call.params)?.check(&config, call.now_nanos)?;
    let request = SearchRequest { after, ..asked };
    let (form, limit) = (AnswerForm::of(&request, &config), request.limit);
    let mut answer = ask(call.asker(), request, None).await?;
    let lack = answer.lack.take();
    let next = answer.traces.last().filter(|_| answer.traces.len() >= limit).map(FoundTrace::cursor);
    let reply = Reply::of(&response(answer, form), call.format);
    Ok(reply.with_next_cursor(next.map(|next| next.to_string())).with_lack(lack))
}

/// Where the page before this one ended. Pages are of one answer only if they are of one range, so it must be fixed.
fn cursor(params: &Params) -> Result<Option<PageToken>, QueryError> {
    let Some(text) = params.get("cursor") else { return Ok(None) };
    let cursor = text
        .parse()
        .map_err(|problem: ParseCursorError| QueryError::bad_request(format!("invalid cursor: {problem}")))?;
    if params.get("since").is_some() || params.get("start").is_none() || params.get("end").is_none() {
        return Err(QueryError::bad_request(
            "invalid cursor: it goes with start and end, the same for every page, and without since",
        ));
    }
    Ok(Some(cursor))
}

/// What a search is answered with. `certain` is told what can be said before the end.
pub(super) async fn answer(
    asker: Asker<'_>,
    request: SearchRequest,
    form: AnswerForm,
    certain: Option<&watch::Sender<SearchAnswer>>,
) -> Result<SearchResponse, QueryError> {
    Ok(response(ask(asker, request, certain).await?, form))
}

async fn ask(
    asker: Asker<'_>,
    request: SearchRequest,
    certain: Option<&watch::Sender<SearchAnswer>>,
) -> Result<SearchAnswer, QueryError> {
    asker.edge.querier.search(asker.tenants, request, certain).await.map_err(refused)
}

/// How an answer is worded.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct AnswerForm {
    /// Not of tags.
    is_traceql: bool,
    left_pad_trace_ids: bool,
}

impl AnswerForm {
    pub fn of(request: &SearchRequest, config: &QueryConfig) -> Self {
        let is_traceql = matches!(request.filter, SearchFilter::TraceQl(_));
        Self { is_traceql, left_pad_trace_ids: config.left_pad_trace_ids }
    }

    fn trace_id(self, id: &TraceId) -> String {
        if self.left_pad_trace_ids { id.to_string() } else { id.short_hex() }
    }
}

/// A search as a client words it. Nothing is checked yet, but that it can be read.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) bounds: Bounds,
    pub(super) query: Option<String>,
    /// What to look for without a query.
    pub(super) tags: Vec<(String, String)>,
    pub(super) min_duration: Option<Duration>,
    pub(super) max_duration: Option<Duration>,
    pub(super) limit: Option<u32>,
    /// 0 for all spans.
    pub(super) spans_per_span_set: Option<u32>,
}

impl Asked {
    fn of_url(params: &Params) -> Result<Self, QueryError> {
        let query = params.get("q").map(str::to_owned);
        let tags = match (&query, params.get("tags")) {
            (Some(_), Some(_)) => return Err(tags_beside_query()),
            (None, Some(tags)) => logfmt::parse_tags(tags)
                .map_err(|problem| QueryError::bad_request(format!("invalid tags: {problem}")))?,
            (Some(_), None) => Vec::new(),
            // a range is what clients of today send, which name tags in `tags` or `q`
            (None, None) if params.get("start").is_some() && params.get("end").is_some() => Vec::new(),
            (None, None) => tags_in_url(params),
        };
        Ok(Self {
            bounds: Bounds::of_search(params)?,
            query,
            tags,
            min_duration: duration(params, "minDuration")?,
            max_duration: duration(params, "maxDuration")?,
            limit: params.uint32("limit")?,
            spans_per_span_set: params.uint32("spss")?,
        })
    }

    pub(super) fn check(self, config: &QueryConfig, now_nanos: u64) -> Result<SearchRequest, QueryError> {
        Ok(SearchRequest {
            range: range::of_search(self.bounds, config, now_nanos)?,
            limit: limit(self.limit, config)?,
            spans_per_span_set: spans_per_span_set(self.spans_per_span_set, config)?,
            after: None,
            filter: self.filter(config)?,
        })
    }

    fn filter(self, config: &QueryConfig) -> Result<SearchFilter, QueryError> {
        let Self { query, tags, min_duration, max_duration, .. } = self;
        if query.is_some() && !tags.is_empty() {
            return Err(tags_beside_query());
        }
        if min_duration.zip(max_duration).is_some_and(|(min, max)| max < min) {
            return Err(QueryError::bad_request("invalid maxDuration: must be greater than minDuration"));
        }
        let Some(query) = query else { return Ok(SearchFilter::Tags { tags, min_duration, max_duration }) };
        check_length(&query, config.max_query_bytes)?;
        Ok(SearchFilter::TraceQl(query))
    }
}

fn tags_beside_query() -> QueryError {
    QueryError::bad_request("invalid request: can't specify tags and q in the same query")
}

/// What the language refuses is worded in this endpoint's own way.
pub(super) fn refused(error: querier::Error) -> QueryError {
    match error.as_query_error() {
        Some(query_error) => QueryError::bad_request(format!("invalid TraceQL query: {query_error}")),
        None => QueryError::from(error),
    }
}

/// The oldest form of all: every parameter that means nothing else is a tag, where there is no range.
fn tags_in_url(params: &Params) -> Vec<(String, String)> {
    let tags = params.iter().filter(|(name, value)| !RESERVED.contains(name) && !value.is_empty());
    tags.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn duration(params: &Params, name: &str) -> Result<Option<Duration>, QueryError> {
    let Some(text) = params.get(name) else { return Ok(None) };
    match traceql::parse_go_duration(text) {
        Ok(nanos) => Ok(u64::try_from(nanos).ok().filter(|nanos| *nanos > 0).map(Duration::from_nanos)),
        Err(error) => Err(QueryError::bad_request(format!("invalid {name}: {error}"))),
    }
}

fn limit(asked: Option<u32>, config: &QueryConfig) -> Result<usize, QueryError> {
    let limit = asked.map_or(config.default_result_limit, |limit| limit as usize);
    if limit == 0 {
        return Err(QueryError::bad_request("invalid limit: must be a positive number"));
    }
    let max = config.max_result_limit;
    if max > 0 && limit > max {
        return Err(QueryError::bad_request(format!("limit {limit} exceeds max limit {max}")));
    }
    Ok(limit)
}

/// 0 is as if the client did not say; a default of 0 is all spans.
fn spans_per_span_set(asked: Option<u32>, config: &QueryConfig) -> Result<usize, QueryError> {
    let asked = asked.filter(|spans| *spans > 0);
    let spans = asked.map_or(config.default_spans_per_span_set, |spans| spans as usize);
    let max = config.max_spans_per_span_set;
    if max > 0 && spans > max {
        return Err(QueryError::bad_request(format!("spans per span set exceeds {max}. received {spans}")));
    }
    Ok(if spans == 0 { usize::MAX } else { spans })
}

/// An answer, or what is certain of one, as a message.
pub(super) fn response(answer: SearchAnswer, form: AnswerForm) -> SearchResponse {
    let mut metrics = metrics(&answer.metrics);
    if form.is_traceql {
        metrics.inspected_traces = 0; // Tempo says so for tag searches only
    }
    SearchResponse { traces: answer.traces.into_iter().map(|trace| found_trace(trace, form)).collect(), metrics }
}

pub(super) fn metrics(metrics: &QueryMetrics) -> SearchMetrics {
    SearchMetrics {
        inspected_traces: saturated(metrics.inspected_traces),
        inspected_bytes: metrics.inspected_bytes,
        total_blocks: saturated(metrics.total_blocks),
        completed_jobs: saturated(metrics.completed_jobs),
        total_jobs: saturated(metrics.total_jobs),
        total_block_bytes: metrics.total_block_bytes,
        inspected_spans: metrics.inspected_spans,
        backend_reads: metrics.backend_reads,
        backend_bytes: metrics.backend_bytes,
    }
}

pub(super) fn saturated(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn found_trace(trace: FoundTrace, form: AnswerForm) -> TraceSearchMetadata {
    let span_sets: Vec<SpanSet> = trace.span_sets.into_iter().map(span_set).collect();
    let stats =
        |stats: answer::ServiceStats| ServiceStats { span_count: stats.span_count, error_count: stats.error_count };
    TraceSearchMetadata {
        trace_id: form.trace_id(&trace.trace_id),
        root_service_name: trace.root_service.unwrap_or_else(|| "<root span not yet received>".to_owned()),
        root_trace_name: trace.root_name.unwrap_or_default(),
        start_time_unix_nano: trace.start_nanos,
        duration_ms: saturated(trace.duration_nanos / 1_000_000),
        span_set: span_sets.first().cloned(),
        span_sets,
        service_stats: trace.services.into_iter().map(|(name, service)| (name, stats(service))).collect(),
    }
}

fn span_set(span_set: answer::SpanSet) -> SpanSet {
    SpanSet {
        spans: span_set.spans.into_iter().map(found_span).collect(),
        matched: span_set.matched,
        attributes: attributes(span_set.attributes),
    }
}

fn found_span(span: FoundSpan) -> Span {
    Span {
        span_id: span.span_id.to_string(),
        name: span.name.unwrap_or_default(),
        start_time_unix_nano: span.start_nanos,
        duration_nanos: span.duration_nanos,
        attributes: attributes(span.attributes),
    }
}

pub(super) fn attributes(attributes: Vec<(String, Value)>) -> Vec<KeyValue> {
    let to_otlp = |(key, value)| KeyValue { key, value: Some(any_value(value)), ..KeyValue::default() };
    attributes.into_iter().map(to_otlp).collect()
}

fn any_value(value: Value) -> AnyValue {
    let value = match value {
        Value::String(text) => Any::StringValue(text),
        Value::Int(number) => Any::IntValue(number),
        Value::Double(number) => Any::DoubleValue(number),
        Value::Bool(truth) => Any::BoolValue(truth),
        Value::Array(values) => Any::ArrayValue(ArrayValue { values: values.into_iter().map(any_value).collect() }),
    };
    AnyValue { value: Some(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_query(query: &str) -> Result<SearchRequest, String> {
        let request = Asked::of_url(&Params::from_query(query))
            .and_then(|asked| asked.check(&QueryConfig::default(), 1_700_000_000_000_000_000));
        request.map_err(|error| error.text)
    }

    fn tags(query: &str) -> Vec<(String, String)> {
        match read_query(query).unwrap().filter {
            SearchFilter::Tags { tags, .. } => tags,
            SearchFilter::TraceQl(text) => panic!("{text} is TraceQL"),
        }
    }

    #[test]
    fn limits_have_defaults_and_bounds() {
        let limits = |query| read_query(query).map(|request| (request.limit, request.spans_per_span_set));
        assert_eq!(limits(""), Ok((20, 3)));
        assert_eq!(limits("limit=&spss="), Ok((20, 3)));
        assert_eq!(limits("limit=262144&spss=100"), Ok((262_144, 100)));
        assert_eq!(limits("spss=0"), Ok((20, 3)), "as if it were not there");
        for (query, problem) in [
            ("limit=0", "invalid limit: must be a positive number"),
            ("limit=262145", "limit 262145 exceeds max limit 262144"),
            ("spss=101", "spans per span set exceeds 100. received 101"),
            ("q=%7B%7D&tags=a%3Db", "invalid request: can't specify tags and q in the same query"),
            ("minDuration=2s&maxDuration=1s", "invalid maxDuration: must be greater than minDuration"),
            ("minDuration=100", r#"invalid minDuration: time: missing unit in duration "100""#),
            ("maxDuration=long", r#"invalid maxDuration: time: invalid duration "long""#),
            ("tags=a%3D1+a%3D2", "invalid tags: tag a has been set twice"),
        ] {
            assert_eq!(limits(query), Err(problem.to_owned()), "{query}");
        }
    }

    #[test]
    fn both_durations_may_be_equal() {
        let read = read_query("minDuration=1s&maxDuration=1s").unwrap();
        let SearchFilter::Tags { min_duration, max_duration, .. } = read.filter else { panic!("{:?}", read.filter) };
        assert_eq!((min_duration, max_duration), (Some(Duration::from_secs(1)), Some(Duration::from_secs(1))));
    }

    #[test]
    fn a_cursor_goes_with_one_range() {
        let read = |query: &str| cursor(&Params::from_query(query)).map_err(|error| error.text);
        let text = "00000000000000050000000000000000000000000000000a";
        let expected = PageToken { start_nanos: 5, trace_id: TraceId::parse("a").unwrap() };
        assert_eq!(read(&format!("cursor={text}&start=1&end=2")), Ok(Some(expected)));
        assert_eq!(read("cursor=&start=1"), Ok(None));
        for (query, problem) in [
            ("cursor=5&start=1&end=2".to_owned(), "leave it out to begin with the newest"),
            (format!("cursor={text}"), "it goes with start and end, the same for every page"),
            (format!("cursor={text}&start=1&end=2&since=1h"), "without since"),
        ] {
            let error = read(&query).unwrap_err();
            assert!(error.starts_with("invalid cursor: ") && error.contains(problem), "{error}");
        }
    }

    #[test]
    fn a_search_is_by_query_by_tags_or_by_any_other_parameter() {
        let query = read_query("q=%7B+%7D&colour=green").unwrap();
        assert!(matches!(query.filter, SearchFilter::TraceQl(text) if text == "{ }"));
        let tag = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(tags("tags=a%3Db+c%3D%22d+e%22&colour=green"), [tag("a", "b"), tag("c", "d e")]);
        assert_eq!(tags("http.method=GET&limit=5&start=&end="), [tag("http.method", "GET")]);
        assert_eq!(tags(""), []);
        assert_eq!(tags("orgId=1&start=1699999000&end=1700000000"), [], "of a proxy, not of the search");
    }

    #[test]
    fn an_answer_becomes_tempos_message() {
        let found = FoundTrace {
            trace_id: TraceId::parse("00f1").unwrap(),
            root_service: None,
            root_name: Some("GET".to_owned()),
            start_nanos: 5,
            duration_nanos: 1_999_999,
            services: Default::default(),
            span_sets: vec![answer::SpanSet {
                matched: 7,
                spans: vec![FoundSpan {
                    span_id: model::SpanId([0, 0, 0, 0, 0, 0, 0, 10]),
                    name: None,
                    start_nanos: 5,
                    duration_nanos: 6,
                    attributes: vec![("k".to_owned(), Value::Array(vec![Value::Int(1)]))],
                }],
                attributes: Vec::new(),
            }],
        };
        let metrics = QueryMetrics { inspected_traces: 3, inspected_spans: 4, ..QueryMetrics::default() };
        let answer = SearchAnswer { traces: vec![found], metrics, lack: None };
        let form = AnswerForm { is_traceql: true, left_pad_trace_ids: false };
        let message = response(answer.clone(), form);
        let trace = &message.traces[0];
        assert_eq!((trace.trace_id.as_str(), trace.duration_ms), ("f1", 1));
        assert_eq!(trace.root_service_name, "<root span not yet received>");
        assert_eq!(trace.span_set.as_ref(), trace.span_sets.first());
        assert_eq!(trace.span_sets[0].spans[0].span_id, "000000000000000a");
        assert_eq!((message.metrics.inspected_traces, message.metrics.inspected_spans), (0, 4));
        assert_eq!(response(answer.clone(), AnswerForm { is_traceql: false, ..form }).metrics.inspected_traces, 3);
        let padded = response(answer, AnswerForm { left_pad_trace_ids: true, ..form });
        assert_eq!(padded.traces[0].trace_id, "000000000000000000000000000000f1");
    }
}
