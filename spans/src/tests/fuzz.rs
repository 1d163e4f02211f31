//! Whatever bytes come, they are refused or stored; and what prost can read too comes back as it was, each span once.

use std::collections::HashSet;

use fuzz::RngExt;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use prost::Message;

use crate::testing::{canonical, odd_request};
use crate::{Promotion, SpanTable, TableBuilder, check, encode};

/// What comes back for a request that was accepted; `None` for one that was refused.
fn stored(request: &[u8]) -> Option<Vec<String>> {
    let mut builder = TableBuilder::default();
    let Ok(summary) = check(request) else { return None };
    assert_eq!(builder.append(request).expect("what was checked can be stored"), summary.spans);
    let table = builder.snapshot().expect("a small table");
    assert!(table.span_count() <= summary.spans);
    let promoted =
        Promotion::plan(&table.spans, model::Scope::Span).and_then(|promotion| promotion.apply(&table.spans));
    let promoted = SpanTable { spans: promoted.expect("columns of a small table"), ..table.clone() };
    let [back, back_from_columns] = [&table, &promoted].map(|table| canonical(&encode(table).expect("encodes")));
    assert_same(&back_from_columns, &back);
    Some(back)
}

/// The request without the copies in it, and without parents of zeros, which are none.
fn once(mut request: ExportTraceServiceRequest) -> Vec<ResourceSpans> {
    let mut seen = HashSet::new();
    for scope in request.resource_spans.iter_mut().flat_map(|part| &mut part.scope_spans) {
        scope.spans.retain(|span| {
            seen.insert((span.trace_id.clone(), span.span_id.clone(), span.kind, span.start_time_unix_nano))
        });
        let with_zeros = scope.spans.iter_mut().filter(|span| span.parent_span_id == [0; 8]);
        with_zeros.for_each(|span| span.parent_span_id.clear());
    }
    request.resource_spans
}

/// As `assert_eq!`, but shows only what differs.
fn assert_same(spans: &[String], expected: &[String]) {
    assert_eq!(spans.len(), expected.len());
    let different = spans.iter().zip(expected).find(|(span, expected)| span != expected);
    assert_eq!(different, None);
}

#[test]
fn fuzz_otlp() {
    let make = |random: &mut fuzz::SmallRng| {
        let request = odd_request(random.random()).encode_to_vec();
        fuzz::protobuf::bend(random, &request)
    };
    fuzz::fuzz("otlp", make, |input| {
        stored(input);
        let Ok(request) = ExportTraceServiceRequest::decode(input) else { return };
        if let Some(back) = stored(&request.encode_to_vec()) {
            assert_same(&back, &canonical(&once(request)));
        }
    });
}
