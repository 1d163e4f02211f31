//! OTLP spans of one trace: ids made unique, in order of start.

use hashbrown::{HashMap, HashSet};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};

fn spans_of(resources: &[ResourceSpans]) -> impl Iterator<Item = &Span> {
    resources.iter().flat_map(|resource| &resource.scope_spans).flat_map(|scope| &scope.spans)
}

fn spans_of_mut(resources: &mut [ResourceSpans]) -> impl Iterator<Item = &mut Span> {
    resources.iter_mut().flat_map(|resource| &mut resource.scope_spans).flat_map(|scope| &mut scope.spans)
}

/// Orders spans by their start within each scope, scopes and resources by their first span.
pub(crate) fn sort_by_start(resources: &mut [ResourceSpans]) {
    let start = |spans: &[Span]| spans.first().map_or(u64::MAX, |span| span.start_time_unix_nano);
    for resource in resources.iter_mut() {
        for scope in &mut resource.scope_spans {
            scope.spans.sort_by_key(|span| span.start_time_unix_nano);
        }
        resource.scope_spans.sort_by_key(|scope| start(&scope.spans));
    }
    resources.sort_by_key(|resource| resource.scope_spans.first().map_or(u64::MAX, |scope| start(&scope.spans)));
}

/// Gives the server's half of a shared span an id of its own.
///
/// Older tracers use one id for the client's and the server's span of a call. The server span gets the next unused
/// number as its id, becomes a child of the client span, and takes the children that name the shared id.
pub(crate) fn part_shared_ids(resources: &mut [ResourceSpans]) {
    let mut kinds: HashMap<Vec<u8>, (bool, bool)> = HashMap::new();
    for span in spans_of(resources) {
        let (client, server) = kinds.entry(span.span_id.clone()).or_default();
        *client |= span.kind == SpanKind::Client as i32;
        *server |= span.kind == SpanKind::Server as i32;
    }
    let mut next_id = 1u64;
    let mut new_ids: HashMap<Vec<u8>, Vec<u8>> = HashMap::new();
    for span in spans_of_mut(resources) {
        let is_shared = kinds.get(&span.span_id) == Some(&(true, true));
        if !is_shared || span.kind != SpanKind::Server as i32 {
            continue;
        }
        while kinds.contains_key(next_id.to_be_bytes().as_slice()) {
            next_id += 1;
        }
        let new_id = next_id.to_be_bytes().to_vec();
        next_id += 1;
        new_ids.entry(span.span_id.clone()).or_insert_with(|| new_id.clone());
        span.parent_span_id = std::mem::replace(&mut span.span_id, new_id);
    }
    if new_ids.is_empty() {
        return;
    }
    let moved: HashSet<Vec<u8>> = spans_of(resources)
        .filter(|span| !kinds.contains_key(&span.span_id))
        .map(|span| span.span_id.clone())
        .collect();
    for span in spans_of_mut(resources) {
        if moved.contains(&span.span_id) {
            continue;
        }
        if let Some(new_id) = new_ids.get(&span.parent_span_id) {
            span.parent_span_id.clone_from(new_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::trace::v1::ScopeSpans;

    use super::*;

    fn span(id: u8, parent: u8, kind: SpanKind, start: u64) -> Span {
        let bytes = |id: u8| if id == 0 { Vec::new() } else { vec![0, 0, 0, 0, 0, 0, 0, id] };
        Span {
            span_id: bytes(id),
            parent_span_id: bytes(parent),
            kind: kind as i32,
            start_time_unix_nano: start,
            ..Default::default()
        }
    }

    fn resource(spans: Vec<Span>) -> ResourceSpans {
        ResourceSpans { scope_spans: vec![ScopeSpans { spans, ..Default::default() }], ..Default::default() }
    }

    fn ids(resources: &[ResourceSpans]) -> Vec<(u8, u8, i32)> {
        let last = |id: &[u8]| id.last().copied().unwrap_or_default();
        spans_of(resources).map(|span| (last(&span.span_id), last(&span.parent_span_id), span.kind)).collect()
    }

    #[test]
    fn shared_ids_are_parted() {
        let mut resources = vec![
            resource(vec![span(1, 0, SpanKind::Internal, 0), span(9, 1, SpanKind::Client, 1)]),
            resource(vec![span(9, 1, SpanKind::Server, 2), span(5, 9, SpanKind::Internal, 3)]),
        ];
        part_shared_ids(&mut resources);
        assert_eq!(ids(&resources), [(1, 0, 1), (9, 1, 3), (2, 9, 2), (5, 2, 1)]);
    }

    #[test]
    fn spans_are_ordered_by_start() {
        let mut resources = vec![
            resource(vec![span(3, 0, SpanKind::Server, 30), span(2, 0, SpanKind::Server, 20)]),
            resource(vec![span(1, 0, SpanKind::Server, 10)]),
        ];
        sort_by_start(&mut resources);
        assert_eq!(ids(&resources).iter().map(|id| id.0).collect::<Vec<_>>(), [1, 2, 3]);
    }
}
