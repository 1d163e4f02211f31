mod robust;
mod v1;
mod v2;

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::trace::v1::Span;

use super::*;

const READING: Reading = Reading { parses_tags: false, now_nanos: 5_000_000_000 };

fn read(form: Form, body: &str) -> ExportTraceServiceRequest {
    spans(form, Bytes::copy_from_slice(body.as_bytes()), READING).unwrap_or_else(|error| panic!("{body}: {error}"))
}

fn failure(form: Form, body: &str) -> String {
    spans(form, Bytes::copy_from_slice(body.as_bytes()), READING).unwrap_err().to_string()
}

/// A span with these fields beside its ids, and its resource.
fn one(form: Form, fields: &str) -> (Vec<KeyValue>, Span) {
    let request = read(form, &format!(r#"[{{"traceId":"463ac35c9f6413ad","id":"72485a3953bb6124",{fields}}}]"#));
    let resource_spans = &request.resource_spans[0];
    (resource_spans.resource.clone().unwrap().attributes, resource_spans.scope_spans[0].spans[0].clone())
}
