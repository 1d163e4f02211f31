//! OTLP messages as Tempo's query answers show them. `resource`, `scope` and `status` are always there.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};

use super::{Json, Object};

impl Json {
    pub(super) fn resource_spans(&mut self, resource_spans: &ResourceSpans) {
        self.object(|object| {
            object.member("resource").object(|resource| resource.resource(resource_spans.resource.as_ref()));
            object.list("scopeSpans", &resource_spans.scope_spans, Self::scope_spans);
            object.string("schemaUrl", &resource_spans.schema_url);
        });
    }

    fn scope_spans(&mut self, scope_spans: &ScopeSpans) {
        self.object(|object| {
            object.member("scope").object(|scope| scope.scope(scope_spans.scope.as_ref()));
            object.list("spans", &scope_spans.spans, Self::span);
            object.string("schemaUrl", &scope_spans.schema_url);
        });
    }

    fn span(&mut self, span: &Span) {
        self.object(|object| {
            object.bytes("traceId", &span.trace_id);
            object.bytes("spanId", &span.span_id);
            object.string("traceState", &span.trace_state);
            object.bytes("parentSpanId", &span.parent_span_id);
            object.uint32("flags", span.flags);
            object.string("name", &span.name);
            object.enumeration("kind", span.kind, |kind| SpanKind::try_from(kind).ok().map(|kind| kind.as_str_name()));
            object.uint64("startTimeUnixNano", span.start_time_unix_nano);
            object.uint64("endTimeUnixNano", span.end_time_unix_nano);
            object.attributes(&span.attributes);
            object.uint32("droppedAttributesCount", span.dropped_attributes_count);
            object.list("events", &span.events, Self::event);
            object.uint32("droppedEventsCount", span.dropped_events_count);
            object.list("links", &span.links, Self::link);
            object.uint32("droppedLinksCount", span.dropped_links_count);
            object.member("status").object(|status| status.status(span.status.as_ref()));
        });
    }

    fn event(&mut self, event: &Event) {
        self.object(|object| {
            object.uint64("timeUnixNano", event.time_unix_nano);
            object.string("name", &event.name);
            object.attributes(&event.attributes);
            object.uint32("droppedAttributesCount", event.dropped_attributes_count);
        });
    }

    fn link(&mut self, link: &Link) {
        self.object(|object| {
            object.bytes("traceId", &link.trace_id);
            object.bytes("spanId", &link.span_id);
            object.string("traceState", &link.trace_state);
            object.attributes(&link.attributes);
            object.uint32("droppedAttributesCount", link.dropped_attributes_count);
            object.uint32("flags", link.flags);
        });
    }

    fn key_value(&mut self, attribute: &KeyValue) {
        self.object(|object| {
            object.string("key", &attribute.key);
            if let Some(value) = &attribute.value {
                object.member("value").any_value(value);
            }
        });
    }

    /// A value prints even when it is zero; one of no type prints `{}`.
    pub(super) fn any_value(&mut self, value: &AnyValue) {
        self.object(|object| match &value.value {
            Some(Value::StringValue(text)) => object.member("stringValue").string(text),
            Some(Value::BoolValue(truth)) => object.member("boolValue").literal(truth),
            Some(Value::IntValue(number)) => object.member("intValue").wide(number),
            Some(Value::DoubleValue(number)) => object.member("doubleValue").double(*number),
            Some(Value::BytesValue(bytes)) => object.member("bytesValue").bytes(bytes),
            Some(Value::ArrayValue(array)) => {
                object.member("arrayValue").object(|object| object.list("values", &array.values, Self::any_value));
            }
            Some(Value::KvlistValue(list)) => {
                object.member("kvlistValue").object(|object| object.list("values", &list.values, Self::key_value));
            }
            Some(Value::StringValueStrindex(_)) | None => {}
        });
    }
}

impl Object<'_> {
    pub(super) fn attributes(&mut self, attributes: &[KeyValue]) {
        self.list("attributes", attributes, Json::key_value);
    }

    /// There even when empty.
    pub(super) fn labels(&mut self, labels: &[KeyValue]) {
        self.full_list("labels", labels, Json::key_value);
    }

    fn resource(&mut self, resource: Option<&Resource>) {
        if let Some(resource) = resource {
            self.attributes(&resource.attributes);
            self.uint32("droppedAttributesCount", resource.dropped_attributes_count);
        }
    }

    fn scope(&mut self, scope: Option<&InstrumentationScope>) {
        if let Some(scope) = scope {
            self.string("name", &scope.name);
            self.string("version", &scope.version);
            self.attributes(&scope.attributes);
            self.uint32("droppedAttributesCount", scope.dropped_attributes_count);
        }
    }

    fn status(&mut self, status: Option<&Status>) {
        if let Some(status) = status {
            self.string("message", &status.message);
            let name_of = |code| StatusCode::try_from(code).ok().map(|code| code.as_str_name());
            self.enumeration("code", status.code, name_of);
        }
    }
}
