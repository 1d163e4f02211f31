//! `/api/traces/{id}` and `/api/v2/traces/{id}`: the spans of one trace.

mod filter;
mod pruning;

use axum::http::StatusCode;
use model::TraceId;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use percent_encoding::percent_decode_str;
use querier::answer::{Pruned, TraceAnswer, TracePartial};
use querier::request::{SpanPruning, SpanSubset};

use super::Call;
use super::params::range;
use super::proto::{PartialStatus, Trace, TraceByIdMetrics, TraceByIdResponse};
use super::reply::{QueryError, Reply};

/// Which parts of a Tempo cluster are asked. Here there is one part, so all mean the same.
const MODES: [&str; 4] = ["all", "ingesters", "blocks", "external"];

/// A trace that is not there is 404 with nothing in it, and one that is too large is 422.
pub(super) async fn v1(call: Call) -> Result<Reply, QueryError> {
    let answer = find(&call, None, None).await?;
    if let Some(TracePartial::TooLarge { max_bytes }) = answer.partial {
        let text = format!(
            "trace {} is too large for this endpoint, which gives all of a trace or nothing; ask /api/v2/traces for its first \
             spans, or raise querier.max_bytes_per_trace: trace exceeds max size (max bytes: {max_bytes})",
            trace_id(call.uri.path())?
        );
        return Err(QueryError::new(StatusCode::UNPROCESSABLE_ENTITY, text));
    }
    let trace = complete(answer.resource_spans);
    if trace.resource_spans.is_empty() {
        return Ok(Reply::empty(StatusCode::NOT_FOUND).with_lack(answer.lack));
    }
    Ok(Reply::of(&trace, call.format).with_lack(answer.lack))
}

/// A trace that is not there is an empty trace. One that is too large, of which blocks could not be read, or of which `q`
/// leaves out spans, or that has similar spans as one, is partial.
pub(super) async fn v2(call: Call) -> Result<Reply, QueryError> {
    let subset = filter::subset(&call.params, &call.config())?;
    let pruning = pruning::pruning(&call.params, &call.config())?;
    let answer = find(&call, subset, pruning).await?;
    let (status, message) = partial(&answer);
    let response = TraceByIdResponse {
        trace: complete(answer.resource_spans),
        metrics: TraceByIdMetrics { inspected_bytes: answer.metrics.inspected_bytes },
        status: status.into(),
        message,
    };
    Ok(Reply::with_llm(&response, call.format))
}

/// Whether spans are missing, and why.
fn partial(answer: &TraceAnswer) -> (PartialStatus, String) {
    let mut reasons: Vec<String> = answer.partial.iter().map(TracePartial::to_string).collect();
    reasons.extend(answer.lack.clone());
    if answer.is_filtered {
        reasons.push("Trace filtered, only a subset of spans matching the filter is returned".to_owned());
    }
    reasons.extend(pruned(answer.pruned).map(str::to_owned));
    let status = if reasons.is_empty() { PartialStatus::Complete } else { PartialStatus::Partial };
    (status, reasons.join("; "))
}

/// The texts begin as Tempo's do.
fn pruned(pruned: Pruned) -> Option<&'static str> {
    match pruned {
        Pruned::No => None,
        Pruned::BeforeItCame => {
            Some("Trace was already pruned before it reached this server; this is the complete trace that is stored")
        }
        Pruned::Now => Some(
            "Trace was pruned while serving this request; the original spans remain in storage and can be retrieved by \
             querying again with span pruning disabled",
        ),
    }
}

async fn find(
    call: &Call,
    subset: Option<SpanSubset>,
    pruning: Option<SpanPruning>,
) -> Result<TraceAnswer, QueryError> {
    let trace_id = trace_id(call.uri.path())?;
    let range = range::of_trace(&call.params)?;
    if let Some(mode) = call.params.get("mode").filter(|mode| !MODES.contains(mode)) {
        return Err(QueryError::bad_request(format!("invalid value for mode {mode}")));
    }
    let querier = &call.edge.querier;
    Ok(querier.spans_of_trace(&call.tenants, trace_id, range, subset, pruning).await?)
}

/// The id that ends the path. A slash in it, encoded or not, makes the path one that does not exist.
fn trace_id(path: &str) -> Result<TraceId, QueryError> {
    let encoded = path.rsplit('/').next().unwrap_or_default();
    let text = percent_decode_str(encoded).decode_utf8_lossy();
    if text.contains('/') {
        return Err(QueryError::unknown_path());
    }
    TraceId::parse(&text).map_err(|error| QueryError::bad_request(error.to_string()))
}

/// Grafana reads resource, scope and status without looking whether they are there.
fn complete(mut resource_spans: Vec<ResourceSpans>) -> Trace {
    for resource_block in &mut resource_spans {
        resource_block.resource.get_or_insert_default();
        for scope_block in &mut resource_block.scope_spans {
            scope_block.scope.get_or_insert_default();
            for span in &mut scope_block.spans {
                span.status.get_or_insert_default();
            }
        }
    }
    Trace { resource_spans }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::trace::v1::{ScopeSpans, Span};
    use prost::Message;

    use super::*;

    #[test]
    fn resource_scope_and_status_are_there_as_empty_messages() {
        let scope_spans = vec![ScopeSpans { spans: vec![Span::default()], ..ScopeSpans::default() }];
        let trace = complete(vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }]);
        // trace.resource_spans { resource {} scope_spans { scope {} spans { status {} } } }
        let bytes = [0x0a, 0x0a, 0x0a, 0x00, 0x12, 0x06, 0x0a, 0x00, 0x12, 0x02, 0x7a, 0x00];
        assert_eq!(trace.encode_to_vec(), bytes);
    }

    #[test]
    fn ids_with_slashes_are_unknown_paths() {
        assert_eq!(trace_id("/api/traces/a1"), Ok(TraceId::parse("a1").unwrap()));
        assert_eq!(trace_id("/api/traces/a1%2Fc3").unwrap_err().status, StatusCode::NOT_FOUND);
        assert!(trace_id("/api/traces/xyz").unwrap_err().text.ends_with("invalid character 'x' at position 1"));
    }
}
