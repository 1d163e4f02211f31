//! Large lists of spans → requests that every receiver takes.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

/// A request holds about so much: receivers take 4 MiB over gRPC by default. A larger span goes alone.
pub(crate) const MAX_REQUEST_BYTES: usize = 1 << 20;

/// The same spans in the same order, in requests of about `max_bytes` at most.
pub(crate) fn requests(resource_spans: Vec<ResourceSpans>, max_bytes: usize) -> Vec<ExportTraceServiceRequest> {
    let mut requests = Requests { done: Vec::new(), open: Vec::new(), bytes: 0, max_bytes };
    for resource in resource_spans {
        let bytes = resource.encoded_len();
        if bytes <= max_bytes {
            requests.add(resource, bytes);
        } else {
            in_pieces(resource, &mut requests);
        }
    }
    requests.close();
    requests.done
}

pub(crate) fn span_count(request: &ExportTraceServiceRequest) -> u64 {
    let scopes = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
    scopes.map(|scope| scope.spans.len() as u64).sum()
}

struct Requests {
    done: Vec<ExportTraceServiceRequest>,
    open: Vec<ResourceSpans>,
    bytes: usize,
    max_bytes: usize,
}

impl Requests {
    fn add(&mut self, resource: ResourceSpans, bytes: usize) {
        if self.bytes + bytes > self.max_bytes {
            self.close();
        }
        self.bytes += bytes;
        self.open.push(resource);
    }

    fn close(&mut self) {
        if !self.open.is_empty() {
            let resource_spans = std::mem::take(&mut self.open);
            self.done.push(ExportTraceServiceRequest { resource_spans });
            self.bytes = 0;
        }
    }
}

/// Resource and scope stand in every piece.
fn in_pieces(resource: ResourceSpans, requests: &mut Requests) {
    let ResourceSpans { resource, scope_spans, schema_url } = resource;
    for ScopeSpans { scope, spans, schema_url: scope_schema_url } in scope_spans {
        let piece = |spans: Vec<Span>| ResourceSpans {
            resource: resource.clone(),
            scope_spans: vec![ScopeSpans { scope: scope.clone(), spans, schema_url: scope_schema_url.clone() }],
            schema_url: schema_url.clone(),
        };
        let (mut open, mut bytes) = (Vec::new(), 0);
        for span in spans {
            let span_bytes = span.encoded_len();
            if bytes + span_bytes > requests.max_bytes && !open.is_empty() {
                requests.add(piece(std::mem::take(&mut open)), bytes);
                bytes = 0;
            }
            bytes += span_bytes;
            open.push(span);
        }
        if !open.is_empty() {
            requests.add(piece(open), bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::testing::resource_spans;

    #[test]
    fn large_lists_are_cut_and_small_ones_put_together() {
        let many: Vec<_> = (1..=100).map(|id| (id, 0, "span", 0, 1, false)).collect();
        let few = resource_spans("few", &[(1, 0, "span", 0, 1, false)]);
        let cut = requests(vec![few.clone(), resource_spans("many", &many), few], 1000);
        assert_eq!(cut.iter().map(span_count).sum::<u64>(), 102);
        assert!(cut.len() > 3 && cut.iter().all(|request| request.encoded_len() < 1200), "{}", cut.len());
        let resources: Vec<usize> = cut.iter().map(|request| request.resource_spans.len()).collect();
        assert_eq!((resources[0], *resources.last().unwrap()), (1, 2), "{resources:?}");
        assert!(requests(Vec::new(), 1000).is_empty());
    }
}
